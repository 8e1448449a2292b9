//! The partition of `__consumer_offsets`, as replication promises it.

use quipu_coordinator::GroupRecord;
use quipu_record::Tick;
use std::collections::BTreeMap;

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leader {
    pub(super) broker: usize,
    pub(super) epoch: u32,
}

/// The log of the true leader.
#[derive(Debug)]
pub(super) struct OffsetsLog {
    records: Vec<GroupRecord>,
    /// Everything below is committed, for good.
    high_watermark: usize,
    leader: Option<Leader>,
    /// Nobody hears the leader: it commits nothing.
    isolated: bool,
    /// Until when it was heard, if it no longer is.
    heard_until: Option<Tick>,
    /// What had come to others by then.
    reached: usize,
    epoch: u32,
    /// Where batches end: a record alone is never lost out of one.
    bounds: Vec<usize>,
    /// Until when earlier leaders were heard.
    ended: BTreeMap<u32, Tick>,
}

impl OffsetsLog {
    pub(super) const fn new() -> Self {
        Self {
            records: Vec::new(),
            high_watermark: 0,
            leader: None,
            isolated: false,
            heard_until: None,
            reached: 0,
            epoch: 0,
            bounds: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    pub(super) const fn leader(&self) -> Option<Leader> {
        self.leader
    }

    pub(super) const fn high_watermark(&self) -> usize {
        self.high_watermark
    }

    pub(super) const fn end(&self) -> usize {
        self.records.len()
    }

    /// Everything in it, for a leader that begins.
    pub(super) fn records(&self) -> &[GroupRecord] {
        &self.records
    }

    /// Where the log of the next leader may end: everything committed is there, and of the rest what had come to it.
    pub(super) fn possible_ends(&self) -> Vec<usize> {
        let reached = self.heard_until.map_or(self.records.len(), |_| self.reached);
        let ends = self.bounds.iter().copied();
        let ends = ends.filter(|end| (self.high_watermark..=reached).contains(end));
        std::iter::once(self.high_watermark).chain(ends).collect()
    }

    /// Another one leads, with a log that ends at `end`.
    pub(super) fn elect(&mut self, broker: usize, end: usize, now: Tick) -> Leader {
        if let Some(before) = self.leader {
            self.ended.insert(before.epoch, self.heard_until.unwrap_or(now));
        }
        self.records.truncate(end);
        self.bounds.retain(|bound| *bound <= end);
        self.epoch += 1;
        let leader = Leader {
            broker,
            epoch: self.epoch,
        };
        self.leader = Some(leader);
        self.heal();
        leader
    }

    /// Nobody hears the leader for a while.
    pub(super) fn isolate(&mut self, now: Tick) {
        if !self.isolated {
            self.isolated = true;
            self.heard_until = Some(now);
            self.reached = self.records.len();
        }
    }

    pub(super) fn heal(&mut self) {
        self.isolated = false;
        self.heard_until = None;
    }

    pub(super) fn is_heard(&self, leader: Leader) -> bool {
        self.leader == Some(leader) && !self.isolated
    }

    /// When a majority last heard this leader.
    pub(super) fn heard(&self, leader: Leader, now: Tick) -> Option<Tick> {
        if self.leader == Some(leader) {
            return Some(self.heard_until.unwrap_or(now));
        }
        self.ended.get(&leader.epoch).copied()
    }

    /// Appended by a leader; its end afterwards. Who leads no longer appends to a log that nobody will see.
    pub(super) fn append(&mut self, leader: Leader, records: &[GroupRecord]) -> Option<usize> {
        if self.leader != Some(leader) {
            return None;
        }
        self.records.extend_from_slice(records);
        self.bounds.push(self.records.len());
        Some(self.records.len())
    }

    /// A majority has what the leader has below `end`.
    pub(super) fn commit(&mut self, leader: Leader, end: usize) {
        if self.is_heard(leader) {
            self.high_watermark = self.high_watermark.max(end.min(self.records.len()));
        }
    }
}
