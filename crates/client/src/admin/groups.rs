//! Consumer groups as an admin sees them.

use super::Admin;
use crate::consumer::Start;
use crate::error::CallError;
use crate::group::{GroupEpoch, GroupPartition, MemberEpoch};
use crate::routing::{bad_answer, timed};
use quipu_proto::v1::group_service_client::GroupServiceClient;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{BrokerId, Offset, PartitionId, Timestamp, TopicId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a group is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GroupState {
    /// No members; offsets are kept.
    Empty,
    /// A new target assignment is due.
    Assigning,
    /// Members move towards the target.
    Reconciling,
    /// Every member has what the target gives it.
    Stable,
    /// Something that this client does not know.
    Unknown,
}

impl GroupState {
    /// Its name, as it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Assigning => "assigning",
            Self::Reconciling => "reconciling",
            Self::Stable => "stable",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One group, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSummary {
    /// Its name.
    pub group: String,
    /// What it is doing.
    pub state: GroupState,
    /// How many members it has.
    pub members: u32,
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
}

/// The groups of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupList {
    /// By name.
    pub groups: Vec<GroupSummary>,
    /// Coordinators that did not answer: their groups are missing.
    pub errors: Vec<Failure>,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// What it is doing.
    pub state: GroupState,
    /// Grows whenever a new target assignment is due.
    pub epoch: GroupEpoch,
    /// The group epoch that the target was made for.
    pub target_epoch: GroupEpoch,
    /// How partitions are shared out.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
    /// By id.
    pub members: Vec<MemberDescription>,
    /// By topic and partition: committed, owned or both.
    pub offsets: Vec<GroupOffset>,
    /// When the offsets of a group without members expire.
    pub expires_at: Option<Timestamp>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// The id that outlives its process.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where its client is, as the broker that hosts its stream sees it.
    pub client_host: String,
    /// Its rack.
    pub rack: Option<String>,
    /// Topics that it subscribes to by name.
    pub topics: Vec<String>,
    /// The pattern that it subscribes to.
    pub topic_pattern: Option<String>,
    /// How far it has followed the group.
    pub epoch: MemberEpoch,
    /// What it has.
    pub owned: Vec<GroupPartition>,
    /// What it shall have.
    pub target: Vec<GroupPartition>,
    /// What it has still to give up, and others wait for.
    pub revoking: Vec<GroupPartition>,
    /// Until what it revokes is taken from it.
    pub revocation_left: Option<Duration>,
}

/// What a group remembers of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOffset {
    /// The partition.
    pub partition: GroupPartition,
    /// The next offset to process; `None`: nothing was committed.
    pub committed: Option<Offset>,
    /// What the client stored with it.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Option<Timestamp>,
    /// The partition's log start, if its leader answered.
    pub log_start: Option<Offset>,
    /// The partition's high watermark, if its leader answered.
    pub high_watermark: Option<Offset>,
    /// The member that has it.
    pub member_id: Option<String>,
    /// The offset expired, and this is where it stood.
    pub expired: bool,
}

impl GroupOffset {
    /// Records that are there and not processed; `None` where that cannot be known. Without a commit it is all there are.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let from = match self.committed {
            Some(committed) if !self.expired => committed,
            _ => self.log_start?,
        };
        Some(self.high_watermark?.get().saturating_sub(from.get()))
    }
}

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: GroupPartition,
    /// The next offset to process; `None`: nothing was committed.
    pub committed: Option<Offset>,
    /// What the client stored with it.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Option<Timestamp>,
}

/// Where to move offsets to. What lies outside of the log is moved to its nearer end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetTo {
    /// A place in each partition.
    Place(Start),
    /// So much forward, or backward if negative, from what is committed.
    ShiftBy(i64),
}

/// Which offsets of a group to move, and where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResetOffsets {
    /// Topics, each with its partitions (all of them if none is named); if there is none, all that is committed.
    pub topics: Vec<(String, Vec<PartitionId>)>,
    /// Where to.
    pub to: ResetTo,
    /// Only says what would be.
    pub validate_only: bool,
}

/// One offset that moved, or would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetReset {
    /// The partition.
    pub partition: GroupPartition,
    /// Before; `None`: nothing was committed.
    pub from: Option<Offset>,
    /// After, or why not: then none moved.
    pub to: Result<Offset, Failure>,
}

