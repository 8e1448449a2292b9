//! The wire's messages as an admin's types, checked.

use super::cluster::{
    BrokerDescription, CheckReport, ClusterDescription, Finding, ListenerDescription, PartitionRoute,
    RoutingDescription, Severity, TopicRoute,
};
use super::topics::{ConfigEntry, DeletedRecords, FoundOffset, PartitionDescription, TopicDescription};
use crate::consumer::Start;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{
    BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionId,
    Timestamp,
};

pub(super) fn topic(topic: Option<v1::Topic>) -> Result<TopicDescription, Failure> {
    let topic = topic.ok_or_else(|| Failure::new(ErrorCode::Internal, "the topic is missing"))?;
    let configs = topic.configs.into_iter().map(|entry| ConfigEntry {
        key: entry.key,
        value: entry.value,
        is_default: entry.is_default,
    });
    Ok(TopicDescription {
        id: scalars::topic_id(&topic.topic_id)?,
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        configs: configs.collect(),
        config_version: topic.config_version,
        internal: topic.internal,
    })
}

fn partition(partition: v1::Partition) -> PartitionDescription {
    let brokers = |ids: Vec<u32>| ids.into_iter().map(BrokerId::new).collect();
    PartitionDescription {
        partition: PartitionId::new(partition.partition),
        leader: partition.leader.map(BrokerId::new),
        leader_epoch: LeaderEpoch::new(partition.leader_epoch),
        partition_epoch: PartitionEpoch::new(partition.partition_epoch),
        replicas: brokers(partition.replicas),
        in_sync_replicas: brokers(partition.in_sync_replicas),
        eligible_leader_replicas: brokers(partition.eligible_leader_replicas),
        min_insync_replicas: partition.min_insync_replicas,
    }
}

pub(super) fn delete_partitions(
    partitions: Vec<(PartitionId, Option<Offset>)>,
) -> Vec<v1::DeleteRecordsPartition> {
    let each = partitions
        .into_iter()
        .map(|(partition, before)| v1::DeleteRecordsPartition {
            partition: partition.get(),
            before_offset: before.map(Offset::get),
        });
    each.collect()
}

pub(super) fn deleted_records(result: v1::DeleteRecordsResult) -> Result<DeletedRecords, Failure> {
    Ok(DeletedRecords {
        partition: PartitionId::new(result.partition),
        log_start: match result.error {
            Some(error) => Err(error.into()),
            None => Ok(scalars::offset("log_start", result.log_start)?),
        },
    })
}

pub(super) fn offset_query((topic, partition, at): (String, PartitionId, Start)) -> v1::OffsetQuery {
    v1::OffsetQuery {
        topic,
        topic_id: None,
        partition: partition.get(),
        at: Some(at.into()),
    }
}

pub(super) fn found_offset(result: v1::OffsetResult) -> Result<FoundOffset, Failure> {
    Ok(FoundOffset {
        topic_id: scalars::topic_id(&result.topic_id)?,
        topic: result.topic,
        partition: PartitionId::new(result.partition),
        offset: scalars::offset("offset", result.offset)?,
        timestamp: result.timestamp_ms.map(Timestamp::new),
        leader_epoch: LeaderEpoch::new(result.leader_epoch),
    })
}

pub(super) fn cluster(answer: v1::GetClusterResponse) -> ClusterDescription {
    ClusterDescription {
        cluster_id: answer.cluster_id,
        answered_by: BrokerId::new(answer.answered_by),
        controller: answer.controller.map(BrokerId::new),
        brokers: answer.brokers.into_iter().map(broker).collect(),
        metadata_version: MetadataVersion::new(answer.metadata_version),
        feature_level: answer.feature_level,
        topics: answer.topics,
        partitions: answer.partitions,
    }
}

fn broker(broker: v1::Broker) -> BrokerDescription {
    let listeners = broker.listeners.into_iter().map(|listener| ListenerDescription {
        name: listener.name,
        advertised: listener.advertised,
        protocol: listener.protocol,
    });
    BrokerDescription {
        id: BrokerId::new(broker.broker_id),
        epoch: BrokerEpoch::new(broker.broker_epoch),
        endpoint: broker.endpoint,
        listeners: listeners.collect(),
        rack: (!broker.rack.is_empty()).then_some(broker.rack),
        fenced: broker.fenced,
        version: broker.version,
    }
}

pub(super) fn routing(answer: v1::GetRoutingResponse) -> Result<RoutingDescription, Failure> {
    let topics = answer
        .topics
        .into_iter()
        .map(topic_route)
        .collect::<Result<_, _>>()?;
    Ok(RoutingDescription {
        topics,
        brokers: answer.brokers.into_iter().map(broker).collect(),
        metadata_version: MetadataVersion::new(answer.metadata_version),
    })
}

fn topic_route(topic: v1::TopicRoute) -> Result<TopicRoute, Failure> {
    let partitions = topic.partitions.into_iter().map(|route| PartitionRoute {
        partition: PartitionId::new(route.partition),
        leader: route.leader.map(BrokerId::new),
        leader_epoch: LeaderEpoch::new(route.leader_epoch),
    });
    let id = (!topic.topic_id.is_empty()).then(|| scalars::topic_id(&topic.topic_id));
    Ok(TopicRoute {
        name: topic.name,
        id: id.transpose()?,
        partitions: partitions.collect(),
        max_message_bytes: topic.max_message_bytes,
    })
}

pub(super) fn check_report(answer: v1::CheckClusterResponse) -> CheckReport {
    let findings = answer.findings.into_iter().map(|finding| Finding {
        severity: match finding.severity() {
            v1::Severity::Warning => Severity::Warning,
            // What a newer broker finds worse than all we know of is not to be played down.
            v1::Severity::Critical | v1::Severity::Unspecified => Severity::Critical,
        },
        subject: finding.subject,
        problem: finding.problem,
        remedy: finding.remedy,
    });
    CheckReport {
        findings: findings.collect(),
        partitions: answer.partitions,
        brokers: answer.brokers,
        notes: answer.notes,
    }
}
