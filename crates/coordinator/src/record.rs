//! What is stored of groups: one change of one thing of one group at a time.

use crate::{
    AssignedPartition, Assignor, GroupEpoch, GroupId, InstanceId, MemberEpoch, MemberId, StreamId,
    StreamNumber, Subscription,
};
use quipu_record::{LeaderEpoch, Offset, Timestamp, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// A stored record, typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) group: GroupId,
    pub(crate) change: Change,
}

/// What changes; `None` takes the thing away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// How far a partition was processed.
    Offset(TopicPartition, Option<StoredOffset>),
    /// The group itself.
    Group(Option<GroupHead>),
    /// Who a member is.
    Member(MemberId, Option<Arc<Info>>),
    /// The group epoch that all targets together belong to.
    TargetEpoch(Option<GroupEpoch>),
    /// What a member shall have; sorted.
    Target(MemberId, Option<Arc<[TopicPartition]>>),
    /// What a member has.
    Current(MemberId, Option<Current>),
    /// Where an offset stood as it expired.
    Expired(TopicPartition, Option<StoredOffset>),
}

/// A committed offset, as lean as can be: there are very many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredOffset {
    pub(crate) offset: Offset,
    pub(crate) at: Timestamp,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    /// `None`: empty.
    pub(crate) metadata: Option<Arc<str>>,
}

/// What a group is as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupHead {
    pub(crate) epoch: GroupEpoch,
    /// Hash of the topics it consumes, with partitions and racks, as the epoch was raised last.
    pub(crate) topics_hash: u64,
    /// The version of the metadata that the hash was made from: an older one says nothing.
    pub(crate) topics_version: u64,
    /// When the last member went; `None`: there are members, or never were.
    pub(crate) empty_since: Option<Timestamp>,
}

/// Who a member is and what it wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Info {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) rack: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) subscription: Subscription,
    pub(crate) assignor: Assignor,
    pub(crate) session_timeout: Duration,
    pub(crate) revocation_timeout: Duration,
    /// The stream that speaks for it.
    pub(crate) stream: Option<StreamId>,
    /// As its client counts it; `None`: it does not, and whether another one is later is not known.
    pub(crate) stream_number: Option<StreamNumber>,
    /// Streams that did, the latest last: what still arrives from them is ignored.
    pub(crate) past_streams: Vec<StreamId>,
    /// Who it would be by a stream that has not shown yet that it had an answer. That one has no candidate.
    pub(crate) candidate: Option<Arc<Info>>,
}

impl Info {
    /// The stream that would speak for the member.
    pub(crate) fn candidate_stream(&self) -> Option<StreamId> {
        self.candidate.as_ref().and_then(|candidate| candidate.stream)
    }

    /// Whether the client opened a later stream than the one of this number.
    pub(crate) fn supersedes(&self, number: Option<StreamNumber>) -> bool {
        let candidate = self.candidate.as_ref().and_then(|one| one.stream_number);
        is_later(self.stream_number.max(candidate), number)
    }

    /// Notes that a stream no longer speaks.
    pub(crate) fn pass(&mut self, stream: Option<StreamId>) {
        self.past_streams.extend(stream);
        let many = self.past_streams.len().saturating_sub(PAST_STREAMS);
        self.past_streams.drain(..many);
    }
}

/// Whether the one number is known to be of a later stream than the other.
pub(crate) fn is_later(one: Option<StreamNumber>, other: Option<StreamNumber>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one > other)
}

/// Streams that are remembered as past.
const PAST_STREAMS: usize = 8;

/// How far a member has followed the target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) enum Progress {
    /// It has what the target of its epoch gives it.
    Stable,
    /// It has still to give up what is pending.
    Unrevoked,
    /// It waits for others to give up what it shall have.
    Unreleased,
}

/// What a member has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Current {
    pub(crate) epoch: MemberEpoch,
    /// The epoch before: whoever still says it has not seen the last answer.
    pub(crate) previous: Option<MemberEpoch>,
    pub(crate) progress: Progress,
    /// Left and will return (static membership).
    pub(crate) away: bool,
    /// By partition.
    pub(crate) assigned: Vec<AssignedPartition>,
    /// To be given up; by partition.
    pub(crate) pending: Vec<AssignedPartition>,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: MemberEpoch::new(0),
            previous: None,
            progress: Progress::Stable,
            away: false,
            assigned: Vec::new(),
            pending: Vec::new(),
        }
    }
}
