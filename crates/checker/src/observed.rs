//! What the history says, in order and by place and by value: one pass, shared by all properties.

mod final_log;
mod partition;
mod subjects;

pub(crate) use final_log::FinalLog;
pub(crate) use partition::Partition;
pub(crate) use subjects::{Polled, Sent, Subjects, Watermark};

use crate::counting::Counting;
use crate::history::{
    Event, EventId, Final, History, Key, Kind, Latest, Op, Operation, Poll, ReadRecord, Send, ValueId,
};
use crate::numbered::{FastMap, small};
use quipu_record::{BrokerId, Offset};
use std::num::NonZeroU32;

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

/// A partition's number within one check, counted from one: so that an absent one takes no room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyIndex(NonZeroU32);

impl KeyIndex {
    fn of(place: usize) -> Self {
        let number = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
        Self(number.unwrap_or_else(|| unreachable!("so many partitions fit into no memory")))
    }

    /// Its place in what `for_each_partition` gives.
    pub(crate) const fn number(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) key: KeyIndex,
}

/// A value of a batch, and where it was first seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) sent: &'a Sent<'a>,
    /// Its place in the batch.
    at: usize,
    pub(crate) offset: Offset,
}

impl<'a> Seen<'a> {
    /// The last value of a batch whose first one stands at `base`.
    pub(crate) fn last(sent: &'a Sent<'a>, base: Offset) -> Option<Self> {
        let at = sent.count.checked_sub(1)? as usize;
        let offset = base.plus(at as u64);
        Some(Self { sent, at, offset })
    }

    pub(crate) fn value(&self) -> ValueId {
        self.sent.send.values[self.at].id
    }
}

/// One record as one event tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sighting {
    pub(crate) key: KeyIndex,
    pub(crate) offset: Offset,
    /// `None`: bytes that name no value.
    pub(crate) value: Option<ValueId>,
    pub(crate) hash: u32,
    pub(crate) event: EventId,
    pub(crate) witness: Witness,
}

/// What is known of one value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Where it was first seen.
    pub(crate) first: Option<Place>,
    /// To where it was sent, as far as the history was read.
    pub(crate) sent_to: Option<KeyIndex>,
    /// A hash of its bytes, as it was sent.
    sent_hash: u32,
    /// Its sender was told that it had certainly failed.
    failed: bool,
    /// Whether it is in a replica's final log.
    pub(crate) in_final: bool,
    /// The first `ok` poll that read it.
    pub(crate) polled: Option<EventId>,
}

impl Known {
    const NOTHING: Self = Self {
        first: None,
        sent_to: None,
        sent_hash: 0,
        failed: false,
        in_final: false,
        polled: None,
    };
}

/// Everything told and seen.
#[derive(Debug, Default)]
pub(crate) struct Observed<'h> {
    /// What was told, by subject.
    pub(crate) told: Subjects<'h>,
    partitions: Vec<Partition<'h>>,
    by_key: FastMap<&'h Key, KeyIndex>,
    /// By the numbers that the history gives to values, and then those that nobody sent.
    known: Vec<Known>,
    /// Values that nobody sent: their places in `known`.
    unsent: Counting,
    /// Sightings of values at further places than the first, one for each place.
    elsewhere: FastMap<ValueId, Vec<Sighting>>,
    /// Reads that are not, at first sight, of what was sent there.
    pub(crate) doubtful: Vec<Sighting>,
    pub(crate) anything_read: bool,
    pub(crate) finals: Vec<FinalLog<'h>>,
    finals_by: FastMap<(KeyIndex, BrokerId), usize>,
    /// The mark from which on each partition is polled to its end.
    pub(crate) final_polls: Option<EventId>,
}

impl<'h> Observed<'h> {
    /// Reads the history.
    pub(crate) fn of(history: &'h History) -> Self {
        let mut observed = Self {
            known: vec![Known::NOTHING; history.values_sent()],
            ..Self::default()
        };
        // What is not used of it costs nothing.
        observed.told.sends.reserve_exact(history.events().len());
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
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (KeyIndex, &Partition<'h>)> {
        let numbers = (0..).map(KeyIndex::of);
        numbers.zip(&self.partitions)
    }

    pub(crate) fn partition(&self, index: KeyIndex) -> &Partition<'h> {
        &self.partitions[index.number()]
    }

