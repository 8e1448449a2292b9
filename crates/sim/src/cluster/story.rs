//! Stories that a share of the seeds follows: each leads straight to where a rule matters.

use super::Cluster;
use super::message::{Event, NemesisEvent};
use super::nemesis::{inflict, min_insync};
use super::plan::Story;
use crate::report::Fault;
use std::time::Duration;

/// One act; the next one is planned.
pub(crate) fn act(world: &mut Cluster, act: u32) {
    if world.shared.calm {
        return;
    }
    let wait = match world.shared.plan.story {
        Story::None => return,
        Story::MinRaisedUnseen => min_raised_unseen(world, act),
        Story::LastReplicaStanding => last_replica_standing(world, act),
        Story::RestartWhileProposed => restart_while_proposed(world, act),
        Story::LeadersInARow => leaders_in_a_row(world, act),
        Story::LaggingFollower => lagging_follower(world, act),
        Story::StaleLeader => stale_leader(world, act),
    };
    let event = Event::Nemesis(NemesisEvent::Act(act + 1));
    world.shared.schedule.after(wait, event);
}

/// The leader of the first partition, and another of its replicas.
fn cast(world: &mut Cluster) -> Option<(usize, usize)> {
    let shared = &mut world.shared;
    let partition = shared.chance.below(shared.plan.partitions.len());
    let leader = shared.leader_of(partition)?;
    let truth = shared.ghosts[partition].truth.as_ref()?;
    let others: Vec<usize> = truth
        .isr
        .iter()
        .filter_map(|id| shared.plan.broker(id))
        .filter(|broker| *broker != leader)
        .collect();
    if others.is_empty() {
        return None;
    }
    Some((leader, others[shared.chance.below(others.len())]))
}

const SOON: Duration = Duration::from_millis(150);

fn min_raised_unseen(world: &mut Cluster, act: u32) -> Duration {
    match act % 4 {
        0 => {
            // One is enough, and everybody knows.
            set_min_everywhere(world, 1);
            Duration::from_millis(800)
        }
        1 => {
            // The leader hears of nothing from now on, except by answers.
            world.controller.held_back.fill(true);
            set_min_everywhere(world, 2);
            SOON
        }
        2 => {
            if let Some((leader, _)) = cast(world) {
                let brokers = world.brokers.len();
                for other in (0..brokers).filter(|other| *other != leader) {
                    world.shared.network.cut(leader, other);
                    world.shared.network.cut(other, leader);
                }
            }
            Duration::from_millis(3500)
        }
        _ => {
            world.controller.held_back.fill(false);
            if let Some((leader, _)) = cast(world) {
                inflict(world, leader, Fault::Kill);
            }
            world.shared.network.mend();
            Duration::from_millis(600)
        }
    }
}

fn set_min_everywhere(world: &mut Cluster, to: usize) {
    for topic in 0..world.shared.plan.topics.len() {
        let command = min_insync(&world.shared, topic, to);
        world.clients[0].administer(&mut world.shared, command);
    }
}

fn last_replica_standing(world: &mut Cluster, act: u32) -> Duration {
    let Some((leader, other)) = cast(world) else {
        // It stands alone.
        let partition = world.shared.chance.below(world.shared.plan.partitions.len());
        if let Some(last) = world.shared.leader_of(partition) {
            let how = if world.shared.plan.faults.contains(&Fault::PowerCut) {
                Fault::PowerCut
            } else {
                Fault::Kill
            };
            inflict(world, last, how);
        }
        return Duration::from_millis(500);
    };
    let victim = if act.is_multiple_of(3) { leader } else { other };
    inflict(world, victim, Fault::Kill);
    Duration::from_millis(250)
}

fn restart_while_proposed(world: &mut Cluster, act: u32) -> Duration {
    let Some((_, other)) = cast(world) else {
        return SOON;
    };
    match act % 3 {
        0 => {
            inflict(world, other, Fault::Kill);
            Duration::from_millis(400)
        }
        1 => {
            // It comes back, catches up, is proposed; the answer takes its time, and messages come late.
            world.shared.network.late = true;
            world.controller.silent = true;
            Duration::from_millis(300)
        }
        _ => {
            let how = if world.shared.plan.faults.contains(&Fault::PowerCut) {
                Fault::PowerCut
            } else {
                Fault::Kill
            };
            inflict(world, other, how);
            world.shared.network.late = false;
            world.controller.silent = false;
            Duration::from_millis(300)
        }
    }
}

fn leaders_in_a_row(world: &mut Cluster, act: u32) -> Duration {
    let Some((leader, other)) = cast(world) else {
        return SOON;
    };
    // A follower has much to catch up with, and messages come late, as its leader goes.
    world.shared.network.late = !act.is_multiple_of(3);
    match act % 3 {
        0 => {
            inflict(world, other, Fault::Kill);
            Duration::from_millis(500)
        }
        1 => Duration::from_millis(60),
        _ => {
            inflict(world, leader, Fault::Kill);
            Duration::from_millis(400)
        }
    }
}

fn lagging_follower(world: &mut Cluster, act: u32) -> Duration {
    if act % 2 == 1 {
        world.shared.network.mend();
        return Duration::from_millis(700);
    }
    if let Some((leader, other)) = cast(world) {
        world.shared.network.cut(leader, other);
    }
    Duration::from_millis(4200)
}

fn stale_leader(world: &mut Cluster, act: u32) -> Duration {
    if act % 2 == 1 {
        world.shared.network.mend();
        return Duration::from_millis(900);
    }
    if let Some((leader, keeps)) = cast(world) {
        let nodes = world.shared.network.parts();
        for node in (0..nodes).filter(|node| *node != leader && *node != keeps) {
            world.shared.network.cut(leader, node);
            world.shared.network.cut(node, leader);
        }
    }
    Duration::from_millis(2600)
}
