//! Faults: which, when, and for how long.

use super::Cluster;
use super::broker::Broker;
use super::message::{Event, NemesisEvent};
use super::shared::Shared;
use super::story;
use crate::invariants::is_given_up;
use crate::report::{FAULTS_MIN, Fault};
use quipu_metadata::{Command, ConfigChange, ElectLeaders, LeaderElection, Request as _, UpdateTopicConfig};
use quipu_replication::Tick;
use quipu_storage::test_util::Faults;
use std::time::Duration;

pub(crate) fn event(world: &mut Cluster, what: NemesisEvent) {
    match what {
        NemesisEvent::Strike => strike(world),
        NemesisEvent::Lift(fault) => lift(world, fault),
        NemesisEvent::Act(act) => story::act(world, act),
        NemesisEvent::Roll(broker) => roll(world, broker),
        NemesisEvent::Rest if !world.shared.counts.reach_the_floors() => go_on(world),
        NemesisEvent::Rest => {
            world.shared.note(format_args!("the world comes to rest"));
            world.shared.resting = true;
            world.shared.calm = true;
            heal(world);
            world
                .shared
                .schedule
                .after(Duration::ZERO, Event::Nemesis(NemesisEvent::Look));
        }
        NemesisEvent::Look => {}
    }
}

/// Not enough has been seen: the world goes on. Where that takes all too long for want of acknowledged records, faults
/// end first: what they broke is mended, and clients go on.
fn go_on(world: &mut Cluster) {
    let shared = &mut world.shared;
    let late = shared.schedule.now().since(Tick::default()) >= 2 * shared.plan.duration;
    if late && shared.counts.faults() >= FAULTS_MIN && !shared.calm {
        shared.note(format_args!("the world is calm"));
        shared.calm = true;
        heal(world);
    }
    if world.shared.calm {
        operate(world);
    }
    let more = Event::Nemesis(NemesisEvent::Rest);
    world.shared.schedule.after(Duration::from_millis(500), more);
}

/// A fault strikes, and the next one is planned.
fn strike(world: &mut Cluster) {
    let shared = &mut world.shared;
    if shared.calm {
        return;
    }
    let every = shared.plan.fault_every;
    let wait = shared.chance.between(every / 4, every * 7 / 4);
    shared.schedule.after(wait, Event::Nemesis(NemesisEvent::Strike));
    let fault = shared.plan.faults[shared.chance.below(shared.plan.faults.len())];
    let broker = shared.chance.below(world.brokers.len());
    inflict(world, broker, fault);
}

pub(crate) fn inflict(world: &mut Cluster, broker: usize, fault: Fault) {
    let shared = &mut world.shared;
    let target = &mut world.brokers[broker];
    match fault {
        Fault::Kill | Fault::PowerCut if target.is_running() => {
            shared.fault(fault);
            target.die(shared, fault);
        }
        Fault::CleanStop if target.is_running() => {
            shared.fault(fault);
            target.stop(shared);
        }
        Fault::Kill | Fault::PowerCut | Fault::CleanStop => {}
        Fault::PowerCutOfAll | Fault::RollingRestart | Fault::WipedDisk | Fault::BitFlip => {
            rarely(world, broker, fault);
        }
        Fault::Pause => {
            shared.fault(fault);
            let longest = if shared.chance.one_in(3) { 3500 } else { 700 };
            let lasts = shared.chance.millis(longest);
            target.pause(shared, lasts);
        }
        Fault::ClockJump => {
            shared.fault(fault);
            // Never so far that a producer of this run is forgotten, which takes seven days.
            let hours = i64::try_from(shared.chance.below(145)).unwrap_or(0) - 72;
            target.jump(hours);
        }
        Fault::ProducerReplaced
        | Fault::ControllerFailover
        | Fault::MinInsyncChanged
        | Fault::PreferredElection => by_people(world, fault),
        lasting => {
            shared.fault(lasting);
            begin(world, broker, lasting);
        }
    }
}

/// What is rare, or nothing else would ever be seen.
fn rarely(world: &mut Cluster, broker: usize, fault: Fault) {
    let Cluster { shared, brokers, .. } = world;
    let target = &mut brokers[broker];
    if fault == Fault::BitFlip {
        return flip(shared, target);
    }
    if !shared.chance.one_in(3) || (fault == Fault::WipedDisk && !may_be_spared(shared, broker)) {
        return;
    }
    shared.fault(fault);
    match fault {
        Fault::WipedDisk => target.wipe(shared),
        Fault::RollingRestart => roll(world, 0),
        _ => {
            for broker in brokers.iter_mut().filter(|broker| broker.is_running()) {
                broker.die(shared, fault);
            }
        }
    }
}

