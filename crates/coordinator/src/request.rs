//! What a coordinator is asked.

use crate::{CommitNumber, GroupId, InstanceId, MemberEpoch, MemberId, RequestToken, StreamId, StreamNumber};
use quipu_record::{LeaderEpoch, Offset, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// What happens to a coordinator.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on at once, never kept")]
pub enum Input {
    /// Somebody asks; the answer comes with the same token.
    Request(RequestToken, Request),
    /// Whoever waits for this answer is gone.
    Cancel(RequestToken),
    /// Topics were created or deleted, or their partitions or racks are others.
    TopicsChanged,
    /// Time passed: call at [`crate::Effects::deadline`], or at any other time.
    Tick,
}

/// One request.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Joins or stays.
    Heartbeat(Heartbeat),
    /// Leaves.
    Leave(Leave),
    /// Remembers offsets.
    Commit(Commit),
    /// How far partitions were processed.
    Offsets(OffsetsQuery),
    /// Everything about one group.
    Describe(GroupId),
    /// All groups here.
    List,
    /// Deletes a group without members.
    Delete {
        /// The group.
        group: GroupId,
        /// Only checks.
        validate_only: bool,
    },
    /// Moves the offsets of a group without members.
    Reset(Reset),
}

/// Joins or stays.
///
/// The first heartbeats of a stream (its *opening*: until the first answer) carry the subscription and join, or resume with
/// the epoch that the client was told last; those after the first answer carry no subscription. `owned` counts as given up
/// what is missing only if the epoch is the present one, which shows that the member has seen its present assignment.
#[derive(Clone, PartialEq, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// The epoch it has reached; `None`: joins, and owns nothing.
    pub epoch: Option<MemberEpoch>,
    /// Static membership.
    pub instance: Option<InstanceId>,
    /// The member's rack.
    pub rack: Option<Arc<str>>,
    /// What to consume; `None`: as before. Needed in the opening, and only there.
    pub subscription: Option<Subscription>,
    /// How to share out; `None`: as before, uniform at first.
    pub assignor: Option<String>,
    /// Everything that it has now; `None`: as before, and the answer tells the whole assignment.
    pub owned: Option<Vec<TopicPartition>>,
    /// Silence after which the member is gone; `None`: as before.
    pub session_timeout: Option<Duration>,
    /// How long it may take to give partitions up; `None`: as before.
    pub revocation_timeout: Option<Duration>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// The stream that speaks for the member; `None`: no stream.
    pub stream: Option<StreamId>,
    /// As the client counts its streams; `None`: it does not.
    pub stream_number: Option<StreamNumber>,
    /// How long to wait for something new to tell.
    pub max_wait: Duration,
}

/// What a member wants to consume.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    /// Topics by name; those that do not exist yet are taken up when they do.
    pub topics: Vec<Arc<str>>,
    /// A regular expression that whole names match; never internal topics.
    pub pattern: Option<Arc<str>>,
}

/// Leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leave {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// The stream that spoke for it; ignored if a newer one does. `None`: whoever asks.
    pub stream: Option<StreamId>,
    /// As the client counts its streams; `None`: it does not.
    pub stream_number: Option<StreamNumber>,
    /// A static member that will be back: its partitions wait for it until the session times out.
    pub will_return: bool,
}

/// Remembers offsets: all of one request, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The group.
    pub group: GroupId,
    /// Who commits; `None`: an administrator, and only while the group has no members.
    pub by: Option<Committer>,
    /// What to remember. A partition may appear once.
    pub offsets: Vec<OffsetCommit>,
}

/// A member that commits.
///
/// A commit that was held up on its way, and was given up and said again by another, may still arrive, after later ones were
/// taken: the stream and the number tell it from them, and it is refused. What is not told cannot be told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committer {
    /// The member.
    pub member: MemberId,
    /// The epoch that it believes itself in.
    pub epoch: MemberEpoch,
    /// The stream that speaks for it; `None`: no stream.
    pub stream: Option<StreamId>,
    /// As the client counts its streams; `None`: it does not.
    pub stream_number: Option<StreamNumber>,
    /// As the stream counts its commits; `None`: it does not.
    pub number: Option<CommitNumber>,
}

/// How far one partition was processed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommit {
    /// The partition.
    pub at: TopicPartition,
    /// The next offset to process.
    pub offset: Offset,
    /// The leader epoch of the last record processed.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the client wants to remember with it.
    pub metadata: Arc<str>,
}

/// Asks for committed offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetsQuery {
    /// The group; one that is not there has committed nothing.
    pub group: GroupId,
    /// Which; `None`: all that the group has.
    pub partitions: Option<Vec<TopicPartition>>,
}

/// Where a committed offset is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveTo {
    /// There, as the caller has found out.
    Offset(Offset),
    /// From where it stands as this is decided: whatever is committed until then counts.
    Shift {
        /// Records forward, or backward if negative.
        by: i64,
        /// Not below, nor above: the log start, and where the log ends.
        within: (Offset, Offset),
    },
}

impl MoveTo {
    /// Where it goes from here; `None`: nothing is committed that could be shifted.
    #[must_use]
    pub fn resolved(self, committed: Option<Offset>) -> Option<Offset> {
        match self {
            Self::Offset(to) => Some(to),
            Self::Shift {
                by,
                within: (start, end),
            } => {
                let to = Offset::new(committed?.get().saturating_add_signed(by));
                Some(to.clamp(start.min(end), end))
            }
        }
    }
}

/// Moves offsets of a group without members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reset {
    /// The group.
    pub group: GroupId,
    /// Where to. A partition may appear once.
    pub offsets: Vec<(TopicPartition, MoveTo)>,
    /// Only shows what would be.
    pub validate_only: bool,
}
