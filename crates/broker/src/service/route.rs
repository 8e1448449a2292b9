//! From the names in a request to the partition they mean, and to what a client is told where that is not here.

use crate::data_plane::DataPlane;
use crate::partition::replica::Replica;
use crate::partition::topics::Topic;
use quipu_metadata::Image;
use quipu_proto::{Failure, LeaderHint, scalars};
use quipu_record::{BrokerId, ErrorCode, LeaderEpoch, PartitionId, TOPIC_NAME_LEN_MAX, TopicPartition};
use quipu_replication::ReadError;
use std::sync::Arc;

impl DataPlane {
    /// The topic of this name, which must have this id where one is given.
    pub(crate) fn topic(&self, name: &str, id: Option<&str>) -> Result<Arc<Topic>, Failure> {
        let id = scalars::optional_topic_id(id)?;
        let topic = self.topics.named(name).ok_or_else(|| unknown_topic(name))?;
        match id {
            Some(id) if id != topic.info.id => {
                let now = &topic.info.id_text;
                Err(Failure::new(
                    ErrorCode::UnknownTopicId,
                    format!("topic {name:?} is {now} now, not {id}: it was deleted and created again"),
                ))
            }
            _ => Ok(topic),
        }
    }

    /// The replica of a partition on this broker; `listener` is where the client came in, for the hint where to go.
    pub(crate) fn replica(
        &self,
        topic: &Topic,
        partition: u32,
        listener: &str,
    ) -> Result<Arc<Replica>, Failure> {
        let partition = PartitionId::new(partition);
        match topic.replica(partition) {
            Some(Some(replica)) => Ok(replica),
            Some(None) => {
                let at = TopicPartition {
                    topic: topic.info.id,
                    partition,
                };
                Err(self.not_leader(at, &topic.info.name, listener))
            }
            None => {
                let (name, count) = (&topic.info.name, topic.replicas().len());
                Err(Failure::new(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("topic {name:?} has no partition {partition}: it has {count}, counted from 0"),
                ))
            }
        }
    }

    /// As [`DataPlane::topic`] and [`DataPlane::replica`] together.
    pub(crate) fn find(
        &self,
        name: &str,
        id: Option<&str>,
        partition: u32,
        listener: &str,
    ) -> Result<Arc<Replica>, Failure> {
        self.replica(&*self.topic(name, id)?, partition, listener)
    }

    /// What a client is told that asked for a partition which this broker does not lead: who does, if anybody.
    pub(crate) fn not_leader(&self, at: TopicPartition, name: &str, listener: &str) -> Failure {
        let image = self.image.load();
        let Some(state) = image.partition(at) else {
            return unknown_topic(name);
        };
        let partition = at.partition;
        match state.leader {
            None => Failure::new(
                ErrorCode::LeaderNotAvailable,
                format!("nobody leads partition {partition} of topic {name:?} now: try again in a moment"),
            ),
            // The metadata is ahead of the partition's thread, or this broker is on its way out.
            Some(leader) if leader == self.config.broker => Failure::new(
                ErrorCode::LeaderNotAvailable,
                format!(
                    "the leader of partition {partition} of topic {name:?} is not ready: try again in a moment"
                ),
            ),
            Some(leader) => Failure::new(
                ErrorCode::NotLeader,
                format!("broker {leader} leads partition {partition} of topic {name:?}: ask there"),
            )
            .with_leader(leader_hint(&image, leader, state.leader_epoch, listener)),
        }
    }

    /// What a client is told whose read was refused.
    pub(crate) fn read_refused(&self, error: &ReadError, replica: &Replica, listener: &str) -> Failure {
        if *error == ReadError::NotLeader {
            return self.not_leader(replica.at, &replica.topic.name, listener);
        }
        Failure::new(error.code(), error.to_string())
    }
}

fn unknown_topic(name: &str) -> Failure {
    let name = shown(name);
    Failure::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("there is no topic {name:?}: create it first, topics are not made by being named"),
    )
}

/// So much of a name as a topic's may have: what is longer is not repeated to its sender.
pub(crate) fn shown(name: &str) -> &str {
    let end = (0..=TOPIC_NAME_LEN_MAX.min(name.len())).rev();
    let end = end.into_iter().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// So many items may one request have; what is above is refused before anything is done.
pub(crate) const ITEMS_MAX: usize = 10_000;

/// Refuses a request with more items than [`ITEMS_MAX`].
pub(crate) fn not_too_many(field: &str, count: usize) -> Result<(), Failure> {
    if count > ITEMS_MAX {
        let message = format!("{field} has {count} entries: a request takes at most {ITEMS_MAX}");
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// Where a leader is, on the listener that the client came in by; without that, nothing is better than a wrong address.
pub(super) fn leader_hint(
    image: &Image,
    leader: BrokerId,
    epoch: LeaderEpoch,
    listener: &str,
) -> Option<LeaderHint> {
    let listeners = &image.broker(leader)?.listeners;
    let address = listeners.iter().find(|address| address.name == listener)?;
    Some(LeaderHint {
        broker: leader,
        endpoint: address.advertised.clone(),
        epoch,
    })
}