impl Admin {
    /// The groups of the cluster.
    ///
    /// # Errors
    /// [`CallError`]. Single coordinators that do not answer are told in the list.
    pub async fn list_groups(&self) -> Result<GroupList, CallError> {
        let operation = self.repeatable("list groups");
        let answer = self.cluster.call(operation, |connection, left| async move {
            let routing = v1::Routing::Forward.into();
            let request = timed(v1::ListGroupsRequest { routing }, left);
            GroupServiceClient::new(connection).list_groups(request).await
        });
        let answer = answer.await?;
        let groups = answer.groups.into_iter().map(|group| GroupSummary {
            state: state(group.state()),
            group: group.group,
            members: group.members,
            coordinator: BrokerId::new(group.coordinator_id),
        });
        Ok(GroupList {
            groups: groups.collect(),
            errors: answer.errors.into_iter().map(Failure::from).collect(),
        })
    }

    /// Describes a group: its members, what they have, and how far it is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, CallError> {
        let operation = self.repeatable("describe group");
        let request = v1::DescribeGroupRequest {
            group: group.to_owned(),
            routing: v1::Routing::Forward.into(),
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { GroupServiceClient::new(connection).describe_group(request).await }
        });
        description(answer.await?).map_err(|failure| bad_answer(operation.name, &failure))
    }

    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_group(&self, group: &str, validate_only: bool) -> Result<(), CallError> {
        let operation = self.change("delete group", validate_only);
        let request = v1::DeleteGroupRequest {
            group: group.to_owned(),
            validate_only,
            routing: v1::Routing::Forward.into(),
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { GroupServiceClient::new(connection).delete_group(request).await }
        });
        answer.await.map(drop)
    }

    /// All that a group has committed: no older than any commit acknowledged before the call.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, CallError> {
        let operation = self.repeatable("get a group's offsets");
        let request = v1::GetOffsetsRequest {
            group: group.to_owned(),
            partitions: Vec::new(),
            routing: v1::Routing::Forward.into(),
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { GroupServiceClient::new(connection).get_offsets(request).await }
        });
        let offsets = answer.await?.offsets.into_iter().map(committed);
        offsets
            .collect::<Result<_, _>>()
            .map_err(|failure| bad_answer(operation.name, &failure))
    }

    /// Moves the offsets of a group that has no members, all or none; or says what would be.
    ///
    /// # Errors
    /// [`CallError`] for the whole; each partition has its own result.
    pub async fn reset_group_offsets(
        &self,
        group: &str,
        reset: ResetOffsets,
    ) -> Result<Vec<OffsetReset>, CallError> {
        // From where an offset is: the second time it is elsewhere.
        let repeatable = reset.validate_only || matches!(reset.to, ResetTo::Place(_));
        let operation = self.change("reset a group's offsets", repeatable);
        let topics = reset
            .topics
            .into_iter()
            .map(|(topic, partitions)| v1::ResetTopic {
                topic,
                partitions: partitions.into_iter().map(PartitionId::get).collect(),
            });
        let request = v1::ResetOffsetsRequest {
            group: group.to_owned(),
            topics: topics.collect(),
            target: Some(v1::ResetTarget {
                to: Some(target(reset.to)),
            }),
            validate_only: reset.validate_only,
            routing: v1::Routing::Forward.into(),
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { GroupServiceClient::new(connection).reset_offsets(request).await }
        });
        let resets = answer.await?.resets.into_iter().map(offset_reset);
        resets
            .collect::<Result<_, _>>()
            .map_err(|failure| bad_answer(operation.name, &failure))
    }
}

fn target(to: ResetTo) -> v1::reset_target::To {
    use v1::reset_target::To;
    match to {
        ResetTo::Place(Start::Earliest) => To::Earliest(v1::Earliest {}),
        ResetTo::Place(Start::Latest) => To::Latest(v1::Latest {}),
        ResetTo::Place(Start::Offset(offset)) => To::Offset(offset.get()),
        ResetTo::Place(Start::Timestamp(time)) => To::TimestampMs(time.get()),
        ResetTo::ShiftBy(records) => To::ShiftBy(records),
    }
}

const fn state(state: v1::GroupState) -> GroupState {
    match state {
        v1::GroupState::Empty => GroupState::Empty,
        v1::GroupState::Assigning => GroupState::Assigning,
        v1::GroupState::Reconciling => GroupState::Reconciling,
        v1::GroupState::Stable => GroupState::Stable,
        v1::GroupState::Unspecified => GroupState::Unknown,
    }
}

