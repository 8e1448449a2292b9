//! What the history says stood where: one pass, shared by all properties.

mod final_log;
mod partition;

pub(crate) use final_log::FinalLog;
pub(crate) use partition::Partition;

use crate::counting::Counting;
use crate::history::{
    Acks, Event, EventId, Final, History, Key, Kind, Op, PolledPartition, Process, ReadRecord, Send, ValueId,
};
use quipu_record::{BrokerId, Offset};
use std::collections::HashMap;

/// How somebody came to know what stands at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Witness {
    /// An acknowledgement that is a promise (`acks=all`).
    Ack,
    /// A consumer's read.
    Read {
        /// Whether the read itself was `ok`.
        ok: bool,
    },
    /// A replica's final log.
    Final(BrokerId),
}

/// A partition's number within one check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyIndex(usize);

impl KeyIndex {
    /// Its place in what `for_each_partition` gives.
    pub(crate) const fn number(self) -> usize {
        self.0
    }
}

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

/// What is known of one value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Where it was first seen.
    pub(crate) first: Option<Sighting>,
    /// Whether anybody read it at all.
    read: bool,
    /// The first `ok` poll that read it.
    pub(crate) polled: Option<EventId>,
    /// Whether it is in a replica's final log.
    pub(crate) in_final: bool,
}

/// Everything seen, by place and by value.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    partitions: Vec<Partition>,
    by_key: HashMap<Key, KeyIndex>,
    /// The partition that each event names first: most name one, and need not be looked up again.
    first_keys: Vec<Option<KeyIndex>>,
    /// By the numbers that the history gives to values, and then those that nobody sent.
    known: Vec<Known>,
    /// Values that nobody sent: their places in `known`.
    unsent: Counting,
    /// Sightings of values at further places than the first, one for each place.
    elsewhere: HashMap<ValueId, Vec<Sighting>>,
    /// Offsets that hold several values: all but the first seen.
    conflicts: HashMap<(KeyIndex, Offset), Vec<Sighting>>,
    /// Reads that tell something new: of a value not read before, at a new place, or with other bytes; and of bytes
    /// that name no value.
    pub(crate) reads: Vec<Sighting>,
    pub(crate) finals: Vec<FinalLog>,
    finals_by: HashMap<(KeyIndex, BrokerId), usize>,
    /// The mark from which on each partition is polled to its end.
    pub(crate) final_polls: Option<EventId>,
    pub(crate) has_transactions: bool,
}

impl Observed {
    /// Reads the history.
    pub(crate) fn of(history: &History) -> Self {
        let mut observed = Self {
            known: vec![Known::default(); history.values_sent()],
            first_keys: vec![None; history.events().len()],
            ..Self::default()
        };
        let mut unsure = Vec::new();
        for (index, event) in history.events().iter().enumerate() {
            let id = EventId(index);
            observed.take(history, id, event);
            if event.kind == Kind::Info && event.op.sends().any(|send| send.offset.is_some()) {
                unsure.push(id);
            }
        }
        for id in unsure {
            observed.take_unsure(history, id);
        }
        observed.partitions.iter_mut().for_each(Partition::order);
        observed.finals.iter_mut().for_each(FinalLog::order);
        observed
    }

