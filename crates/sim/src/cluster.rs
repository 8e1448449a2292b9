//! A cluster: brokers and their disks, controllers, a network between them, clients, faults; one event after another.

mod broker;
mod clients;
mod clock;
mod controller;
pub(crate) mod ghost;
pub(crate) mod message;
mod nemesis;
mod network;
pub(crate) mod plan;
mod real;
pub(crate) mod shared;
mod story;

use crate::chance::Chance;
use crate::invariants::{self, Waiting};
use crate::options::{Options, World};
use crate::report::{Outcome, Violation};
use crate::trace::Trace;
use broker::Broker;
use clients::{Client, Style};
use controller::Controller;
use message::{Address, ClientEvent, Event, NemesisEvent};
use plan::Plan;
use quipu_checker::{Final, History, Kind, Op, Process, check};
use quipu_replication::Acks;
use shared::Shared;
use std::collections::HashSet;
use std::time::Duration;

/// After the last fault everything must have come to rest within this, of simulated time.
const TO_REST: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);

/// A world.
pub(crate) struct Cluster {
    pub(crate) shared: Shared,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) controller: Controller,
    pub(crate) clients: Vec<Client>,
}

/// Runs one seed from its beginning to its end, or to the first violation.
pub(crate) fn run(seed: u64, options: Options) -> Outcome {
    let mut world = Cluster::new(seed, options);
    world.live();
    world.end()
}

