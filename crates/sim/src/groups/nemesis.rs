//! What goes wrong, and when.

use super::shared::Event;
use super::world::{BROKERS, World};
use crate::report::Fault;
use std::time::Duration;

/// One more thing goes wrong.
pub(super) fn strike(world: &mut World) {
    if world.shared.resting {
        return;
    }
    let wait = world.shared.chance.millis(400);
    world.shared.schedule.after(wait, Event::Strike);
    if world.shared.chance.one_in(3) {
        return come_and_go(world);
    }
    let fault = Fault::GROUPS[world.shared.chance.below(Fault::GROUPS.len())];
    if happens(world, fault) {
        world.shared.fault(fault);
        world.shared.note(format_args!("{fault:?}"));
    }
}

/// Members join and leave without any fault.
fn come_and_go(world: &mut World) {
    let staying: Vec<usize> = staying(world);
    if staying.len() < 3 || (staying.len() < 10 && world.shared.chance.one_in(2)) {
        let group = world.shared.chance.below(world.groups.len());
        return world.arrive(group);
    }
    let client = staying[world.shared.chance.below(staying.len())];
    world.leave(client);
}

fn staying(world: &World) -> Vec<usize> {
    let clients = world.clients.iter().enumerate();
    clients
        .filter(|(_, client)| !client.gone)
        .map(|(at, _)| at)
        .collect()
}

fn happens(world: &mut World, fault: Fault) -> bool {
    let broker = world.shared.chance.below(BROKERS);
    let lasts = world.shared.chance.millis(1_500);
    let staying = staying(world);
    let client = (!staying.is_empty()).then(|| staying[world.shared.chance.below(staying.len())]);
    match fault {
        Fault::CoordinatorMoved => world.elect(),
        Fault::Isolated => {
            let now = world.shared.now();
            world.shared.log.isolate(now);
            // Others elect one of themselves, or the cut is over before they do.
            let wait = world.shared.chance.millis(2_500);
            let after = match world.shared.chance.one_in(3) {
                true => Event::Lift(fault, broker),
                false => Event::Elect,
            };
            world.shared.schedule.after(wait, after);
        }
        Fault::Kill => return kill(world, broker),
        Fault::Pause => {
            if world.brokers[broker].standing.is_some() {
                return false;
            }
            world.brokers[broker].standing = Some(Vec::new());
            let now = world.shared.now();
            if world
                .shared
                .log
                .leader()
                .is_some_and(|leader| leader.broker == broker)
            {
                world.shared.log.isolate(now);
                let wait = world.shared.chance.millis(1_500);
                world.shared.schedule.after(wait, Event::Elect);
            }
            let lasts = world.shared.chance.millis(4_000);
            world.shared.schedule.after(lasts, Event::Lift(fault, broker));
        }
        Fault::MessagesLost => {
            world.shared.lossy = Some(1 + world.shared.chance.below(8));
            world.shared.schedule.after(lasts, Event::Lift(fault, broker));
        }
        Fault::MessagesLate => {
            world.shared.late = true;
            world.shared.schedule.after(lasts, Event::Lift(fault, broker));
        }
        Fault::MessagesTwice => {
            world.shared.twice = true;
            world.shared.schedule.after(lasts, Event::Lift(fault, broker));
        }
        Fault::TopicsChanged => {
            match world.shared.chance.one_in(3) && world.shared.topics.len() < 4 {
                true => world.shared.topics.add(3),
                false => {
                    let topic = world.shared.chance.below(world.shared.topics.len());
                    world.shared.topics.grow(topic);
                }
            }
            topics_changed(world);
        }
        _ => {
            let Some(client) = client else { return false };
            strike_member(world, fault, client);
        }
    }
    true
}

fn strike_member(world: &mut World, fault: Fault, client: usize) {
    match fault {
        Fault::MemberKilled => {
            world.cut_connection(client);
            world.clients[client].gone = true;
        }
        Fault::MemberSlow => {
            let lasts = world.shared.chance.millis(3_000);
            world.clients[client].slow_until = world.shared.now().after(lasts);
        }
        Fault::SubscriptionChanged => {
            world.clients[client].topics = world.some_topics();
            world.cut_connection(client);
        }
        _ => world.cut_connection(client),
    }
}

/// A broker dies: what it coordinates moves, the streams it hosts are gone without a word to the coordinator.
fn kill(world: &mut World, broker: usize) -> bool {
    if world.brokers[broker].standing.is_some() {
        return false;
    }
    world.brokers[broker].shard = None;
    let hosted: Vec<usize> = (0..world.streams.len())
        .filter(|at| {
            world.streams[*at]
                .as_ref()
                .is_some_and(|stream| stream.broker == broker)
        })
        .collect();
    for at in hosted {
        if let Some(stream) = world.streams[at].take()
            && world.clients[stream.client].stream == Some(at)
        {
            world.clients[stream.client].disconnected();
        }
    }
    if world
        .shared
        .log
        .leader()
        .is_some_and(|leader| leader.broker == broker)
    {
        let now = world.shared.now();
        world.shared.log.isolate(now);
        let wait = world.shared.chance.millis(1_500);
        world.shared.schedule.after(wait, Event::Elect);
    }
    true
}

/// Every coordinator sees the topics change.
fn topics_changed(world: &mut World) {
    for broker in &mut world.brokers {
        if let Some(shard) = &mut broker.shard
            && broker.standing.is_none()
        {
            shard.step(&mut world.shared, quipu_coordinator::Input::TopicsChanged);
        }
    }
}

/// Something is over.
pub(super) fn lift(world: &mut World, fault: Fault, broker: usize) {
    match fault {
        Fault::Isolated => heal_leader(world),
        Fault::Pause => resume(world, broker),
        Fault::MessagesLost => world.shared.lossy = None,
        Fault::MessagesLate => world.shared.late = false,
        Fault::MessagesTwice => world.shared.twice = false,
        _ => {}
    }
}

/// A process goes on: everything that waited for it comes at once.
fn resume(world: &mut World, broker: usize) {
    for event in world.brokers[broker].standing.take().unwrap_or_default() {
        if world.shared.violation.is_none() {
            world.happen(event);
        }
    }
    // What it did not hear meanwhile.
    topics_changed(world);
    let leads = world.shared.log.leader().filter(|leader| leader.broker == broker);
    if leads.is_some() {
        heal_leader(world);
    }
}

/// The leader is heard again, if it is there.
fn heal_leader(world: &mut World) {
    let Some(leader) = world.shared.log.leader() else {
        return;
    };
    let there = world.brokers[leader.broker]
        .shard
        .as_ref()
        .is_some_and(|shard| shard.leader() == leader);
    if !there || world.brokers[leader.broker].standing.is_some() {
        return;
    }
    world.shared.log.heal();
    let end = world.shared.log.end();
    let wait = Duration::from_millis(5);
    world
        .shared
        .schedule
        .after(wait, Event::Replicated { leader, end });
}

/// Faults are over.
pub(super) fn rest(world: &mut World) {
    world.shared.resting = true;
    world.shared.note(format_args!("the world comes to rest"));
    world.shared.lossy = None;
    world.shared.late = false;
    world.shared.twice = false;
    for broker in 0..BROKERS {
        resume(world, broker);
    }
    // Whoever leads is there and is heard.
    world.elect();
    for group in 0..world.groups.len() {
        let group_id = world.groups[group].clone();
        if !world
            .clients
            .iter()
            .any(|client| client.group == group_id && !client.gone)
        {
            world.arrive(group);
        }
    }
}
