//! What the history says stood where: one pass, shared by all properties.

use crate::history::{Acks, Event, EventId, History, Key, Kind, Op, Process, ReadRecord, ValueId};
use quipu_record::{BrokerId, Offset};
use std::collections::HashMap;

/// How somebody came to know what stands at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Witness {
    /// An acknowledgement that is a promise (`acks=all`).
    Ack,
    /// A consumer's read.
    Read,
    /// A replica's final log.
    Final(BrokerId),
}

/// A partition's number within one check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyIndex(usize);

/// One record as one event tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sighting {
    pub(crate) key: KeyIndex,
    pub(crate) offset: Offset,
    /// `None`: bytes that name no value.
    pub(crate) value: Option<ValueId>,
    pub(crate) hash: Option<u32>,
    pub(crate) event: EventId,
    pub(crate) witness: Witness,
}

/// Where a value was first seen, and every other place.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) first: Sighting,
    /// One sighting for each further place.
    pub(crate) others: Vec<Sighting>,
    /// Whether anybody read it.
    read: bool,
}

impl Places {
    /// The lowest offset of the value in this partition.
    pub(crate) fn lowest(&self, key: KeyIndex) -> Option<Sighting> {
        self.others
            .iter()
            .chain([&self.first])
            .filter(|sighting| sighting.key == key)
            .min_by_key(|sighting| sighting.offset)
            .copied()
    }
}

/// What is known of one offset: the first value seen there, and every other one.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) first: Sighting,
    pub(crate) others: Vec<Sighting>,
}

/// A replica's final log of one partition.
#[derive(Clone, Debug)]
pub(crate) struct FinalLog {
    pub(crate) key: KeyIndex,
    pub(crate) replica: BrokerId,
    pub(crate) log_start: Offset,
    /// One of the events that told it.
    pub(crate) event: EventId,
    pub(crate) records: HashMap<Offset, Option<ValueId>>,
}

/// Everything seen, by place and by value.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    keys: Vec<Key>,
    by_key: HashMap<Key, KeyIndex>,
    pub(crate) slots: HashMap<(KeyIndex, Offset), Slot>,
    pub(crate) places: HashMap<ValueId, Places>,
    /// Reads that tell something new: of a value not read before, at a new place, or with other bytes; and of bytes
    /// that name no value.
    pub(crate) reads: Vec<Sighting>,
    pub(crate) finals: Vec<FinalLog>,
    finals_by: HashMap<(KeyIndex, BrokerId), usize>,
    /// The greatest deletion asked for or told of, by partition.
    pub(crate) trimmed: HashMap<KeyIndex, (Offset, EventId)>,
}

impl Observed {
    /// Reads the history.
    pub(crate) fn of(history: &History) -> Self {
        let mut observed = Self::default();
        for (index, event) in history.events().iter().enumerate() {
            observed.take(EventId(index), event);
        }
        observed
    }

    /// The partition's name.
    pub(crate) fn key(&self, index: KeyIndex) -> &Key {
        &self.keys[index.0]
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn index_of(&self, key: &Key) -> Option<KeyIndex> {
        self.by_key.get(key).copied()
    }

    fn intern(&mut self, key: &Key) -> KeyIndex {
        if let Some(index) = self.by_key.get(key) {
            return *index;
        }
        let index = KeyIndex(self.keys.len());
        self.keys.push(key.clone());
        self.by_key.insert(key.clone(), index);
        index
    }

    fn take(&mut self, id: EventId, event: &Event) {
        match &event.op {
            Op::Send(send) => {
                let key = self.intern(&send.key);
                let (Kind::Ok, Acks::All, Some(base)) = (event.kind, send.acks, send.offset) else {
                    return;
                };
                for (value, delta) in send.values.iter().zip(0_u64..) {
                    self.see(Sighting {
                        key,
                        offset: base.plus(delta),
                        value: Some(value.id),
                        hash: Some(value.hash),
                        event: id,
                        witness: Witness::Ack,
                    });
                }
            }
            Op::Poll(poll) => {
                for part in &poll.partitions {
                    let key = self.intern(&part.key);
                    self.see_all(key, &part.records, id, Witness::Read);
                }
            }
            Op::Trim(trim) => {
                // A deletion that failed did not happen; a client's that is only asked for may.
                let told = event.process == Process::Nemesis || event.kind != Kind::Fail;
                let key = self.intern(&trim.key);
                let greatest = self.trimmed.get(&key).map_or(Offset::ZERO, |(offset, _)| *offset);
                if told && trim.before > greatest {
                    self.trimmed.insert(key, (trim.before, id));
                }
            }
            Op::Final(last) => {
                let key = self.intern(&last.key);
                self.see_all(key, &last.records, id, Witness::Final(last.replica));
                let at = *self.finals_by.entry((key, last.replica)).or_insert_with(|| {
                    self.finals.push(FinalLog {
                        key,
                        replica: last.replica,
                        log_start: last.log_start,
                        event: id,
                        records: HashMap::new(),
                    });
                    self.finals.len() - 1
                });
                let log = &mut self.finals[at];
                log.log_start = log.log_start.max(last.log_start);
                log.records
                    .extend(last.records.iter().map(|record| (record.offset, record.value)));
            }
            Op::Fault { .. } => {}
        }
    }

    fn see_all(&mut self, key: KeyIndex, records: &[ReadRecord], event: EventId, witness: Witness) {
        for record in records {
            self.see(Sighting {
                key,
                offset: record.offset,
                value: record.value,
                hash: Some(record.hash),
                event,
                witness,
            });
        }
    }

    fn see(&mut self, sighting: Sighting) {
        let slot = self
            .slots
            .entry((sighting.key, sighting.offset))
            .or_insert_with(|| Slot {
                first: sighting,
                others: Vec::new(),
            });
        let same = |other: &Sighting| other.value == sighting.value;
        if !same(&slot.first) && !slot.others.iter().any(same) {
            slot.others.push(sighting);
        }
        let is_read = sighting.witness != Witness::Ack;
        let Some(value) = sighting.value else {
            self.reads.push(sighting);
            return;
        };
        let places = self.places.entry(value).or_insert_with(|| Places {
            first: sighting,
            others: Vec::new(),
            read: false,
        });
        let same = |other: &Sighting| (other.key, other.offset) == (sighting.key, sighting.offset);
        let new_place = !same(&places.first) && !places.others.iter().any(same);
        if new_place {
            places.others.push(sighting);
        }
        if is_read && (!places.read || new_place || places.first.hash != sighting.hash) {
            places.read = true;
            self.reads.push(sighting);
        }
    }
}
