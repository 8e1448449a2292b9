//! What is true of a partition, whatever brokers believe: kept by the world, out of every broker's reach.

use quipu_record::{BatchHeader, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use std::collections::{BTreeMap, HashMap};

/// A batch as it went into the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GhostBatch {
    pub(crate) next: Offset,
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) crc: u32,
    pub(crate) identity: Option<Identity>,
}

/// What must be in the log at most once.
pub(crate) type Identity = (ProducerId, ProducerEpoch, Sequence);

impl GhostBatch {
    pub(crate) fn of(header: &BatchHeader) -> Self {
        Self {
            next: header.next_offset(),
            epoch: header.leader_epoch(),
            crc: header.crc(),
            identity: header
                .producer()
                .map(|stamp| (stamp.id, stamp.epoch, stamp.base_sequence)),
        }
    }
}

/// One partition's truth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ghost {
    /// The log of the present leader, by base offset.
    pub(crate) log: BTreeMap<Offset, GhostBatch>,
    /// Where each identified batch of `log` stands.
    pub(crate) identities: HashMap<Identity, Offset>,
    /// The greatest high watermark that a leader ever had.
    pub(crate) true_high_watermark: Offset,
    /// The high watermark of the present leader's epoch.
    pub(crate) of_epoch: Option<(LeaderEpoch, Offset)>,
    /// Batches acknowledged under `acks=all`, by base offset.
    pub(crate) acked: BTreeMap<Offset, GhostBatch>,
    /// Everything below may have been deleted.
    pub(crate) may_start: Offset,
}

impl Ghost {
    /// The leader appended.
    pub(crate) fn append(&mut self, header: &BatchHeader) {
        let batch = GhostBatch::of(header);
        self.log.insert(header.base_offset(), batch);
        if let Some(identity) = batch.identity {
            self.identities.entry(identity).or_insert(header.base_offset());
        }
    }

    /// The log is found to hold this, after a restart.
    pub(crate) fn replace_log(&mut self, found: &BTreeMap<Offset, GhostBatch>) {
        self.log.clone_from(found);
        self.identities = found
            .iter()
            .filter_map(|(offset, batch)| Some((batch.identity?, *offset)))
            .collect();
        self.of_epoch = None;
    }

    /// What was promised here was lost within the rules (`durability=replicated`, one replica, a power cut).
    pub(crate) fn forget_promises(&mut self, log_end: Offset) {
        self.acked.retain(|_, batch| batch.next <= log_end);
        self.true_high_watermark = self.true_high_watermark.min(log_end);
    }

    /// Records below are deleted, or may come to be.
    pub(crate) fn may_delete(&mut self, before: Offset) {
        self.may_start = self.may_start.max(before);
    }
}
