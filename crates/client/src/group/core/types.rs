//! The words that the group consumer's core speaks.

use crate::backoff::Backoff;
use crate::consumer::{Key, Start, StreamId};
use crate::group::error::CommitError;
use crate::group::{AssignmentEpoch, MemberEpoch};
use crate::moment::Moment;
use quipu_proto::Failure;
use quipu_record::{Offset, TopicId};

/// A commit; a later one has a greater number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct CommitId(pub(crate) u64);

/// What is to be done, in this order. What is said is said on the stream that was opened last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Open a stream as this member, wherever somebody answers.
    Open {
        /// Greater than those of all streams before.
        stream: StreamId,
        member: String,
        epoch: MemberEpoch,
    },
    /// End a stream; nothing of it counts any more.
    Close {
        stream: StreamId,
    },
    Ack {
        key: Key,
        next: Offset,
        epoch: AssignmentEpoch,
    },
    Commit {
        commit: CommitId,
        offsets: Vec<Wanted>,
    },
    GiveUp {
        keys: Vec<Key>,
    },
    /// Move a cursor. What came of the partition and was not given is dropped.
    Seek {
        key: Key,
        to: Start,
    },
    Pause {
        key: Key,
        paused: bool,
    },
    Credit {
        bytes: u64,
    },
    /// A commit came to its end.
    Committed {
        commit: CommitId,
        result: Result<(), CommitError>,
    },
}

/// One offset that is to be committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) next: Offset,
    pub(crate) epoch: AssignmentEpoch,
    pub(crate) metadata: String,
}

/// What the application must hear about its partitions, before it gets more records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Assigned(Vec<Key>),
    /// They are read no further. Once the application has said what it has to say: [`super::Core::give_up`].
    Revoked(Vec<Key>),
    Lost(Vec<Key>),
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        let (Self::Assigned(keys) | Self::Revoked(keys) | Self::Lost(keys)) = self;
        keys.is_empty()
    }
}

/// How a stream ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Nobody knows why.
    Broken(String),
    /// The broker ended it in order, after the member's last word.
    Over,
    /// A broker said why.
    Refused(Failure),
}

/// What the host says of a partition that came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Given {
    pub(crate) key: Key,
    pub(crate) topic_id: TopicId,
    pub(crate) epoch: AssignmentEpoch,
    pub(crate) committed: Option<Offset>,
    /// Where it begins, or why it does not.
    pub(crate) place: Result<Offset, Failure>,
}

/// A partition that a stream's first word names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    pub(crate) key: Key,
    pub(crate) topic_id: TopicId,
    pub(crate) epoch: AssignmentEpoch,
}

/// A stream's first word: who this is, and everything that it has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Welcome {
    /// Empty: as asked for.
    pub(crate) member: String,
    pub(crate) epoch: MemberEpoch,
    pub(crate) assigned: Vec<Named>,
    /// What it has still to give up.
    pub(crate) revoking: Vec<Named>,
}

/// The stream, as far as there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// The next one is opened then.
    Waiting { until: Moment },
    /// It was asked for.
    Opening { stream: StreamId },
    /// The broker has said who this is.
    Open { stream: StreamId },
    /// There will be none any more.
    Over,
}

/// How a partition is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    Held,
    /// To be given up; it is read no further.
    Revoked,
}

/// One partition of this member's.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) topic_id: TopicId,
    pub(super) epoch: AssignmentEpoch,
    /// Where to read on: everything below was handed out, or holds nothing. A start other than an offset until the broker
    /// has said where that is.
    pub(crate) place: Start,
    /// Everything below was processed.
    pub(super) finished: Option<Offset>,
    /// What this member knows to be committed.
    pub(super) committed: Option<Offset>,
    /// Something was handed out, or the application moved it: its place is worth a commit.
    pub(super) moved: bool,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start: Option<Offset>,
    pub(crate) paused: bool,
    /// It failed for good; reading goes on after a seek or a resume.
    pub(super) failed: bool,
    pub(super) hold: Hold,
    /// The present stream has told that it is this member's.
    pub(super) confirmed: bool,
    /// And where it begins there: only then can it be moved.
    pub(super) opened: bool,
    /// Seeks whose effect has not come yet: until then what comes is from before.
    pub(super) seeks: u32,
    /// How often in a row the broker went elsewhere than it was told.
    pub(super) strays: u32,
    pub(super) backoff: Backoff,
    /// The broker has stopped reading it, or reads it elsewhere: moved to its place then. What comes before does not count.
    pub(super) again_at: Option<Moment>,
}

impl Owned {
    pub(super) fn read(&self) -> bool {
        !self.paused && !self.failed && self.hold == Hold::Held && self.opened && self.again_at.is_none()
    }
}
