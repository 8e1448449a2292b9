//! The messages of values, and the way between them and what they hold.

use super::{LIST_MAX, MEMBER_VERSION, VERSION, field};
use crate::record::{Current, GroupHead, Info, Progress, StoredOffset};
use crate::{
    AssignedPartition, AssignmentEpoch, Assignor, GroupEpoch, InstanceId, MemberEpoch, ReplayError, StreamId,
    StreamNumber, Subscription,
};
use prost::Message;
use quipu_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, PartialEq, Message)]
pub(super) struct OffsetMessage {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(sint64, tag = "2")]
    at_ms: i64,
    #[prost(uint32, optional, tag = "3")]
    leader_epoch: Option<u32>,
    #[prost(string, tag = "4")]
    metadata: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HeadMessage {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(fixed64, tag = "2")]
    topics_hash: u64,
    #[prost(uint64, tag = "3")]
    topics_version: u64,
    #[prost(sint64, optional, tag = "4")]
    empty_since_ms: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InfoMessage {
    #[prost(string, optional, tag = "1")]
    instance: Option<String>,
    #[prost(string, optional, tag = "2")]
    rack: Option<String>,
    #[prost(string, tag = "3")]
    client_id: String,
    #[prost(string, tag = "4")]
    client_host: String,
    #[prost(string, repeated, tag = "5")]
    topics: Vec<String>,
    #[prost(string, optional, tag = "6")]
    pattern: Option<String>,
    #[prost(uint32, tag = "7")]
    assignor: u32,
    #[prost(uint64, tag = "8")]
    session_timeout_ms: u64,
    #[prost(uint64, tag = "9")]
    revocation_timeout_ms: u64,
    #[prost(fixed64, optional, tag = "10")]
    stream: Option<u64>,
    #[prost(fixed64, repeated, tag = "11")]
    past_streams: Vec<u64>,
    #[prost(message, optional, boxed, tag = "12")]
    candidate: Option<Box<InfoMessage>>,
    /// Since version 2.
    #[prost(uint64, optional, tag = "13")]
    stream_number: Option<u64>,
}

