//! What is true of a partition, whatever brokers believe: kept by the world, out of every broker's reach.

use quipu_metadata::Partition;
use quipu_record::{
    BatchHeader, BrokerEpoch, BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence,
};
use quipu_replication::Tick;
use std::collections::{BTreeMap, HashMap};

/// A batch as it stands in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GhostBatch {
    pub(crate) next: Offset,
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) crc: u32,
    pub(crate) identity: Option<Identity>,
}

/// What may be committed at most once.
pub(crate) type Identity = (ProducerId, ProducerEpoch, Sequence);

/// Batches by their base offset.
pub(crate) type Batches = BTreeMap<Offset, GhostBatch>;

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

/// What one broker holds of one partition, as the world sees it: of a broker that is down, what its disk keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) log: Batches,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) flushed: Offset,
    /// What the disk itself says was flushed, at the least: recovery takes damage above it for a torn tail.
    pub(crate) marked: Offset,
    pub(crate) high_watermark: Offset,
    /// Up to where the log was found equal to what is committed.
    pub(crate) matched: Offset,
    /// It is open in a running process.
    pub(crate) open: bool,
    /// The epoch it leads in.
    pub(crate) leading: Option<LeaderEpoch>,
    /// The in-sync replicas that it counts as a leader: committed and proposed.
    pub(crate) counted: Vec<BrokerId>,
    /// Something that it had acknowledged may be gone: it must copy from a leader before it counts again.
    pub(crate) lossy: bool,
    /// A bit of it was flipped by the world.
    pub(crate) flipped: bool,
    /// It is being copied anew, after damage or on an empty disk.
    pub(crate) repairing: bool,
}

impl Mirror {
    /// How far it holds the log in a way that counts.
    pub(crate) fn held(&self, fsync: bool) -> Offset {
        if fsync { self.flushed } else { self.log_end }
    }

    pub(crate) fn append(&mut self, header: &BatchHeader) {
        self.log.insert(header.base_offset(), GhostBatch::of(header));
    }

    /// The log ends here now. A truncation ends at a batch's end; a log that begins anew may do so in the midst of one, of
    /// which nothing is there then.
    pub(crate) fn cut(&mut self, log_end: Offset) {
        self.log.split_off(&log_end);
        if self
            .log
            .last_key_value()
            .is_some_and(|(_, last)| last.next > log_end)
        {
            self.log.pop_last();
        }
        self.matched = self.matched.min(log_end);
        self.log_end = log_end;
        self.flushed = self.flushed.min(log_end);
        self.marked = self.marked.min(log_end);
    }

    /// Nothing is left.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            lossy: self.lossy,
            repairing: self.repairing,
            ..Self::default()
        };
    }
}

/// One partition's truth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ghost {
    /// What the controllers committed of it; `None`: it does not exist yet.
    pub(crate) truth: Option<Partition>,
    /// Everything that was ever committed below `true_high_watermark`, by base offset, and not yet deleted.
    pub(crate) committed: Batches,
    /// Where each identified batch of `committed` stands.
    pub(crate) identities: HashMap<Identity, Offset>,
    /// The greatest high watermark that any leader ever had.
    pub(crate) true_high_watermark: Offset,
    /// When it rose, to what.
    pub(crate) rises: Vec<(Tick, Offset)>,
    /// Who led in which epoch.
    pub(crate) leaders: BTreeMap<LeaderEpoch, BrokerId>,
    /// The high watermark of each leader in its epoch.
    pub(crate) of_epoch: BTreeMap<LeaderEpoch, Offset>,
    /// Batches acknowledged under `acks=all`, by base offset.
    pub(crate) acked: Batches,
    /// Everything below may have been deleted.
    pub(crate) may_start: Offset,
    /// By broker, as in the plan.
    pub(crate) replicas: Vec<Mirror>,
    /// How often something of a replica was destroyed or lost: without that nobody is ever elected uncleanly.
    pub(crate) destroyed: u64,
    /// Why a loss here is within the rules; the histories of this partition are not judged then.
    pub(crate) forgiven: Option<&'static str>,
}

impl Ghost {
    pub(crate) fn new(brokers: usize) -> Self {
        Self {
            replicas: vec![Mirror::default(); brokers],
            ..Self::default()
        }
    }

    /// Everything below this offset is committed, as this broker's log has it.
    pub(crate) fn commit(&mut self, broker: usize, high_watermark: Offset) {
        let from = self.true_high_watermark;
        let log = &self.replicas[broker].log;
        for (offset, batch) in log.range(from..high_watermark) {
            self.committed.insert(*offset, *batch);
        }
        self.true_high_watermark = high_watermark;
    }

    /// An operator gave up what was lost: the new leader's log is the truth from here on.
    pub(crate) fn give_up(&mut self, why: &'static str) {
        self.forgiven.get_or_insert(why);
        self.committed.clear();
        self.identities.clear();
        self.acked.clear();
        self.of_epoch.clear();
        self.rises.clear();
        self.true_high_watermark = Offset::ZERO;
        for mirror in &mut self.replicas {
            mirror.matched = Offset::ZERO;
        }
    }

    /// Records below are deleted, or may come to be.
    pub(crate) fn may_delete(&mut self, before: Offset) {
        self.may_start = self.may_start.max(before);
    }

    /// Brokers that may be elected without loss, by the truth.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let truth = self.truth.iter();
        truth.flat_map(|truth| truth.isr.iter().chain(truth.elr.iter()))
    }
}

/// A broker's standing with the controllers, as the world sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    /// The epoch of its running process; `None`: it has not registered yet, or is down.
    pub(crate) running: Option<BrokerEpoch>,
    /// The epoch that the controllers know.
    pub(crate) registered: Option<BrokerEpoch>,
}

impl Standing {
    /// The process that runs is the one that the controllers mean.
    pub(crate) fn is_current(&self) -> bool {
        self.running.is_some() && self.running == self.registered
    }
}
