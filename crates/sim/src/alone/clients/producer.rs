//! Producers: idempotent ones that pipeline five batches and never stop retrying within their deadline, and plain ones
//! that send one batch at a time, and may store it twice.

use super::flight::Flight;
use super::{ask, plan};
use crate::alone::message::{Ask, ClientEvent, ClientIndex, PartitionIndex, RequestId};
use crate::alone::shared::Shared;
use crate::payload;
use crate::report::Fault;
use quipu_checker::{Kind, Process};
use quipu_record::{Offset, ProducerEpoch, ProducerId, ProducerStamp, Sequence};
use quipu_replication::{Acks, Appended, ProduceError};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the contract allows, for each producer and partition.
const IN_FLIGHT_MAX: usize = 5;
/// What a producer asks a broker to take at most.
const TIMEOUT: Duration = Duration::from_millis(250);
/// What it waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);
/// What it retries for.
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(2500);

/// How a producer works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// With an id, an epoch and sequences.
    Idempotent,
    /// Without.
    Plain(Acks),
}

/// Who an idempotent producer is now.
#[derive(Clone, Copy, Debug)]
struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
}

/// One producer.
#[derive(Debug)]
pub(crate) struct Producer {
    me: ClientIndex,
    style: Style,
    identity: Identity,
    /// The next sequence in each partition.
    next: BTreeMap<PartitionIndex, Sequence>,
    /// Batches under way, in the order of sending.
    flights: BTreeMap<RequestId, Flight>,
    free: Vec<Process>,
}

impl Producer {
    pub(crate) fn new(me: ClientIndex, style: Style) -> Self {
        let id = ProducerId::new(me as u64 * 1_000_000);
        let epoch = ProducerEpoch::FIRST;
        Self {
            me,
            style,
            identity: Identity { id, epoch },
            next: BTreeMap::new(),
            flights: BTreeMap::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.style == Style::Idempotent
    }

    /// Begins a batch, if one may be begun.
    pub(crate) fn act(&mut self, shared: &mut Shared) {
        if shared.resting {
            return;
        }
        let wait = shared.chance.millis(20);
        plan(shared, self.me, wait, ClientEvent::Act);
        let partition = shared.chance.below(shared.plan.partitions.len());
        let there = self
            .flights
            .values()
            .filter(|flight| flight.partition == partition);
        let limit = match self.style {
            Style::Idempotent => IN_FLIGHT_MAX,
            Style::Plain(_) => 1,
        };
        if there.count() < limit {
            self.begin(shared, partition);
        }
    }

    fn begin(&mut self, shared: &mut Shared, partition: PartitionIndex) {
        let count = 1 + shared.chance.below(4);
        let values = shared.new_values(count);
        let now = shared.now();
        let stamp = self.stamp(partition, count);
        let batch = payload::batch(&values, now.wall, stamp);
        let promised = shared.plan.partitions[partition].promised;
        let acks = match self.style {
            Style::Idempotent => Acks::All,
            Style::Plain(acks) => acks,
        };
        let process = self.free.pop().unwrap_or_else(|| shared.new_process());
        let flight = Flight {
            process,
            partition,
            values,
            batch,
            acks,
            sequence: stamp.map(|stamp| {
                let name = stamp.id.get() * 1000 + u64::from(stamp.epoch.get());
                (name, stamp.base_sequence)
            }),
            attempt: 0,
            deadline: now.mono.after(DELIVERY_TIMEOUT),
            unaccounted: 0,
        };
        let id = shared.new_request();
        if promised {
            let key = shared.plan.partitions[partition].key.clone();
            shared.tell(process, Kind::Invoke, flight.operation(key, None));
        }
        self.flights.insert(id, flight);
        self.attempt(shared, id);
    }

    /// The stamp of the next batch.
    fn stamp(&mut self, partition: PartitionIndex, count: usize) -> Option<ProducerStamp> {
        if !self.is_idempotent() {
            return None;
        }
        let Identity { id, epoch } = self.identity;
        let next = self.next.entry(partition).or_insert(Sequence::FIRST);
        let stamp = ProducerStamp {
            id,
            epoch,
            base_sequence: *next,
        };
        *next = next.plus(u32::try_from(count).unwrap_or(u32::MAX));
        Some(stamp)
    }

    fn attempt(&mut self, shared: &mut Shared, id: RequestId) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        flight.attempt += 1;
        let attempt = flight.attempt;
        shared.counts.retries += u64::from(attempt > 1);
        let produce = Ask::Produce {
            batch: flight.batch.clone(),
            acks: flight.acks,
            timeout: TIMEOUT,
        };
        flight.unaccounted += ask(shared, self.me, id, flight.partition, produce);
        let timeout = ClientEvent::Timeout { request: id, attempt };
        plan(shared, self.me, PATIENCE, timeout);
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, id: RequestId, attempt: u32) {
        if self
            .flights
            .get(&id)
            .is_some_and(|flight| flight.attempt == attempt)
        {
            self.retry(shared, id, Duration::ZERO);
        }
    }