    /// All partitions, with their numbers.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (KeyIndex, &Partition)> {
        self.partitions
            .iter()
            .enumerate()
            .map(|(at, partition)| (KeyIndex(at), partition))
    }

    pub(crate) fn partition(&self, index: KeyIndex) -> &Partition {
        &self.partitions[index.0]
    }

    /// The partition's name.
    pub(crate) fn key(&self, index: KeyIndex) -> &Key {
        &self.partitions[index.0].key
    }

    /// The number of a partition that this event names.
    pub(crate) fn key_in(&self, event: EventId, key: &Key) -> KeyIndex {
        match self.first_keys[event.0] {
            Some(first) if self.key(first) == key => first,
            _ => self.by_key[key],
        }
    }

    /// One slot for each partition, for what a sweep keeps of it.
    pub(crate) fn for_each_partition<T: Default>(&self) -> Vec<T> {
        self.partitions.iter().map(|_| T::default()).collect()
    }

    /// What is known of a value.
    pub(crate) fn known(&self, history: &History, value: ValueId) -> Known {
        let at = history.value_number(value).or_else(|| self.unsent.get(value.0));
        at.map(|at| self.known[at]).unwrap_or_default()
    }

    /// Where a value stands, as it was first seen.
    pub(crate) fn place(&self, history: &History, value: ValueId) -> Option<Sighting> {
        self.known(history, value).first
    }

    /// The further places of values that stand at more than one.
    pub(crate) fn elsewhere(&self) -> &HashMap<ValueId, Vec<Sighting>> {
        &self.elsewhere
    }

    /// The offsets that hold more than one value, with all but the first seen.
    pub(crate) fn conflicts(&self) -> &HashMap<(KeyIndex, Offset), Vec<Sighting>> {
        &self.conflicts
    }

    /// The values of a partition that stand where another one was seen first.
    pub(crate) fn conflicts_in(&self, key: KeyIndex) -> impl Iterator<Item = &Sighting> {
        let conflicts = self.conflicts.iter();
        conflicts
            .filter(move |((of, _), _)| *of == key)
            .flat_map(|(_, others)| others)
    }

    /// All places of a value in a partition.
    pub(crate) fn places(
        &self,
        history: &History,
        value: ValueId,
        key: KeyIndex,
    ) -> impl Iterator<Item = Sighting> {
        let first = self.place(history, value);
        let others = self.elsewhere.get(&value).into_iter().flatten().copied();
        first
            .into_iter()
            .chain(others)
            .filter(move |sighting| sighting.key == key)
    }

    /// Whether what an operation sent is certainly in the log: it is `ok`, or one of its values was read.
    pub(crate) fn is_committed(&self, history: &History, operation: crate::history::Operation) -> bool {
        match history.outcome(operation) {
            Kind::Ok => true,
            Kind::Fail => false,
            Kind::Invoke | Kind::Info => {
                let sends = history.event(operation.invoke).op.sends();
                let mut values = sends.flat_map(|send| &send.values);
                values.any(|value| self.known(history, value.id).polled.is_some())
            }
        }
    }

    fn intern(&mut self, key: &Key) -> KeyIndex {
        if let Some(index) = self.by_key.get(key) {
            return *index;
        }
        let index = KeyIndex(self.partitions.len());
        self.partitions.push(Partition::new(key.clone()));
        self.by_key.insert(key.clone(), index);
        index
    }

    fn name(&mut self, id: EventId, key: &Key) -> KeyIndex {
        let index = self.intern(key);
        self.first_keys[id.0].get_or_insert(index);
        index
    }

    fn take(&mut self, history: &History, id: EventId, event: &Event) {
        match &event.op {
            Op::Send(send) => self.take_send(history, id, event.kind, send),
            Op::Poll(poll) => {
                for part in &poll.partitions {
                    self.take_polled(history, id, event.kind, part);
                }
            }
            Op::Txn(_) => {
                self.has_transactions = true;
                for send in event.op.sends() {
                    self.take_send(history, id, event.kind, send);
                }
                for part in event.op.polls().flat_map(|poll| &poll.partitions) {
                    self.take_polled(history, id, event.kind, part);
                }
            }
            Op::Latest(latest) => {
                self.name(id, &latest.key);
            }
            Op::Trim(trim) => {
                // A deletion that failed did not happen; a client's that is only asked for may.
                let told = event.process == Process::Nemesis || event.kind != Kind::Fail;
                let key = self.name(id, &trim.key);
                if told {
                    self.partitions[key.0].trim(trim.before, id);
                }
            }
            Op::Final(last) => self.take_final(history, id, last),
            Op::FinalPolls => self.final_polls = Some(id),
            _ => {}
        }
    }

    fn take_send(&mut self, history: &History, id: EventId, kind: Kind, send: &Send) {
        let key = self.name(id, &send.key);
        if let (Kind::Ok, Acks::All, Some(base)) = (kind, send.acks, send.offset) {
            self.see_send(history, id, key, send, base);
        }
    }

    fn see_send(&mut self, history: &History, id: EventId, key: KeyIndex, send: &Send, base: Offset) {
        for (value, delta) in send.values.iter().zip(0_u64..) {
            let sighting = Sighting {
                key,
                offset: base.plus(delta),
                value: Some(value.id),
                hash: Some(value.hash),
                event: id,
                witness: Witness::Ack,
            };
            self.see(history, sighting);
        }
    }

    /// The offsets that an `info` tells count if one of its values was read.
    fn take_unsure(&mut self, history: &History, id: EventId) {
        let op = &history.event(id).op;
        let mut values = op.sends().flat_map(|send| &send.values);
        if !values.any(|value| self.known(history, value.id).polled.is_some()) {
            return;
        }
        for send in op.sends() {
            if let Some(base) = send.offset {
                let key = self.key_in(id, &send.key);
                self.see_send(history, id, key, send, base);
            }
        }
    }

    fn take_polled(&mut self, history: &History, id: EventId, kind: Kind, part: &PolledPartition) {
        let key = self.name(id, &part.key);
        let ok = kind == Kind::Ok;
        if ok {
            self.partitions[key.0].asked(part);
        }
        self.see_all(history, key, &part.records, id, Witness::Read { ok });
    }

    fn take_final(&mut self, history: &History, id: EventId, last: &Final) {
        let key = self.name(id, &last.key);
        self.see_all(history, key, &last.records, id, Witness::Final(last.replica));
        let at = *self.finals_by.entry((key, last.replica)).or_insert_with(|| {
            self.finals.push(FinalLog::new(key, last.replica, id));
            self.finals.len() - 1
        });
        self.finals[at].take(last);
        // Batches alone do not name their values.
        self.partitions[key.0].has_final |= last.batches.is_empty() || !last.records.is_empty();
    }

    fn see_all(
        &mut self,
        history: &History,
        key: KeyIndex,
        records: &[ReadRecord],
        event: EventId,
        witness: Witness,
    ) {
        for record in records {
            let sighting = Sighting {
                key,
                offset: record.offset,
                value: record.value,
                hash: Some(record.hash),
                event,
                witness,
            };
            self.see(history, sighting);
        }
    }

    fn see(&mut self, history: &History, sighting: Sighting) {
        let first = self.partitions[sighting.key.0].see(sighting);
        if first.value != sighting.value {
            let others = self.conflicts.entry((sighting.key, sighting.offset)).or_default();
            if others.iter().all(|other| other.value != sighting.value) {
                others.push(sighting);
            }
        }
        let Some(value) = sighting.value else {
            self.reads.push(sighting);
            return;
        };
        let at = self.number(history, value);
        let known = &mut self.known[at];
        let first = *known.first.get_or_insert(sighting);
        let place = |of: &Sighting| (of.key, of.offset);
        let mut new_place = false;
        if place(&first) != place(&sighting) {
            let others = self.elsewhere.entry(value).or_default();
            new_place = others.iter().all(|other| place(other) != place(&sighting));
            if new_place {
                others.push(sighting);
            }
        }
        match sighting.witness {
            Witness::Ack => return,
            Witness::Read { ok } => {
                if ok && known.polled.is_none() {
                    known.polled = Some(sighting.event);
                }
            }
            Witness::Final(_) => known.in_final = true,
        }
        if !known.read || new_place || first.hash != sighting.hash {
            known.read = true;
            self.reads.push(sighting);
        }
    }

    fn number(&mut self, history: &History, value: ValueId) -> usize {
        if let Some(at) = history.value_number(value).or_else(|| self.unsent.get(value.0)) {
            return at;
        }
        self.unsent.insert(value.0, self.known.len());
        self.known.push(Known::default());
        self.known.len() - 1
    }
}