impl InfoMessage {
    /// The layout that it takes.
    pub(super) fn version(&self) -> u32 {
        let of_candidate = self.candidate.as_ref().and_then(|one| one.stream_number);
        match self.stream_number.or(of_candidate) {
            Some(_) => MEMBER_VERSION,
            None => VERSION,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EpochMessage {
    #[prost(uint32, tag = "1")]
    pub(super) epoch: u32,
}

/// The partitions of one topic; `epochs` is as long, or empty in a target.
#[derive(Clone, PartialEq, Message)]
struct TopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    partitions: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    epochs: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TargetMessage {
    #[prost(message, repeated, tag = "1")]
    topics: Vec<TopicMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CurrentMessage {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(uint32, optional, tag = "2")]
    previous: Option<u32>,
    #[prost(uint32, tag = "3")]
    progress: u32,
    #[prost(bool, tag = "4")]
    away: bool,
    #[prost(message, repeated, tag = "5")]
    assigned: Vec<TopicMessage>,
    #[prost(message, repeated, tag = "6")]
    pending: Vec<TopicMessage>,
}

impl From<&StoredOffset> for OffsetMessage {
    fn from(value: &StoredOffset) -> Self {
        Self {
            offset: value.offset.get(),
            at_ms: value.at.get(),
            leader_epoch: value.leader_epoch.map(LeaderEpoch::get),
            metadata: value.metadata.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

impl TryFrom<OffsetMessage> for StoredOffset {
    type Error = ReplayError;

    fn try_from(message: OffsetMessage) -> Result<Self, ReplayError> {
        let offset = Offset::new(message.offset);
        Ok(Self {
            offset: field("offset", (offset <= Offset::MAX).then_some(offset))?,
            at: Timestamp::new(message.at_ms),
            leader_epoch: message.leader_epoch.map(LeaderEpoch::new),
            metadata: (!message.metadata.is_empty()).then(|| message.metadata.into()),
        })
    }
}

impl From<&GroupHead> for HeadMessage {
    fn from(value: &GroupHead) -> Self {
        Self {
            epoch: value.epoch.get(),
            topics_hash: value.topics_hash,
            topics_version: value.topics_version,
            empty_since_ms: value.empty_since.map(Timestamp::get),
        }
    }
}

impl TryFrom<HeadMessage> for GroupHead {
    type Error = ReplayError;

    fn try_from(message: HeadMessage) -> Result<Self, ReplayError> {
        Ok(Self {
            epoch: GroupEpoch::new(message.epoch),
            topics_hash: message.topics_hash,
            topics_version: message.topics_version,
            empty_since: message.empty_since_ms.map(Timestamp::new),
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<&Info> for InfoMessage {
    fn from(value: &Info) -> Self {
        let text = |text: &Arc<str>| text.to_string();
        Self {
            instance: value.instance.as_ref().map(InstanceId::to_string),
            rack: value.rack.as_ref().map(text),
            client_id: text(&value.client_id),
            client_host: text(&value.client_host),
            topics: value.subscription.topics.iter().map(text).collect(),
            pattern: value.subscription.pattern.as_ref().map(text),
            assignor: match value.assignor {
                Assignor::Uniform => 1,
                Assignor::Range => 2,
            },
            session_timeout_ms: millis(value.session_timeout),
            revocation_timeout_ms: millis(value.revocation_timeout),
            stream: value.stream.map(StreamId::get),
            past_streams: value.past_streams.iter().map(|stream| stream.get()).collect(),
            candidate: value.candidate.as_ref().map(|info| Box::new(Self::from(&**info))),
            stream_number: value.stream_number.map(StreamNumber::get),
        }
    }
}

impl TryFrom<InfoMessage> for Arc<Info> {
    type Error = ReplayError;

    fn try_from(message: InfoMessage) -> Result<Self, ReplayError> {
        let candidate = message.candidate.map(|candidate| {
            field("candidate", candidate.candidate.is_none().then_some(()))?;
            Self::try_from(*candidate)
        });
        let instance = message.instance.map(|text| InstanceId::new(&text)).transpose();
        let assignor = match message.assignor {
            1 => Some(Assignor::Uniform),
            2 => Some(Assignor::Range),
            _ => None,
        };
        Ok(Self::new(Info {
            instance: field("instance", instance.ok())?,
            rack: message.rack.map(Into::into),
            client_id: message.client_id.into(),
            client_host: message.client_host.into(),
            subscription: Subscription {
                topics: message.topics.into_iter().map(Into::into).collect(),
                pattern: message.pattern.map(Into::into),
            },
            assignor: field("assignor", assignor)?,
            session_timeout: Duration::from_millis(message.session_timeout_ms),
            revocation_timeout: Duration::from_millis(message.revocation_timeout_ms),
            stream: message.stream.map(StreamId::new),
            past_streams: message.past_streams.into_iter().map(StreamId::new).collect(),
            candidate: candidate.transpose()?,
            stream_number: message.stream_number.map(StreamNumber::new),
        }))
    }
}

impl TryFrom<EpochMessage> for GroupEpoch {
    type Error = ReplayError;

    fn try_from(message: EpochMessage) -> Result<Self, ReplayError> {
        Ok(Self::new(message.epoch))
    }
}

/// Sorted partitions by topic.
fn topics(partitions: impl Iterator<Item = (TopicPartition, Option<AssignmentEpoch>)>) -> Vec<TopicMessage> {
    let mut topics: Vec<TopicMessage> = Vec::new();
    for (at, epoch) in partitions {
        let id = at.topic.into_bytes();
        if topics.last().is_none_or(|last| last.topic != id) {
            topics.push(TopicMessage {
                topic: id.to_vec(),
                ..TopicMessage::default()
            });
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(at.partition.get());
            last.epochs.extend(epoch.map(AssignmentEpoch::get));
        }
    }
    topics
}

/// The way back; out of order, twice or too many is an error.
fn partitions(
    name: &'static str,
    topics: &[TopicMessage],
) -> Result<Vec<(TopicPartition, Option<AssignmentEpoch>)>, ReplayError> {
    let mut found: Vec<(TopicPartition, Option<AssignmentEpoch>)> = Vec::new();
    for topic in topics {
        let id = field(name, <[u8; 16]>::try_from(topic.topic.as_slice()).ok())?;
        if topic.partitions.is_empty() || found.len() + topic.partitions.len() > LIST_MAX {
            return Err(ReplayError::Field { field: name });
        }
        for (index, partition) in topic.partitions.iter().enumerate() {
            let at = TopicPartition {
                topic: TopicId::from_bytes(id),
                partition: PartitionId::new(*partition),
            };
            if found.last().is_some_and(|(last, _)| *last >= at) {
                return Err(ReplayError::Field { field: name });
            }
            found.push((at, topic.epochs.get(index).copied().map(AssignmentEpoch::new)));
        }
    }
    Ok(found)
}

fn without_epochs(topics: &[TopicMessage]) -> bool {
    topics.iter().all(|topic| topic.epochs.is_empty())
}

fn with_epochs(name: &'static str, topics: &[TopicMessage]) -> Result<Vec<AssignedPartition>, ReplayError> {
    let all = topics
        .iter()
        .all(|topic| topic.epochs.len() == topic.partitions.len());
    field(name, all.then_some(()))?;
    let found = partitions(name, topics)?;
    let found = found
        .into_iter()
        .filter_map(|(at, epoch)| epoch.map(|epoch| AssignedPartition { at, epoch }));
    Ok(found.collect())
}

impl From<&[TopicPartition]> for TargetMessage {
    fn from(value: &[TopicPartition]) -> Self {
        Self {
            topics: topics(value.iter().map(|at| (*at, None))),
        }
    }
}

impl TryFrom<TargetMessage> for Arc<[TopicPartition]> {
    type Error = ReplayError;

    fn try_from(message: TargetMessage) -> Result<Self, ReplayError> {
        field("target", without_epochs(&message.topics).then_some(()))?;
        let found = partitions("target", &message.topics)?;
        Ok(found.into_iter().map(|(at, _)| at).collect())
    }
}

impl From<&Current> for CurrentMessage {
    fn from(value: &Current) -> Self {
        let pack = |list: &[AssignedPartition]| topics(list.iter().map(|one| (one.at, Some(one.epoch))));
        Self {
            epoch: value.epoch.get(),
            previous: value.previous.map(MemberEpoch::get),
            progress: match value.progress {
                Progress::Stable => 1,
                Progress::Unrevoked => 2,
                Progress::Unreleased => 3,
            },
            away: value.away,
            assigned: pack(&value.assigned),
            pending: pack(&value.pending),
        }
    }
}

impl TryFrom<CurrentMessage> for Current {
    type Error = ReplayError;

    fn try_from(message: CurrentMessage) -> Result<Self, ReplayError> {
        let progress = match message.progress {
            1 => Some(Progress::Stable),
            2 => Some(Progress::Unrevoked),
            3 => Some(Progress::Unreleased),
            _ => None,
        };
        let current = Self {
            epoch: MemberEpoch::new(message.epoch),
            previous: message.previous.map(MemberEpoch::new),
            progress: field("progress", progress)?,
            away: message.away,
            assigned: with_epochs("assigned", &message.assigned)?,
            pending: with_epochs("pending", &message.pending)?,
        };
        let pends = current.progress == Progress::Unrevoked;
        field("pending", (pends != current.pending.is_empty()).then_some(()))?;
        Ok(current)
    }
}
