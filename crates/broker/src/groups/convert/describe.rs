//! A group as people see it.

use super::name_of;
use quipu_coordinator::{GroupDescription, GroupState, MemberDescription, OffsetDescription};
use quipu_metadata::Image;
use quipu_proto::v1;
use quipu_record::{BrokerId, TopicPartition};

pub(crate) fn state_to_wire(state: GroupState) -> v1::GroupState {
    match state {
        GroupState::Empty => v1::GroupState::Empty,
        GroupState::Assigning => v1::GroupState::Assigning,
        GroupState::Reconciling => v1::GroupState::Reconciling,
        GroupState::Stable => v1::GroupState::Stable,
    }
}

/// Without lag, which the coordinator does not know.
pub(crate) fn described(
    image: &Image,
    coordinator: BrokerId,
    group: GroupDescription,
) -> v1::DescribeGroupResponse {
    let mut offsets: Vec<_> = group
        .offsets
        .into_iter()
        .map(|offset| offset_of(image, offset))
        .collect();
    offsets.sort_by_cached_key(|offset| {
        let partition = offset.partition.clone().unwrap_or_default();
        (partition.topic, partition.topic_id, partition.partition)
    });
    v1::DescribeGroupResponse {
        group: group.group.to_string(),
        state: state_to_wire(group.state).into(),
        group_epoch: group.epoch.get(),
        target_epoch: group.target_epoch.get(),
        assignor: group.assignor.name().to_owned(),
        coordinator_id: coordinator.get(),
        members: group
            .members
            .into_iter()
            .map(|member| member_of(image, member))
            .collect(),
        offsets,
        expires_at_ms: group.expires_at.map(|at| at.get()),
        throttle_ms: 0,
    }
}

fn partition_of(image: &Image, at: TopicPartition) -> v1::GroupPartition {
    v1::GroupPartition {
        topic: name_of(image, at.topic),
        topic_id: at.topic.to_string(),
        partition: at.partition.get(),
    }
}

fn partitions_of(image: &Image, all: impl Iterator<Item = TopicPartition>) -> Vec<v1::GroupPartition> {
    let mut partitions: Vec<_> = all.map(|at| partition_of(image, at)).collect();
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    partitions
}

fn member_of(image: &Image, member: MemberDescription) -> v1::GroupMember {
    let left = member.revocation_left;
    v1::GroupMember {
        member_id: member.member.to_string(),
        instance_id: member.instance.map(|instance| instance.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rack: member.rack.map(|rack| rack.to_string()),
        topics: member
            .subscription
            .topics
            .iter()
            .map(ToString::to_string)
            .collect(),
        topic_pattern: member.subscription.pattern.map(|pattern| pattern.to_string()),
        member_epoch: member.epoch.get(),
        owned: partitions_of(image, member.owned.iter().map(|one| one.at)),
        target: partitions_of(image, member.target.into_iter()),
        revoking: partitions_of(image, member.revoking.iter().map(|one| one.at)),
        revocation_left_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn offset_of(image: &Image, offset: OffsetDescription) -> v1::GroupOffset {
    let committed = offset.committed.as_ref();
    v1::GroupOffset {
        partition: Some(partition_of(image, offset.at)),
        offset: committed.map(|committed| committed.offset.get()),
        metadata: committed
            .map(|committed| committed.metadata.to_string())
            .unwrap_or_default(),
        committed_at_ms: committed.map_or(0, |committed| committed.at.get()),
        log_start: None,
        high_watermark: None,
        member_id: offset.member.map(|member| member.to_string()),
        expired: offset.expired,
    }
}
