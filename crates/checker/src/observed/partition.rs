//! What was seen of one partition.

use super::Sighting;
use crate::counting::Counting;
use crate::history::{EventId, Key, PolledPartition, ValueId};
use quipu_record::Offset;
use std::collections::BTreeMap;

/// One partition: what stands at each offset that anybody saw, in an order that all agree on.
#[derive(Debug)]
pub(crate) struct Partition<'h> {
    pub(crate) key: &'h Key,
    /// The first sighting at each offset, as they came.
    slots: Vec<Sighting>,
    /// Places in `slots`.
    by_offset: Counting,
    /// The offsets seen, ascending: an offset's place here is its index in the version order, without the gaps.
    offsets: Vec<u64>,
    /// Offsets that hold several values: all but the first seen.
    conflicts: BTreeMap<Offset, Vec<Sighting>>,
    /// The greatest deletion asked for or told of.
    pub(crate) trimmed: Option<(Offset, EventId)>,
    /// The lowest offset that an `ok` poll asked for.
    pub(crate) lowest_asked: Option<Offset>,
    /// Whether offsets may be missing without a word.
    pub(crate) compacted: bool,
    /// Whether a replica's final log names its values.
    pub(crate) has_final: bool,
}

impl<'h> Partition<'h> {
    pub(super) fn new(key: &'h Key) -> Self {
        Self {
            key,
            slots: Vec::new(),
            by_offset: Counting::default(),
            offsets: Vec::new(),
            conflicts: BTreeMap::new(),
            trimmed: None,
            lowest_asked: None,
            compacted: false,
            has_final: false,
        }
    }

    pub(super) fn trim(&mut self, before: Offset, event: EventId) {
        if self.trimmed.is_none_or(|(greatest, _)| greatest < before) {
            self.trimmed = Some((before, event));
        }
    }

    pub(super) fn asked(&mut self, part: &PolledPartition) {
        let first = part.records.first().map_or(part.from, |record| record.offset);
        let lowest = part.from.min(first);
        self.lowest_asked = Some(self.lowest_asked.map_or(lowest, |asked| asked.min(lowest)));
        self.compacted |= part.compacted;
    }

    /// Takes note of a sighting.
    pub(super) fn see(&mut self, sighting: &Sighting) {
        let Some(at) = self.by_offset.get(sighting.offset.get()) else {
            self.by_offset.insert(sighting.offset.get(), self.slots.len());
            self.slots.push(*sighting);
            return;
        };
        if self.slots[at].value == sighting.value {
            return;
        }
        let others = self.conflicts.entry(sighting.offset).or_default();
        if others.iter().all(|other| other.value != sighting.value) {
            others.push(*sighting);
        }
    }

    /// Everything is seen: the version order stands.
    pub(super) fn order(&mut self) {
        self.offsets = self.by_offset.numbers();
    }

    /// The first sighting at an offset.
    pub(crate) fn at(&self, offset: Offset) -> Option<&Sighting> {
        self.by_offset.get(offset.get()).map(|at| &self.slots[at])
    }

    /// The first sighting of a value at an offset.
    pub(super) fn sighting(&self, offset: Offset, value: ValueId) -> Option<&Sighting> {
        let others = self.conflicts.get(&offset).into_iter().flatten();
        let mut all = self.at(offset).into_iter().chain(others);
        all.find(|sighting| sighting.value == Some(value))
    }

    /// The first sighting at each offset, in the order of the offsets.
    pub(crate) fn in_order(&self) -> impl DoubleEndedIterator<Item = &Sighting> {
        self.offsets
            .iter()
            .filter_map(|offset| self.at(Offset::new(*offset)))
    }

    /// The offsets that hold more than one value, with all but the first seen.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = &[Sighting]> {
        self.conflicts.values().map(Vec::as_slice)
    }

    /// Everything below was or may have been deleted.
    pub(crate) fn deleted_below(&self) -> Offset {
        self.trimmed.map_or(Offset::ZERO, |(offset, _)| offset)
    }

    /// The first known offset between two that was not deleted.
    pub(crate) fn known_between(&self, after: Offset, before: Offset) -> Option<Offset> {
        if after.next() >= before {
            return None;
        }
        let from = after.next().max(self.deleted_below()).get();
        let at = self.offsets.partition_point(|offset| *offset < from);
        let found = self.offsets.get(at).filter(|offset| **offset < before.get());
        found.map(|offset| Offset::new(*offset))
    }
}