    pub(crate) fn again(&mut self, shared: &mut Shared, id: RequestId) {
        self.attempt(shared, id);
    }

    /// Sends it again after a while, or gives up.
    fn retry(&mut self, shared: &mut Shared, id: RequestId, wait: Duration) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        if shared.schedule.now().after(wait) >= flight.deadline {
            let kind = flight.failure();
            self.end(shared, id, kind, None);
            self.begin_anew(shared, false);
            return;
        }
        // A timeout that is planned for this attempt is void.
        flight.attempt += 1;
        plan(shared, self.me, wait, ClientEvent::Again { request: id });
    }

    pub(crate) fn answered(
        &mut self,
        shared: &mut Shared,
        id: RequestId,
        result: Result<Appended, ProduceError>,
    ) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        match result {
            Ok(appended) => {
                shared.counts.duplicates += u64::from(appended.duplicate);
                let offset = (flight.acks != Acks::None).then_some(appended.base_offset);
                self.end(shared, id, Kind::Ok, offset);
            }
            // It is in the log for good; where, is no longer known.
            Err(ProduceError::DuplicateSequence { .. }) => self.end(shared, id, Kind::Ok, None),
            Err(error) => {
                if error.outcome_unknown() {
                    shared.counts.unknown += 1;
                } else {
                    flight.unaccounted = flight.unaccounted.saturating_sub(1);
                }
                self.refused(shared, id, &error);
            }
        }
    }

    fn refused(&mut self, shared: &mut Shared, id: RequestId, error: &ProduceError) {
        let gap = matches!(
            error,
            ProduceError::OutOfOrderSequence { .. } | ProduceError::UnknownProducer { .. }
        );
        if error.retryable() || (gap && self.has_earlier(id)) {
            let attempts = self.flights.get(&id).map_or(0, |flight| flight.attempt / 2);
            let wait = shared.chance.millis(20 << attempts.min(5));
            self.retry(shared, id, wait);
            return;
        }
        let kind = self.flights.get(&id).map_or(Kind::Info, Flight::failure);
        self.end(shared, id, kind, None);
        self.begin_anew(shared, false);
    }

    /// Whether an earlier batch for the same partition is under way.
    fn has_earlier(&self, id: RequestId) -> bool {
        let partition = self.flights.get(&id).map(|flight| flight.partition);
        self.flights
            .range(..id)
            .any(|(_, flight)| Some(flight.partition) == partition)
    }

    /// A sequence is given up: what comes after it cannot fit. A new life begins, and what was under way is never sent
    /// again under its name.
    fn begin_anew(&mut self, shared: &mut Shared, replaced: bool) {
        if !self.is_idempotent() {
            return;
        }
        let all: Vec<RequestId> = self.flights.keys().copied().collect();
        for id in all {
            let kind = self.flights.get(&id).map_or(Kind::Info, Flight::failure);
            self.end(shared, id, kind, None);
        }
        let Identity { id, epoch } = self.identity;
        self.identity = if replaced || shared.chance.one_in(2) {
            Identity {
                id,
                epoch: ProducerEpoch::new(epoch.get() + 1),
            }
        } else {
            Identity {
                id: ProducerId::new(id.get() + 1),
                epoch: ProducerEpoch::FIRST,
            }
        };
        self.next.clear();
        shared.note(format_args!(
            "producer {} begins anew as {:?}",
            self.me, self.identity
        ));
    }

    /// A fault: the process is replaced by another one that fences it.
    pub(crate) fn replace(&mut self, shared: &mut Shared) {
        shared.fault(Fault::ProducerReplaced);
        self.begin_anew(shared, true);
    }

    fn end(&mut self, shared: &mut Shared, id: RequestId, kind: Kind, offset: Option<Offset>) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        if !shared.plan.partitions[flight.partition].promised {
            self.free.push(flight.process);
            return;
        }
        if kind == Kind::Ok && flight.acks == Acks::All {
            shared.counts.acked += flight.values.len() as u64;
        }
        let key = shared.plan.partitions[flight.partition].key.clone();
        shared.tell(flight.process, kind, flight.operation(key, offset));
        if kind != Kind::Info {
            self.free.push(flight.process);
        }
    }
}
