//! A broker has opened its logs and caught up with the metadata: it may lead.

use super::Decision;
use crate::partition_change::{Election, PartitionChange, Standing};
use crate::{Image, Record};
use quipu_record::{BrokerEpoch, BrokerId, TopicPartition};

/// Lets a registered broker lead and be in sync. Partitions without a leader that it may lead get it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnfenceBroker {
    /// Which one.
    pub id: BrokerId,
    /// Which of its lifetimes.
    pub epoch: BrokerEpoch,
}

/// The broker is unfenced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerUnfenced {
    /// How many partitions found a leader by it.
    pub elections: usize,
}

struct After<'a> {
    image: &'a Image,
    broker: BrokerId,
}

impl Standing for After<'_> {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        broker == self.broker || self.image.is_unfenced(broker)
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        self.is_unfenced(broker)
            && self
                .image
                .broker(broker)
                .is_some_and(|b| b.shutting_down.is_none())
    }
}

impl UnfenceBroker {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let broker = match image.broker_in(self.id, self.epoch) {
            Ok(broker) => broker,
            Err(refusal) => return Decision::refused(refusal),
        };
        if !broker.fenced {
            return Decision::done(Vec::new(), BrokerUnfenced { elections: 0 });
        }
        let state = Record::BrokerState {
            id: self.id,
            epoch: self.epoch,
            fenced: false,
            shutting_down: broker.shutting_down,
        };
        let mut records = vec![state];
        let standing = After {
            image,
            broker: self.id,
        };
        for (topic, partition, state) in image.partitions_near(&[self.id]) {
            if state.leader.is_some() || !state.replicas.contains(self.id) {
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
        let elections = records.len() - 1;
        Decision::done(records, BrokerUnfenced { elections })
    }
}