fn partition(topic: &str, topic_id: &str, partition: u32) -> Result<GroupPartition, Failure> {
    Ok(GroupPartition {
        topic: Arc::from(topic),
        topic_id: topic_id_of(topic_id)?,
        partition: PartitionId::new(partition),
    })
}

fn topic_id_of(topic_id: &str) -> Result<Option<TopicId>, Failure> {
    if topic_id.is_empty() {
        return Ok(None);
    }
    scalars::topic_id(topic_id).map(Some)
}

fn partitions(partitions: &[v1::GroupPartition]) -> Result<Vec<GroupPartition>, Failure> {
    let each = partitions
        .iter()
        .map(|p| partition(&p.topic, &p.topic_id, p.partition));
    each.collect()
}

fn offset(name: &'static str, offset: Option<u64>) -> Result<Option<Offset>, Failure> {
    offset.map(|offset| scalars::offset(name, offset)).transpose()
}

fn time(ms: i64) -> Option<Timestamp> {
    (ms > 0).then(|| Timestamp::new(ms))
}

fn description(answer: v1::DescribeGroupResponse) -> Result<GroupDescription, Failure> {
    let state = state(answer.state());
    let members = answer.members.into_iter().map(member);
    let offsets = answer.offsets.into_iter().map(group_offset);
    Ok(GroupDescription {
        group: answer.group,
        state,
        epoch: GroupEpoch::new(answer.group_epoch),
        target_epoch: GroupEpoch::new(answer.target_epoch),
        assignor: answer.assignor,
        coordinator: BrokerId::new(answer.coordinator_id),
        members: members.collect::<Result<_, _>>()?,
        offsets: offsets.collect::<Result<_, _>>()?,
        expires_at: answer.expires_at_ms.map(Timestamp::new),
    })
}

fn member(member: v1::GroupMember) -> Result<MemberDescription, Failure> {
    Ok(MemberDescription {
        owned: partitions(&member.owned)?,
        target: partitions(&member.target)?,
        revoking: partitions(&member.revoking)?,
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rack: member.rack,
        topics: member.topics,
        topic_pattern: member.topic_pattern,
        epoch: MemberEpoch::new(member.member_epoch),
        revocation_left: member.revocation_left_ms.map(Duration::from_millis),
    })
}

fn group_offset(known: v1::GroupOffset) -> Result<GroupOffset, Failure> {
    let place = known.partition.unwrap_or_default();
    Ok(GroupOffset {
        partition: partition(&place.topic, &place.topic_id, place.partition)?,
        committed: offset("offset", known.offset)?,
        metadata: known.metadata,
        committed_at: time(known.committed_at_ms),
        log_start: offset("log_start", known.log_start)?,
        high_watermark: offset("high_watermark", known.high_watermark)?,
        member_id: known.member_id,
        expired: known.expired,
    })
}

fn committed(known: v1::CommittedOffset) -> Result<CommittedOffset, Failure> {
    if let Some(error) = known.error {
        return Err(error.into());
    }
    Ok(CommittedOffset {
        partition: partition(&known.topic, &known.topic_id, known.partition)?,
        committed: offset("offset", known.offset)?,
        metadata: known.metadata,
        committed_at: time(known.committed_at_ms),
    })
}

fn offset_reset(reset: v1::OffsetReset) -> Result<OffsetReset, Failure> {
    Ok(OffsetReset {
        partition: partition(&reset.topic, &reset.topic_id, reset.partition)?,
        from: offset("from", reset.from)?,
        to: match reset.error {
            Some(error) => Err(error.into()),
            None => Ok(scalars::offset("to", reset.to)?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_there_and_not_processed() {
        let mut known = GroupOffset {
            partition: partition("t", "", 0).unwrap(),
            committed: Some(Offset::new(40)),
            metadata: String::new(),
            committed_at: None,
            log_start: Some(Offset::new(10)),
            high_watermark: Some(Offset::new(100)),
            member_id: None,
            expired: false,
        };
        assert_eq!(known.lag(), Some(60));
        known.committed = None;
        assert_eq!(known.lag(), Some(90), "all there is");
        known.committed = Some(Offset::new(120));
        assert_eq!(known.lag(), Some(0), "ahead of what a stale leader said");
        known.expired = true;
        assert_eq!(known.lag(), Some(90));
        known.high_watermark = None;
        assert_eq!(known.lag(), None);
    }
}
