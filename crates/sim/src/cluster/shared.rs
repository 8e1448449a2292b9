//! What every part of the world has at hand: the time, the chance, the network, the truth, the notes.

use super::ghost::{Ghost, Standing};
use super::message::{BrokerIndex, Event, RequestId};
use super::network::Network;
use super::plan::Plan;
use crate::chance::Chance;
use crate::report::{Counts, Deed, Fault, Violation};
use crate::schedule::Schedule;
use crate::trace::Trace;
use quipu_checker::{History, Kind, Op, Process, Time, Value, ValueId};
use quipu_metadata::Image;

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
    /// What is true of each broker.
    pub(crate) standings: Vec<Standing>,
    /// What the controllers have committed.
    pub(crate) truth: Image,
    /// The first invariant that did not hold.
    pub(crate) violation: Option<Violation>,
    /// No fault strikes any more.
    pub(crate) calm: bool,
    /// The world has come to rest: nobody begins anything new.
    pub(crate) resting: bool,
    next_process: u64,
    next_value: u64,
    next_request: u64,
}

impl Shared {
    pub(crate) fn new(plan: Plan, chance: Chance, trace: Trace, clients: usize) -> Self {
        let brokers = plan.brokers.len();
        Self {
            ghosts: vec![Ghost::new(brokers); plan.partitions.len()],
            standings: vec![Standing::default(); brokers],
            network: Network::new(brokers, clients),
            plan,
            schedule: Schedule::default(),
            chance,
            trace,
            history: History::default(),
            counts: Counts::default(),
            truth: Image::default(),
            violation: None,
            calm: false,
            resting: false,
            next_process: 0,
            next_value: 1,
            next_request: 0,
        }
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

    pub(crate) fn deed(&mut self, deed: Deed) {
        *self.counts.deeds.entry(deed).or_default() += 1;
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

    /// Takes note of what an invariant found.
    pub(crate) fn look(&mut self, found: Result<(), Violation>) {
        self.counts.checks += 1;
        if let Err(violation) = found {
            self.violated(violation);
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

    pub(crate) fn new_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(crate) fn new_values(&mut self, count: usize) -> Vec<Value> {
        (0..count)
            .map(|_| {
                self.next_value += 1;
                crate::payload::value(ValueId(self.next_value))
            })
            .collect()
    }

    /// Who leads by the truth, for those who look from outside.
    pub(crate) fn leader_of(&self, partition: usize) -> Option<BrokerIndex> {
        let truth = self.ghosts[partition].truth.as_ref()?;
        self.plan.broker(truth.leader?)
    }
}