/// A bit flips, where others have what may be lost.
fn flip(shared: &mut Shared, target: &mut Broker) {
    let partition = shared.chance.below(shared.plan.partitions.len());
    // One that is being added may be taken away before the damage is found.
    let truth = shared.ghosts[partition].truth.as_ref();
    let lasting = truth.is_none_or(|truth| truth.adding().is_empty());
    if lasting && spared_in(shared, target.me, partition) && target.flip_bit(shared, partition) {
        shared.ghosts[partition].replicas[target.me].flipped = true;
        shared.fault(Fault::BitFlip);
        if target.is_running() && shared.chance.one_in(2) {
            target.die(shared, Fault::Kill);
        }
    }
}

/// What clients and controllers do of themselves.
fn by_people(world: &mut Cluster, fault: Fault) {
    let Cluster {
        shared,
        controller,
        clients,
        ..
    } = world;
    match fault {
        Fault::ProducerReplaced => {
            let first = shared.chance.below(clients.len());
            for at in 0..clients.len() {
                let client = (first + at) % clients.len();
                if clients[client].replace(shared) {
                    break;
                }
            }
        }
        Fault::ControllerFailover => {
            shared.fault(fault);
            controller.fail_over(shared);
        }
        Fault::MinInsyncChanged => {
            let topic = shared.chance.below(shared.plan.topics.len());
            let to = 1 + shared.chance.below(2);
            shared.fault(fault);
            let command = min_insync(shared, topic, to);
            clients[0].administer(shared, command);
        }
        Fault::PreferredElection => {
            shared.fault(fault);
            let command = elect(shared, LeaderElection::Preferred, |_| true);
            clients[0].administer(shared, command);
        }
        _ => {}
    }
}

/// The command that changes a topic's `min.insync.replicas`.
pub(crate) fn min_insync(shared: &Shared, topic: usize, to: usize) -> Command {
    let change = ConfigChange {
        set: vec![("min.insync.replicas".to_owned(), to.to_string())],
        unset: Vec::new(),
    };
    UpdateTopicConfig {
        topic_id: shared.plan.topics[topic].id,
        change,
        expected_version: None,
    }
    .into_command()
}

fn elect(shared: &Shared, kind: LeaderElection, which: impl Fn(usize) -> bool) -> Command {
    let all = shared.plan.partitions.iter().enumerate();
    ElectLeaders {
        partitions: all
            .filter(|(partition, _)| which(*partition))
            .map(|(_, plan)| plan.partition)
            .collect(),
        kind,
    }
    .into_command()
}

/// Whether another replica in perfect order would take over, in this partition.
fn spared_in(shared: &Shared, broker: usize, partition: usize) -> bool {
    let ghost = &shared.ghosts[partition];
    let me = shared.plan.brokers[broker];
    let Some(truth) = &ghost.truth else { return true };
    if !truth.replicas.contains(me) {
        return true;
    }
    // Of two destroyed at a time, the second may be the last that had something.
    let sound = |id| {
        let mirror = &ghost.replicas[shared.plan.broker(id).unwrap_or(broker)];
        id != me && !mirror.lossy && !mirror.flipped
    };
    let others = ghost.candidates().filter(|id| sound(*id)).count();
    let wounded = ghost
        .replicas
        .iter()
        .enumerate()
        .any(|(index, mirror)| index != broker && (mirror.lossy || mirror.flipped));
    others >= 1 && truth.isr.len() >= 2 && !wounded
}

/// The same, in every partition.
fn may_be_spared(shared: &Shared, broker: usize) -> bool {
    (0..shared.plan.partitions.len()).all(|partition| spared_in(shared, broker, partition))
}

/// A fault that lasts begins.
fn begin(world: &mut Cluster, broker: usize, fault: Fault) {
    match fault {
        Fault::Halves | Fault::Isolated | Fault::OneWay | Fault::Bridge | Fault::Ring => {
            part(&mut world.shared, fault);
        }
        Fault::MessagesLost => world.shared.network.lost = true,
        Fault::MessagesLate => world.shared.network.late = true,
        Fault::MessagesTwice => world.shared.network.twice = true,
        Fault::RepliesLost => world.controller.silent = true,
        Fault::DeltasLate => world.controller.held_back[broker] = true,
        _ => on_disk(world, broker, fault),
    }
    let longest = match fault {
        Fault::SyncFails | Fault::WriteFails => 100,
        Fault::Halves | Fault::Isolated | Fault::OneWay | Fault::Bridge | Fault::Ring => {
            if world.shared.chance.one_in(4) { 6000 } else { 1500 }
        }
        Fault::DeltasLate => 1500,
        _ => 400,
    };
    let lasts = world.shared.chance.millis(longest);
    let lift = Event::Nemesis(NemesisEvent::Lift(fault));
    world.shared.schedule.after(lasts, lift);
}

