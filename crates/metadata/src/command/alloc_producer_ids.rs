//! A broker needs ids for idempotent producers: it gets a block, and no other broker ever gets one of it.

use super::Decision;
use crate::{Image, Record};
use quipu_record::{BrokerEpoch, BrokerId, ProducerId};

/// How many producer ids a broker gets at once.
pub const PRODUCER_ID_BLOCK: u64 = 1000;

/// Asks for a block of producer ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocProducerIds {
    /// Who asks.
    pub id: BrokerId,
    /// In which of its lifetimes.
    pub epoch: BrokerEpoch,
}

/// Ids that nobody else has or ever gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many, from there.
    pub count: u64,
}

impl AllocProducerIds {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        if let Err(refusal) = image.broker_in(self.id, self.epoch) {
            return Decision::refused(refusal);
        }
        let first = image.next_producer_id();
        let next = ProducerId::new(first.get() + PRODUCER_ID_BLOCK);
        let block = ProducerIdBlock {
            first,
            count: PRODUCER_ID_BLOCK,
        };
        Decision::done(vec![Record::ProducerIds { next }], block)
    }
}
