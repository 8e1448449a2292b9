//! From the metadata's image to the contract's messages. Pure; copies what was asked for and nothing else.

use super::route::shown;
use crate::config::INTERNAL;
use quipu_metadata::{Broker, Image, Listener, Partition, Topic};
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{BrokerId, ErrorCode, MetadataVersion, PartitionId};
use std::collections::BTreeSet;

/// The topic that a request means.
///
/// # Errors
/// There is none of this name, or it has another id now.
pub(crate) fn find<'i>(image: &'i Image, name: &str, id: Option<&str>) -> Result<&'i Topic, Failure> {
    let id = scalars::optional_topic_id(id)?;
    let Some(topic) = image.topic_named(name) else {
        return Err(Failure::new(
            ErrorCode::UnknownTopicOrPartition,
            format!(
                "there is no topic {:?}; create it first, or look for it with ListTopics",
                shown(name)
            ),
        ));
    };
    match id {
        Some(id) if id != topic.id => Err(Failure::new(
            ErrorCode::UnknownTopicId,
            format!(
                "topic {name:?} has id {} now, not {id}: it was deleted and created again, and what is known of the \
                 old one (offsets above all) does not hold for it",
                topic.id
            ),
        )),
        _ => Ok(topic),
    }
}

/// A topic with everything about it.
pub(crate) fn topic(topic: &Topic) -> v1::Topic {
    let configs = topic.config.entries().into_iter().map(|entry| v1::ConfigEntry {
        key: entry.key.to_owned(),
        value: entry.value,
        is_default: entry.is_default,
    });
    v1::Topic {
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partitions: topic.partitions.iter().map(partition).collect(),
        configs: configs.collect(),
        config_version: topic.config_version.get(),
        internal: topic.internal,
    }
}

fn partition((index, state): (PartitionId, &Partition)) -> v1::Partition {
    let ids = |brokers: &quipu_metadata::ReplicaSet| brokers.iter().map(BrokerId::get).collect();
    v1::Partition {
        partition: index.get(),
        leader: state.leader.map(BrokerId::get),
        leader_epoch: state.leader_epoch.get(),
        partition_epoch: state.partition_epoch.get(),
        replicas: ids(&state.replicas),
        in_sync_replicas: ids(&state.isr),
        eligible_leader_replicas: ids(&state.elr),
        min_insync_replicas: state.min_insync.into(),
    }
}

/// The address of a broker for a client that came in by `listener`: the listener of the same name, else its first.
pub(crate) fn endpoint(broker: &Broker, listener: &str) -> String {
    let same = broker.listeners.iter().find(|l| l.name == listener);
    let endpoint = same.or_else(|| public(broker).next());
    endpoint.map_or_else(String::new, |l| l.advertised.clone())
}

/// The broker whose internal listener is there.
pub(crate) fn broker_at(image: &Image, address: &str) -> Option<BrokerId> {
    let there = |broker: &Broker| {
        let mut internal = broker.listeners.iter().filter(|l| l.name == INTERNAL);
        internal.any(|l| l.advertised == address)
    };
    image
        .brokers()
        .find(|broker| there(broker))
        .map(|broker| broker.id)
}

/// The listeners that clients may know of.
fn public(broker: &Broker) -> impl Iterator<Item = &Listener> {
    broker.listeners.iter().filter(|l| l.name != INTERNAL)
}

/// Every broker, as a client that came in by `listener` reaches it.
pub(crate) fn brokers(image: &Image, listener: &str) -> Vec<v1::Broker> {
    let one = |broker: &Broker| v1::Broker {
        broker_id: broker.id.get(),
        broker_epoch: broker.epoch.get(),
        endpoint: endpoint(broker, listener),
        listeners: public(broker)
            .map(|l| v1::Listener {
                name: l.name.clone(),
                advertised: l.advertised.clone(),
                protocol: l.protocol.clone(),
            })
            .collect(),
        rack: broker.rack.clone().unwrap_or_default(),
        fenced: broker.fenced,
        version: broker.version.clone(),
    };
    image.brokers().map(|broker| one(broker)).collect()
}

/// Checks the names in a request for routes: a topic named a thousand times would be answered a thousand times.
///
/// # Errors
/// A name stands there twice.
pub(crate) fn check_names(names: &[String]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => {
            let told = format!("topic {:?} is named more than once", shown(twice));
            Err(Failure::new(ErrorCode::InvalidRequest, told))
        }
        None => Ok(()),
    }
}

/// Where the partitions of `topics` are led; of all topics if none is named.
pub(crate) fn routing(image: &Image, topics: &[String], listener: &str) -> v1::GetRoutingResponse {
    let routes = if topics.is_empty() {
        image.topics_by_name().map(|topic| route(topic)).collect()
    } else {
        let named = |name: &String| match image.topic_named(name) {
            Some(topic) => route(topic),
            None => v1::TopicRoute {
                name: name.clone(),
                ..v1::TopicRoute::default()
            },
        };
        topics.iter().map(named).collect()
    };
    v1::GetRoutingResponse {
        topics: routes,
        brokers: brokers(image, listener),
        metadata_version: image.version().get(),
        throttle_ms: 0,
        cluster_id: cluster_id(image),
    }
}

fn route(topic: &Topic) -> v1::TopicRoute {
    let partition = |(index, state): (PartitionId, &Partition)| v1::PartitionRoute {
        partition: index.get(),
        leader: state.leader.map(BrokerId::get),
        leader_epoch: state.leader_epoch.get(),
    };
    v1::TopicRoute {
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partitions: topic.partitions.iter().map(partition).collect(),
        max_message_bytes: topic.config.max_message_bytes(),
    }
}

/// The cluster's id; empty before there is one.
pub(crate) fn cluster_id(image: &Image) -> String {
    image.cluster_id().map_or_else(String::new, |id| id.to_string())
}

/// The cluster, as the broker `answered_by` sees it.
pub(crate) fn cluster(
    image: &Image,
    listener: &str,
    answered_by: BrokerId,
    controller: Option<BrokerId>,
) -> v1::GetClusterResponse {
    let public = image.topics().filter(|topic| !topic.internal);
    let (topics, partitions) = public.fold((0_u32, 0_usize), |(topics, partitions), topic| {
        (topics + 1, partitions + topic.partitions.len())
    });
    v1::GetClusterResponse {
        cluster_id: cluster_id(image),
        answered_by: answered_by.get(),
        controller: controller.map(BrokerId::get),
        brokers: brokers(image, listener),
        metadata_version: image.version().get(),
        feature_level: image.feature_level().get().into(),
        topics,
        partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
    }
}

/// From the wire; 0 is no version.
pub(crate) fn version(wire: u64) -> Option<MetadataVersion> {
    (wire > 0).then(|| MetadataVersion::new(wire))
}

#[cfg(test)]
mod tests;