    /// The partition's name.
    pub(crate) fn key(&self, index: KeyIndex) -> &'h Key {
        self.partitions[index.number()].key
    }

    /// One slot for each partition, for what a sweep keeps of it.
    pub(crate) fn for_each_partition<T: Default>(&self) -> Vec<T> {
        self.partitions.iter().map(|_| T::default()).collect()
    }

    /// What is known of a value.
    pub(crate) fn known(&self, history: &History, value: ValueId) -> &Known {
        let at = history.value_number(value).or_else(|| self.unsent.get(value.0));
        at.map_or(&Known::NOTHING, |at| &self.known[at])
    }

    /// What is known of each value of a batch, in order.
    pub(crate) fn known_of(&self, sent: &Sent<'_>) -> &[Known] {
        &self.known[sent.numbers()]
    }

    /// The values of a batch that were seen, first of all in its partition, in the order of the batch.
    pub(crate) fn seen_of<'a>(&'a self, sent: &'a Sent<'a>) -> impl DoubleEndedIterator<Item = Seen<'a>> {
        let known = self.known_of(sent).iter().enumerate();
        known.filter_map(|(at, known)| {
            let place = known.first.filter(|place| place.key == sent.key)?;
            let offset = place.offset;
            Some(Seen { sent, at, offset })
        })
    }

    /// How it was first told that a value stands at a place.
    pub(crate) fn sighting(&self, place: Place, value: ValueId) -> Option<&Sighting> {
        self.partition(place.key).sighting(place.offset, value)
    }

    /// The further places of values that stand at more than one.
    pub(crate) const fn elsewhere(&self) -> &FastMap<ValueId, Vec<Sighting>> {
        &self.elsewhere
    }

    /// All offsets of a value in a partition, in the order in which they were seen.
    pub(crate) fn offsets(
        &self,
        known: &Known,
        value: &ValueId,
        key: KeyIndex,
    ) -> impl Iterator<Item = Offset> {
        let first = known.first.filter(|place| place.key == key);
        let others = self.elsewhere.get(value).into_iter().flatten();
        let others = others.filter(move |sighting| sighting.key == key);
        let first = first.into_iter().map(|place| place.offset);
        first.chain(others.map(|sighting| sighting.offset))
    }

    /// Whether what an operation sent is certainly in the log: it is `ok`, or one of its values was read.
    pub(crate) fn is_committed(&self, history: &History, operation: Operation) -> bool {
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

    fn name(&mut self, key: &'h Key) -> KeyIndex {
        if let Some(index) = self.by_key.get(key) {
            return *index;
        }
        let index = KeyIndex::of(self.partitions.len());
        self.partitions.push(Partition::new(key));
        self.by_key.insert(key, index);
        index
    }

    fn take(&mut self, history: &History, id: EventId, event: &'h Event) {
        match &event.op {
            Op::Send(send) => self.take_send(history, id, event, send),
            Op::Poll(poll) => self.take_poll(history, id, event, poll),
            Op::Txn(_) => {
                subjects::note_begin(&mut self.told.transactions, history, id);
                for send in event.op.sends() {
                    self.take_send(history, id, event, send);
                }
                for poll in event.op.polls() {
                    self.take_poll(history, id, event, poll);
                }
            }
            Op::Assign(_) | Op::Subscribe(_) if matches!(event.kind, Kind::Ok | Kind::Info) => {
                self.told.moves.push(id);
            }
            Op::Latest(latest) => self.take_latest(id, event.kind, latest),
            Op::Commit(_) | Op::Committed(_) => subjects::note_begin(&mut self.told.commits, history, id),
            Op::MetadataWrite(_) | Op::MetadataRead(_) => {
                subjects::note_begin(&mut self.told.metadata, history, id);
            }
            Op::Owned(_) | Op::Released(_) | Op::Advanced(_) => self.told.memberships.push(id),
            Op::Fault(_) | Op::Healed { .. } => self.told.faults.push(id),
            Op::Trim(trim) => {
                // A deletion that failed did not happen; one that is only asked for may have.
                let operation = history.operation_of(id);
                let failed = operation.is_some_and(|operation| history.outcome(operation) == Kind::Fail);
                let key = self.name(&trim.key);
                if !failed {
                    self.partitions[key.number()].trim(trim.before, id);
                }
            }
            Op::Final(last) => self.take_final(history, id, last),
            Op::FinalPolls => self.final_polls = Some(id),
            Op::Assign(_) | Op::Subscribe(_) | Op::Crash => {}
        }
    }

    fn take_send(&mut self, history: &History, id: EventId, event: &Event, send: &'h Send) {
        let operation = history.operation_of(id);
        let sent = Sent {
            event: id,
            process: event.process,
            kind: event.kind,
            key: self.name(&send.key),
            send,
            in_transaction: matches!(event.op, Op::Txn(_)),
            acks: send.acks,
            is_idempotent: send.producer.is_some(),
            offset: send.offset,
            count: small(send.values.len()),
            first: operation.and_then(|_| history.first_number(send)),
        };
        if event.kind == Kind::Invoke {
            let failed = operation.is_some_and(|operation| history.outcome(operation) == Kind::Fail);
            for (known, value) in self.known[sent.numbers()].iter_mut().zip(&send.values) {
                (known.sent_to, known.sent_hash, known.failed) = (Some(sent.key), value.hash, failed);
            }
        } else if let Some(base) = sent.promised() {
            self.see_send(history, &sent, base);
        }
        self.told.sends.push(sent);
    }

    fn see_send(&mut self, history: &History, sent: &Sent<'_>, base: Offset) {
        for (value, delta) in sent.send.values.iter().zip(0_u64..) {
            let sighting = Sighting {
                key: sent.key,
                offset: base.plus(delta),
                value: Some(value.id),
                hash: value.hash,
                event: sent.event,
                witness: Witness::Ack,
            };
            self.see(history, &sighting);
        }
    }

    /// The offsets that an `info` tells count if one of its values was read.
    fn take_unsure(&mut self, history: &History, id: EventId) {
        let from = self.told.sends.partition_point(|sent| sent.event < id);
        let of_event = self.told.sends[from..].iter().take_while(|sent| sent.event == id);
        let sends: Vec<Sent<'_>> = of_event.copied().collect();
        let mut values = sends.iter().flat_map(|sent| &sent.send.values);
        if !values.any(|value| self.known(history, value.id).polled.is_some()) {
            return;
        }
        for sent in &sends {
            if let Some(base) = sent.send.offset {
                self.see_send(history, sent, base);
            }
        }
    }

    fn take_poll(&mut self, history: &History, id: EventId, event: &Event, poll: &'h Poll) {
        let (process, kind) = (event.process, event.kind);
        let ok = kind == Kind::Ok;
        for part in &poll.partitions {
            let key = self.name(&part.key);
            if ok {
                self.partitions[key.number()].asked(part);
                self.told
                    .watermarks
                    .extend(part.high_watermark.map(|told| Watermark {
                        event: id,
                        key,
                        told,
                        asked: false,
                    }));
            }
            if kind != Kind::Invoke {
                self.told.polls.push(Polled {
                    event: id,
                    process,
                    kind,
                    key,
                    poll,
                    part,
                });
            }
            self.see_all(history, key, &part.records, id, Witness::Read { ok });
        }
    }

    fn take_latest(&mut self, id: EventId, kind: Kind, latest: &'h Latest) {
        let key = self.name(&latest.key);
        let told = latest.high_watermark.filter(|_| kind == Kind::Ok);
        self.told.watermarks.extend(told.map(|told| Watermark {
            event: id,
            key,
            told,
            asked: true,
        }));
    }

    fn take_final(&mut self, history: &History, id: EventId, last: &'h Final) {
        let key = self.name(&last.key);
        self.see_all(history, key, &last.records, id, Witness::Final(last.replica));
        let at = *self.finals_by.entry((key, last.replica)).or_insert_with(|| {
            self.finals.push(FinalLog::new(key, last.replica, id));
            self.finals.len() - 1
        });
        self.finals[at].take(last);
        // Batches alone do not name their values.
        self.partitions[key.number()].has_final |= last.batches.is_empty() || !last.records.is_empty();
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
                hash: record.hash,
                event,
                witness,
            };
            self.see(history, &sighting);
        }
    }

    fn see(&mut self, history: &History, sighting: &Sighting) {
        self.partitions[sighting.key.number()].see(sighting);
        self.anything_read |= sighting.witness != Witness::Ack;
        let Some(value) = sighting.value else {
            self.doubtful.push(*sighting);
            return;
        };
        let at = self.number(history, value);
        let known = &mut self.known[at];
        let place = Place {
            offset: sighting.offset,
            key: sighting.key,
        };
        if *known.first.get_or_insert(place) != place {
            let others = self.elsewhere.entry(value).or_default();
            if others
                .iter()
                .all(|other| (other.key, other.offset) != (place.key, place.offset))
            {
                others.push(*sighting);
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
        if known.failed || known.sent_to != Some(sighting.key) || known.sent_hash != sighting.hash {
            self.doubtful.push(*sighting);
        }
    }

    fn number(&mut self, history: &History, value: ValueId) -> usize {
        if let Some(at) = history.value_number(value).or_else(|| self.unsent.get(value.0)) {
            return at;
        }
        self.unsent.insert(value.0, self.known.len());
        self.known.push(Known::NOTHING);
        self.known.len() - 1
    }
}
