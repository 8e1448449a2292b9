//! How a history goes: operations at random, then everything heals.

use super::check::contents;
use super::world::{Held, World};
use crate::{GroupState, Input, Request};
use quipu_record::Tick;
use std::time::Duration;

/// Rounds of a second that a healed group may take to become stable: sessions and deadlines of those who died included.
const ROUNDS: usize = 90;

impl World {
    /// The whole history; what did not hold, after how many operations.
    pub(super) fn live(&mut self, operations: usize) -> Result<(), (usize, String)> {
        for operation in 0..operations {
            self.counts.operations += 1;
            self.operate().map_err(|what| (operation, what))?;
        }
        self.heal().map_err(|what| (operations, what))
    }

    /// Time passes: hosts drop what nobody vouches for, the coordinator looks after its deadlines.
    pub(super) fn pass(&mut self, time: Duration) -> Held {
        let end = self.now.after(time);
        for _ in 0..1_000 {
            let hosts = self
                .hosts
                .iter()
                .filter(|host| !host.dead && host.epoch.is_some());
            let next = hosts.map(super::host::Host::drops_at).chain(self.deadline).min();
            let next = next.map_or(end, |next| next.min(end)).max(self.now);
            let passed = next.since(self.now);
            self.wall = self
                .wall
                .plus_millis(i64::try_from(passed.as_millis()).unwrap_or(0));
            self.now = next;
            let mut dropped = false;
            for host in &mut self.hosts {
                if !host.dead && host.epoch.is_some() && host.drops_at() <= next {
                    host.drop_all();
                    dropped = true;
                }
            }
            if dropped {
                self.counts.add("unvouched");
                self.forget_taken();
            }
            let due = |deadline: Option<Tick>| deadline.is_some_and(|deadline| deadline <= next);
            if due(self.deadline) {
                self.step(Input::Tick)?;
            }
            if self.now >= end && !due(self.deadline) {
                return Ok(());
            }
        }
        Err("time does not pass: a deadline stays due".to_owned())
    }

    /// The coordinator is another broker's: what was not committed may be gone, or not.
    pub(super) fn fail_over(&mut self) -> Held {
        let extra = self.dice.below(self.log.len() - self.committed + 1);
        let cut = self.committed + extra < self.log.len();
        self.log.truncate(self.committed + extra);
        self.committed = self.log.len();
        self.stuck = false;
        self.held.clear();
        self.asked.clear();
        // What was sent to the coordinator before is refused by the host of the next one.
        self.late.retain(|request| !matches!(request, Request::Commit(_)));
        for host in &mut self.hosts {
            host.outstanding = None;
        }
        let before = contents(&self.coordinator);
        let mut next = self.load()?;
        if !cut && contents(&next) != before {
            return Err("what was stored does not lead to the live state".to_owned());
        }
        next.loaded(self.now, self.wall);
        self.coordinator = next;
        self.read_ledger();
        let ledger = &self.ledger;
        self.taken.retain(|(member, at)| {
            let has = ledger.get(member).into_iter();
            let mut has = has.flat_map(|current| current.assigned.iter().chain(&current.pending));
            !has.any(|one| one.at == *at)
        });
        self.check_owners()?;
        self.step(Input::TopicsChanged)
    }

    fn heal(&mut self) -> Held {
        self.faulty = false;
        self.stuck = false;
        self.committed = self.log.len();
        self.late.clear();
        self.release()?;
        self.step(Input::TopicsChanged)?;
        let mut calm = 0;
        let mut last = String::new();
        for _ in 0..ROUNDS {
            for index in 0..self.hosts.len() {
                let host = &mut self.hosts[index];
                if host.dead {
                    continue;
                }
                if host.superseded {
                    host.drop_all();
                    host.dead = true;
                    continue;
                }
                let gives_up = !host.revoking.is_empty();
                host.revoking.clear();
                let silent = host
                    .outstanding
                    .is_none_or(|out| self.now.since(out.sent) >= Duration::from_secs(4));
                if gives_up || silent {
                    self.beat(index)?;
                }
            }
            match self.check_stable() {
                Ok(()) => calm += 1,
                Err(what) => (calm, last) = (0, what),
            }
            if calm == 3 {
                self.counts.add(
                    match self
                        .coordinator
                        .groups
                        .get(&self.group)
                        .map(|group| group.state())
                    {
                        Some(GroupState::Stable) => "ended-stable",
                        _ => "ended-empty",
                    },
                );
                return self.load().map(drop);
            }
            self.pass(Duration::from_secs(1))?;
        }
        Err(format!("does not become stable: {last}"))
    }
}
