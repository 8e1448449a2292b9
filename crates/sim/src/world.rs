//! The world of one seed: brokers and their disks, a network, clients, faults; one event after another.

use crate::broker::{Broker, FinalLog};
use crate::chance::Chance;
use crate::clients::{Admin, Client, Consumer, Producer, Style};
use crate::message::{Address, ClientEvent, Event, Message, NemesisEvent};
use crate::nemesis;
use crate::plan::Plan;
use crate::report::{Outcome, Violation};
use crate::shared::Shared;
use crate::trace::Trace;
use quipu_checker::{Final, Kind, Op, Process, check};
use quipu_replication::Acks;
use std::time::Duration;

/// How a seed is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// For how long clients begin new work and faults strike, in simulated time.
    pub duration: Duration,
    /// Whether everything that happens is told in words.
    pub tell: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(10),
            tell: false,
        }
    }
}

/// After the last fault everything must have come to rest within this, of simulated time.
const TO_REST: Duration = Duration::from_secs(10);

struct World {
    shared: Shared,
    brokers: Vec<Broker>,
    clients: Vec<Client>,
}

/// Runs one seed from its beginning to its end, or to the first violation.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    world.live();
    world.end()
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::of(seed, options.duration, &mut chance);
        let mut shared = Shared::new(plan, chance.fork(), Trace::new(options.tell));
        let brokers = shared.plan.brokers.clone();
        let brokers = brokers
            .into_iter()
            .map(|id| Broker::new(id, &mut shared))
            .collect();
        let clients = make_clients(&shared.plan);
        for client in 0..clients.len() {
            let wait = shared.chance.millis(50);
            let what = ClientEvent::Act;
            shared.schedule.after(wait, Event::Client { client, what });
        }
        let (first, duration) = (shared.plan.fault_every, shared.plan.duration);
        shared.schedule.after(first, Event::Nemesis(NemesisEvent::Strike));
        shared
            .schedule
            .after(duration, Event::Nemesis(NemesisEvent::Rest));
        Self {
            shared,
            brokers,
            clients,
        }
    }

    fn live(&mut self) {
        let end = self
            .shared
            .schedule
            .now()
            .after(self.shared.plan.duration)
            .after(TO_REST);
        while self.shared.violation.is_none() && self.shared.schedule.now() < end {
            if self.shared.resting && self.is_at_rest() {
                break;
            }
            let Some(event) = self.shared.schedule.next() else {
                break;
            };
            self.shared.counts.steps += 1;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let shared = &mut self.shared;
        match event {
            Event::Deliver { to, message } => match (to, message) {
                (Address::Broker(id), Message::Request(request)) => {
                    if let Some(broker) = self.brokers.iter_mut().find(|broker| broker.id == id) {
                        broker.deliver(shared, request);
                    }
                }
                (Address::Client(client), Message::Reply(reply)) => {
                    self.clients[client].reply(shared, reply);
                }
                (Address::Broker(_), Message::Reply(_)) | (Address::Client(_), Message::Request(_)) => {}
            },
            Event::Broker { broker, life, what } => {
                if let Some(broker) = self.brokers.iter_mut().find(|candidate| candidate.id == broker) {
                    broker.event(shared, life, what);
                }
            }
            Event::Client { client, what } => self.clients[client].event(shared, what),
            Event::Nemesis(NemesisEvent::Strike) => {
                nemesis::strike(shared, &mut self.brokers, &mut self.clients);
            }
            Event::Nemesis(NemesisEvent::Lift(fault)) => nemesis::lift(shared, &mut self.brokers, fault),
            Event::Nemesis(NemesisEvent::Rest) => {
                shared.note(format_args!("the world comes to rest"));
                shared.resting = true;
                nemesis::heal(shared, &mut self.brokers);
            }
        }
    }

    /// Nobody waits for anything, and everything written is committed.
    fn is_at_rest(&self) -> bool {
        self.clients.iter().all(Client::is_idle) && self.brokers.iter().all(Broker::is_at_rest)
    }

    /// Looks at what is left, and at the history.
    fn end(mut self) -> Outcome {
        if self.shared.violation.is_none() && !self.is_at_rest() {
            let what = "faults have stopped, and something still waits or is not committed".to_owned();
            let invariant = "L everything comes to rest";
            self.shared.violated(Violation { invariant, what });
        }
        if self.shared.violation.is_none() {
            self.tell_final_logs();
        }
        let shared = self.shared;
        let verdict = shared.violation.is_none().then(|| check(&shared.history));
        Outcome {
            seed: shared.plan.seed,
            trace_hash: shared.trace.hash(),
            counts: shared.counts,
            violation: shared.violation,
            verdict,
            told: shared.trace.told().to_vec(),
        }
    }

    fn tell_final_logs(&mut self) {
        for broker in &self.brokers {
            for partition in 0..self.shared.plan.partitions.len() {
                let plan = &self.shared.plan.partitions[partition];
                if !plan.promised {
                    continue;
                }
                let key = plan.key.clone();
                match broker.final_log(partition) {
                    Ok(Some(FinalLog { view, records })) => {
                        let last = Op::Final(Final {
                            leader_epoch: view.leading.map(|leading| leading.epoch),
                            ..Final::new(broker.id, key, view.log_start, records)
                        });
                        self.shared.tell(Process::Nemesis, Kind::Info, last);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let what = format!("{key}: the final log cannot be read: {error}");
                        let invariant = "bad bytes are never served, and none were made";
                        self.shared.violated(Violation { invariant, what });
                    }
                }
            }
        }
    }
}

fn make_clients(plan: &Plan) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..plan.idempotent_producers {
        clients.push(Client::Producer(Producer::new(clients.len(), Style::Idempotent)));
    }
    for acks in [Acks::All, Acks::Leader, Acks::None] {
        clients.push(Client::Producer(Producer::new(clients.len(), Style::Plain(acks))));
    }
    for _ in 0..plan.consumers {
        clients.push(Client::Consumer(Consumer::new(
            clients.len(),
            plan.partitions.len(),
        )));
    }
    clients.push(Client::Admin(Admin::new(clients.len())));
    clients
}