/// The network falls apart: brokers, and the controllers as one more node.
fn part(shared: &mut Shared, shape: Fault) {
    // Now and then the controllers hear everybody all the same: then it is for leaders to notice.
    let all = shared.network.parts();
    let nodes = if shared.chance.one_in(2) { all } else { all - 1 };
    shared.network.mend();
    let first = shared.chance.below(nodes);
    let half = 1 + shared.chance.below(nodes - 1);
    let seat = |node: usize| (node + nodes - first) % nodes;
    for from in 0..nodes {
        for to in 0..nodes {
            let (a, b) = (seat(from), seat(to));
            let apart = match shape {
                Fault::Halves => (a < half) != (b < half),
                Fault::Isolated => (a == 0) != (b == 0),
                Fault::OneWay => a == 0 && b != 0 && b <= half,
                Fault::Bridge => a != 0 && b != 0 && (a <= nodes / 2) != (b <= nodes / 2),
                _ => a != b && (a + 1) % nodes != b && (b + 1) % nodes != a,
            };
            if apart && from != to {
                shared.network.cut(from, to);
            }
        }
    }
}

/// Once in so many calls, in parts of 65,536.
const ONE_IN_EIGHT: u16 = 8192;

fn on_disk(world: &mut Cluster, broker: usize, fault: Fault) {
    let broker = &mut world.brokers[broker];
    match fault {
        Fault::SyncFails => broker.faults.sync_eio = ONE_IN_EIGHT,
        Fault::WriteFails => broker.faults.write_eio = ONE_IN_EIGHT,
        Fault::ReadsFail => broker.faults.read_eio = ONE_IN_EIGHT,
        Fault::ShortWrites => {
            broker.faults.short_write = ONE_IN_EIGHT;
            broker.faults.no_space = ONE_IN_EIGHT;
        }
        Fault::DiskFull => broker.full = true,
        Fault::SlowDisk => broker.slow = true,
        _ => {}
    }
    broker.apply_faults();
}

/// A fault that lasted is over, wherever it was.
fn lift(world: &mut Cluster, fault: Fault) {
    match fault {
        Fault::Halves | Fault::Isolated | Fault::OneWay | Fault::Bridge | Fault::Ring => {
            world.shared.network.mend();
        }
        Fault::MessagesLost => world.shared.network.lost = false,
        Fault::MessagesLate => world.shared.network.late = false,
        Fault::MessagesTwice => world.shared.network.twice = false,
        Fault::RepliesLost => world.controller.silent = false,
        Fault::DeltasLate => world.controller.held_back.fill(false),
        _ => {}
    }
    for broker in &mut world.brokers {
        match fault {
            Fault::SyncFails => broker.faults.sync_eio = 0,
            Fault::WriteFails => broker.faults.write_eio = 0,
            Fault::ReadsFail => broker.faults.read_eio = 0,
            Fault::ShortWrites => {
                broker.faults.short_write = 0;
                broker.faults.no_space = 0;
            }
            Fault::DiskFull => broker.full = false,
            Fault::SlowDisk => broker.slow = false,
            _ => continue,
        }
        broker.apply_faults();
    }
}

/// The end of all faults.
fn heal(world: &mut Cluster) {
    for fault in Fault::CLUSTER {
        lift(world, *fault);
    }
    for broker in &mut world.brokers {
        broker.faults = Faults::default();
        broker.apply_faults();
    }
}

/// One broker after the other is stopped in order.
fn roll(world: &mut Cluster, broker: usize) {
    let shared = &mut world.shared;
    if broker >= world.brokers.len() || shared.calm {
        return;
    }
    if world.brokers[broker].is_running() {
        world.brokers[broker].stop(shared);
    }
    let wait = shared
        .chance
        .between(Duration::from_millis(400), Duration::from_millis(1200));
    shared
        .schedule
        .after(wait, Event::Nemesis(NemesisEvent::Roll(broker + 1)));
}

/// What only an operator can do: a partition whose last candidates were destroyed is given to whoever is left.
pub(crate) fn operate(world: &mut Cluster) {
    let shared = &mut world.shared;
    let lost: Vec<usize> = (0..shared.ghosts.len())
        .filter(|partition| is_given_up(&shared.ghosts[*partition]))
        .collect();
    let all_up = world.brokers.iter().all(Broker::is_serving);
    if lost.is_empty() || !all_up {
        return;
    }
    if world.clients[0].wants_anything() {
        return;
    }
    // A damaged one that is elected is taken off again: its disk is replaced.
    let damaged = |broker: &usize| {
        let flipped = |partition: &usize| shared.ghosts[*partition].replicas[*broker].flipped;
        lost.iter().any(flipped)
    };
    if let Some(broker) = (0..world.brokers.len()).find(damaged) {
        return world.brokers[broker].wipe(shared);
    }
    let command = elect(shared, LeaderElection::Unclean, |partition| {
        lost.contains(&partition)
    });
    world.clients[0].administer(shared, command);
}
