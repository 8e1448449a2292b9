//! Brokers are lost: they leave the in-sync replicas of every partition, and others take over what they led.

use super::Decision;
use crate::partition_change::{Election, PartitionChange, Standing};
use crate::{Image, Record};
use quipu_record::{BrokerEpoch, BrokerId, TopicPartition};

/// Fences brokers, all of them in one entry. One that registered again meanwhile is left alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FenceBrokers {
    /// Which ones.
    pub brokers: Vec<BrokerFence>,
}

/// One broker to fence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerFence {
    /// Which one.
    pub id: BrokerId,
    /// Which of its lifetimes.
    pub epoch: BrokerEpoch,
}

/// The brokers are fenced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokersFenced {
    /// Those that were not already, and had not registered again.
    pub fenced: Vec<BrokerId>,
}

struct After<'a> {
    image: &'a Image,
    fenced: &'a [BrokerId],
}

impl Standing for After<'_> {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        !self.fenced.contains(&broker) && self.image.is_unfenced(broker)
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        !self.fenced.contains(&broker) && self.image.is_active(broker)
    }
}

impl FenceBrokers {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let mut fenced: Vec<BrokerId> = Vec::new();
        let mut records = Vec::new();
        for fence in &self.brokers {
            let Ok(broker) = image.broker_in(fence.id, fence.epoch) else {
                continue;
            };
            if broker.fenced || fenced.contains(&fence.id) {
                continue;
            }
            fenced.push(fence.id);
            let (id, epoch) = (fence.id, fence.epoch);
            records.push(Record::BrokerState {
                id,
                epoch,
                fenced: true,
                shutting_down: broker.shutting_down,
            });
        }
        if fenced.is_empty() {
            return Decision::<Self>::done(records, BrokersFenced { fenced });
        }
        let standing = After {
            image,
            fenced: &fenced,
        };
        for (topic, partition, state) in image.partitions_near(&fenced) {
            if !fenced
                .iter()
                .any(|b| state.isr.contains(*b) || state.leader == Some(*b))
            {
                continue;
            }
            let election = Election {
                unclean: topic.config.unclean_leader_election(),
                wait_is_over: false,
            };
            if let Some(state) = PartitionChange::new(state, &standing).election(election).build() {
                records.push(Record::Partition {
                    at: TopicPartition {
                        topic: topic.id,
                        partition,
                    },
                    state,
                });
            }
        }
        Decision::<Self>::done(records, BrokersFenced { fenced })
    }
}
