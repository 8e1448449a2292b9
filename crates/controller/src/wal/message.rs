//! What the frames of the write-ahead log hold: prost messages of our own. No openraft type has a say in these bytes.

use prost::Message;

/// Raft's identity of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct LogPlace {
    /// The term of the leader that made it.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// That leader.
    #[prost(uint64, tag = "2")]
    pub(crate) leader: u64,
    /// Its index.
    #[prost(uint64, tag = "3")]
    pub(crate) index: u64,
}

/// A vote.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct VoteMessage {
    /// The term.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// For whom.
    #[prost(uint64, tag = "2")]
    pub(crate) candidate: u64,
    /// A majority gave it.
    #[prost(bool, tag = "3")]
    pub(crate) committed: bool,
}

/// A controller of the group.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct NodeMessage {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// host:port.
    #[prost(string, tag = "2")]
    pub(crate) address: String,
}

/// Some of the group's ids.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct VotersMessage {
    /// The ids.
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) ids: Vec<u64>,
}

/// Who is in the group.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct MembershipMessage {
    /// The voters; two sets while they change.
    #[prost(message, repeated, tag = "1")]
    pub(crate) voters: Vec<VotersMessage>,
    /// Voters and learners.
    #[prost(message, repeated, tag = "2")]
    pub(crate) nodes: Vec<NodeMessage>,
}

/// Several commands in one entry, each as `quipu-metadata` encodes it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CommandsMessage {
    /// The commands.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) commands: Vec<bytes::Bytes>,
}

/// A log entry. Neither commands nor membership: a leader's blank one.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct EntryMessage {
    /// Its identity.
    #[prost(message, optional, tag = "1")]
    pub(crate) place: Option<LogPlace>,
    /// What was proposed.
    #[prost(message, optional, tag = "2")]
    pub(crate) commands: Option<CommandsMessage>,
    /// Who is in the group from here on.
    #[prost(message, optional, tag = "3")]
    pub(crate) membership: Option<MembershipMessage>,
}

/// Entries from this index on are gone.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct TruncateMessage {
    /// The first that is gone.
    #[prost(uint64, tag = "1")]
    pub(crate) from: u64,
    /// The last that is left: the file that holds it may be gone by the time this is read.
    #[prost(message, optional, tag = "2")]
    pub(crate) last: Option<LogPlace>,
}

/// The beginning of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct BeginMessage {
    /// The layout of the log; [`FORMAT`].
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// Whose log this is.
    #[prost(uint64, tag = "2")]
    pub(crate) controller: u64,
    /// Where the segment before ends; 0: there was none.
    #[prost(uint64, tag = "3")]
    pub(crate) previous_end: u64,
    /// The vote as of here.
    #[prost(message, optional, tag = "4")]
    pub(crate) vote: Option<VoteMessage>,
    /// What was purged as of here.
    #[prost(message, optional, tag = "5")]
    pub(crate) purged: Option<LogPlace>,
    /// What was known to be committed as of here.
    #[prost(message, optional, tag = "6")]
    pub(crate) committed: Option<LogPlace>,
    /// The last entry as of here.
    #[prost(message, optional, tag = "7")]
    pub(crate) last: Option<LogPlace>,
    /// The length of the file in bytes, preallocated: a shorter one was cut by somebody.
    #[prost(uint64, tag = "8")]
    pub(crate) room: u64,
}

/// The layout that this version writes, and the only one it reads.
pub(crate) const FORMAT: u32 = 1;
