//! What every part of the world has at hand: the time, the chance, the network, the notes.

use crate::alone::ghost::Ghost;
use crate::alone::message::Event;
use crate::alone::network::Network;
use crate::alone::plan::Plan;
use crate::chance::Chance;
use crate::report::{Counts, Fault, Violation};
use crate::schedule::Schedule;
use crate::trace::Trace;
use quipu_checker::{History, Kind, Op, Process, Time, Value, ValueId};
use quipu_record::{LeaderEpoch, PartitionEpoch, Timestamp};
use quipu_replication::Now;

/// 2026-01-01, in milliseconds.
const EPOCH_MILLIS: i64 = 1_767_225_600_000;

/// One partition's record in the metadata. The controllers will keep it; until then the world does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionRecord {
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    pub(crate) min_insync: u32,
}

impl Default for PartitionRecord {
    fn default() -> Self {
        Self {
            leader_epoch: LeaderEpoch::FIRST,
            partition_epoch: PartitionEpoch::FIRST,
            min_insync: 1,
        }
    }
}

impl PartitionRecord {
    /// A leader is elected.
    pub(crate) fn elect(&mut self) {
        self.leader_epoch = self.leader_epoch.next();
        self.partition_epoch = self.partition_epoch.next();
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) chance: Chance,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) history: History,
    pub(crate) counts: Counts,
    /// What is true of each partition, whatever brokers believe.
    pub(crate) ghosts: Vec<Ghost>,
    /// What the metadata says of each partition.
    pub(crate) metadata: Vec<PartitionRecord>,
    /// The first invariant that did not hold.
    pub(crate) violation: Option<Violation>,
    /// How far the wall clock has jumped, in milliseconds.
    pub(crate) clock_jump: i64,
    /// The world has come to rest: nobody begins anything new.
    pub(crate) resting: bool,
    next_process: u64,
    next_value: u64,
    next_request: u64,
}

impl Shared {
    pub(crate) fn new(plan: Plan, chance: Chance, trace: Trace) -> Self {
        Self {
            ghosts: vec![Ghost::default(); plan.partitions.len()],
            metadata: vec![PartitionRecord::default(); plan.partitions.len()],
            plan,
            schedule: Schedule::default(),
            chance,
            network: Network::default(),
            trace,
            history: History::default(),
            counts: Counts::default(),
            violation: None,
            clock_jump: 0,
            resting: false,
            next_process: 0,
            next_value: 1,
            next_request: 0,
        }
    }

    /// What the clocks say.
    pub(crate) fn now(&self) -> Now {
        let mono = self.schedule.now();
        let millis = i64::try_from(mono.nanos() / 1_000_000).unwrap_or(i64::MAX);
        let wall = Timestamp::new(EPOCH_MILLIS + self.clock_jump).plus_millis(millis);
        Now { wall, mono }
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.schedule.now(), what);
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.counts.faults.entry(fault).or_default() += 1;
        self.note(format_args!("fault {fault:?}"));
        let what = format!("{fault:?}");
        self.tell(
            Process::Nemesis,
            Kind::Info,
            Op::Fault(quipu_checker::Fault::told(what)),
        );
    }

    /// Writes the history.
    pub(crate) fn tell(&mut self, process: Process, kind: Kind, op: Op) {
        let time = Time(self.schedule.now().nanos());
        let event = quipu_checker::Event {
            time,
            process,
            kind,
            op,
        };
        if let Err(error) = self.history.push(event) {
            self.violated(Violation {
                invariant: "the simulation itself",
                what: error.to_string(),
            });
        }
    }

    pub(crate) fn violated(&mut self, violation: Violation) {
        self.note(format_args!("violation {violation}"));
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn new_process(&mut self) -> Process {
        self.next_process += 1;
        Process::Client(self.next_process)
    }

    pub(crate) fn new_request(&mut self) -> crate::alone::message::RequestId {
        self.next_request += 1;
        crate::alone::message::RequestId(self.next_request)
    }

    pub(crate) fn new_values(&mut self, count: usize) -> Vec<Value> {
        (0..count)
            .map(|_| {
                self.next_value += 1;
                crate::payload::value(ValueId(self.next_value))
            })
            .collect()
    }
}