impl Cluster {
    fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::of(
            seed,
            options.world == World::Controllers,
            options.duration,
            &mut chance,
        );
        let clients = make_clients(&plan);
        let mut shared = Shared::new(plan, chance.fork(), Trace::new(options.tell), clients.len());
        let controller = Controller::new(&mut shared);
        let brokers = (0..shared.plan.brokers.len())
            .map(|broker| Broker::new(broker, &mut shared))
            .collect();
        for client in 0..clients.len() {
            let wait = shared.chance.millis(50);
            let what = ClientEvent::Act;
            shared.schedule.after(wait, Event::Client { client, what });
        }
        let nemesis = [
            (shared.plan.fault_every, NemesisEvent::Strike),
            (shared.plan.duration / 8, NemesisEvent::Act(0)),
            (shared.plan.duration, NemesisEvent::Rest),
        ];
        for (when, what) in nemesis {
            shared.schedule.after(when, Event::Nemesis(what));
        }
        Self {
            shared,
            brokers,
            controller,
            clients,
        }
    }

    fn live(&mut self) {
        let longest = 3 * self.shared.plan.duration + TO_REST;
        let mut end = self.shared.schedule.now().after(longest);
        let mut rested = false;
        while self.shared.violation.is_none() && self.shared.schedule.now() < end {
            let Some(event) = self.shared.schedule.next() else {
                break;
            };
            self.shared.counts.steps += 1;
            if self.shared.resting && !rested {
                rested = true;
                end = self.shared.schedule.now().after(TO_REST);
            }
            if matches!(event, Event::Nemesis(NemesisEvent::Look)) {
                if invariants::rests(&self.shared, &self.waiting()) {
                    break;
                }
                nemesis::operate(self);
                self.shared
                    .schedule
                    .after(LOOK, Event::Nemesis(NemesisEvent::Look));
                continue;
            }
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let shared = &mut self.shared;
        match event {
            Event::Deliver { from, to, message } => {
                if shared.network.is_cut(from, to) {
                    return;
                }
                match to {
                    Address::Broker(broker) => {
                        self.brokers[broker].happen(shared, Event::Deliver { from, to, message });
                    }
                    Address::Client(client) => self.clients[client].deliver(shared, *message),
                    Address::Controller => self.controller.deliver(shared, from, *message),
                }
            }
            Event::Broker { broker, .. } => self.brokers[broker].happen(shared, event),
            Event::Client { client, what } => self.clients[client].event(shared, what),
            Event::Controller(what) => self.controller.event(shared, what),
            Event::Nemesis(what) => nemesis::event(self, what),
        }
    }

    /// Who is not done.
    fn waiting(&self) -> Waiting {
        let clients = self
            .clients
            .iter()
            .enumerate()
            .filter(|(_, client)| !client.is_idle());
        let brokers = self.brokers.iter().filter(|broker| !broker.is_at_rest());
        Waiting {
            clients: clients.map(|(client, _)| client).collect(),
            brokers: brokers.map(|broker| broker.me).collect(),
            controllers: !self.controller.is_idle(),
        }
    }

    /// Looks at what is left, and at the history.
    fn end(mut self) -> Outcome {
        if self.shared.violation.is_none() {
            let waiting = self.waiting();
            invariants::at_rest(&mut self.shared, &waiting);
        }
        for broker in &self.brokers {
            if let Some(image) = broker.image() {
                let found = invariants::same_image(broker.id, image, &self.shared.truth);
                self.shared.look(found);
            }
        }
        if self.shared.violation.is_none() {
            self.tell_final_logs();
        }
        let mut shared = self.shared;
        let forgiven = shared.ghosts.iter().filter(|ghost| ghost.forgiven.is_some());
        shared.counts.forgiven = forgiven.count() as u64;
        let verdict = shared.violation.is_none().then(|| check(&judged(&shared)));
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
                let truth = self.shared.ghosts[partition].truth.as_ref();
                // What was taken from it may be there until it starts again.
                if !truth.is_some_and(|truth| truth.replicas.contains(broker.id)) {
                    continue;
                }
                let key = self.shared.plan.partitions[partition].key.clone();
                match broker.final_log(partition) {
                    Ok(Some(log)) => {
                        let last = Op::Final(Final {
                            leader_epoch: log.leader_epoch,
                            ..Final::new(broker.id, key, log.log_start, log.records)
                        });
                        self.shared.tell(Process::Nemesis, Kind::Info, last);
                    }
                    Ok(None) => {}
                    // Nobody has read there yet.
                    Err(_) if self.shared.ghosts[partition].replicas[broker.me].flipped => {}
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

/// The history, without what happened to partitions whose losses were within the rules.
fn judged(shared: &Shared) -> History {
    let plans = shared.plan.partitions.iter().zip(&shared.ghosts);
    let forgiven: HashSet<_> = plans
        .filter(|(_, ghost)| ghost.forgiven.is_some())
        .map(|(plan, _)| plan.key.clone())
        .collect();
    if forgiven.is_empty() {
        return shared.history.clone();
    }
    let is_of = |op: &Op| match op {
        Op::Send(send) => forgiven.contains(&send.key),
        Op::Poll(poll) => poll.partitions.iter().any(|part| forgiven.contains(&part.key)),
        Op::Trim(trim) => forgiven.contains(&trim.key),
        Op::Final(last) => forgiven.contains(&last.key),
        _ => false,
    };
    let mut judged = History::default();
    for event in shared.history.events().iter().filter(|event| !is_of(&event.op)) {
        // What was well-formed with more in it is well-formed: operations are left out as a whole.
        let _ = judged.push(event.clone());
    }
    judged
}

fn make_clients(plan: &Plan) -> Vec<Client> {
    let partitions = plan.partitions.len();
    // The administrator comes first.
    let mut clients = vec![Client::admin(0, partitions)];
    for _ in 0..plan.idempotent_producers {
        clients.push(Client::producer(clients.len(), partitions, Style::Idempotent));
    }
    for acks in [Acks::All, Acks::Leader, Acks::None] {
        clients.push(Client::producer(clients.len(), partitions, Style::Plain(acks)));
    }
    for _ in 0..plan.consumers {
        clients.push(Client::consumer(clients.len(), partitions));
    }
    clients.push(Client::deleter(clients.len(), partitions));
    clients
}
