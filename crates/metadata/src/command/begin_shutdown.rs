//! A broker wants to go: others take over what they can before it does.

use super::Decision;
use crate::partition_change::{PartitionChange, Standing};
use crate::{Image, Record};
use quipu_record::{BrokerEpoch, BrokerId, TopicPartition};

/// Moves a broker's leaderships to other in-sync replicas, and takes it out of the in-sync replicas wherever the rest are
/// enough to go on acknowledging.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BeginShutdown {
    /// Which one.
    pub id: BrokerId,
    /// Which of its lifetimes.
    pub epoch: BrokerEpoch,
}

/// The broker takes no more leadership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShutdownBegun {
    /// Leaderships handed over.
    pub moved: usize,
    /// Partitions that it still leads, since nobody else is in sync: they have no leader once it is gone.
    pub still_leads: usize,
}

struct After<'a> {
    image: &'a Image,
    leaving: BrokerId,
}

impl Standing for After<'_> {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        self.image.is_unfenced(broker)
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        broker != self.leaving && self.image.is_active(broker)
    }
}

impl BeginShutdown {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let broker = match image.broker_in(self.id, self.epoch) {
            Ok(broker) => broker,
            Err(refusal) => return Decision::refused(refusal),
        };
        let since = broker.shutting_down.or(Some(image.version()));
        let state = Record::BrokerState {
            id: self.id,
            epoch: self.epoch,
            fenced: broker.fenced,
            shutting_down: since,
        };
        let mut records = vec![state];
        let standing = After {
            image,
            leaving: self.id,
        };
        let (mut moved, mut still_leads) = (0, 0);
        for (topic, partition, state) in image.partitions_near(&[self.id]) {
            if !state.isr.contains(self.id) {
                continue;
            }
            let rest = state.isr.without(|b| b == self.id);
            let mut change = PartitionChange::new(state, &standing);
            if rest.len() >= usize::from(state.min_insync) && rest.iter().any(|b| standing.is_active(b)) {
                change = change.isr(rest);
            }
            let after = change.build();
            let leader = after.as_ref().map_or(state.leader, |after| after.leader);
            if state.leader == Some(self.id) {
                if leader == Some(self.id) {
                    still_leads += 1
                } else {
                    moved += 1
                }
            }
            if let Some(state) = after {
                records.push(Record::Partition {
                    at: TopicPartition {
                        topic: topic.id,
                        partition,
                    },
                    state,
                });
            }
        }
        Decision::done(records, ShutdownBegun { moved, still_leads })
    }
}
