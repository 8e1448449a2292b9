//! What can happen.

use super::host::Host;
use super::net::NAMES;
use super::world::{Asked, Held, World};
use crate::{
    Commit, Input, InstanceId, MemberEpoch, MemberId, MoveTo, OffsetCommit, OffsetsQuery, Request, Reset,
    StreamId, StreamNumber, Subscription,
};
use quipu_record::{Offset, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// Members alive at most.
const ALIVE: usize = 4;

impl World {
    /// One thing at random.
    pub(super) fn operate(&mut self) -> Held {
        match self.dice.below(100) {
            0..6 => self.join(),
            6..9 => self.leave(),
            9..11 => self.kill(),
            11..14 => self.resume(),
            14..16 => self.bounce(),
            16..40 => self.some_beat(),
            40..46 => self.beat_badly(),
            46..50 => self.deliver_late(),
            50..58 => self.give_up(),
            58..72 => self.commit_some(),
            72..75 => self.read_some(),
            75..78 => self.administrate(),
            78..80 => self.change_topics(),
            80..82 => self.get_stuck(),
            82..85 => {
                self.counts.add("failover");
                self.fail_over()
            }
            85..86 => self.cancel(),
            86..96 => {
                self.counts.add("time");
                let millis = 50 + self.dice.below(1_500) as u64;
                self.pass(Duration::from_millis(millis))
            }
            96..98 => {
                self.counts.add("long-time");
                let millis = 4_000 + self.dice.below(9_000) as u64;
                self.pass(Duration::from_millis(millis))
            }
            _ => self.look(),
        }
    }

    fn alive(&mut self) -> Option<usize> {
        let alive: Vec<usize> = (0..self.hosts.len())
            .filter(|index| !self.hosts[*index].dead)
            .collect();
        (!alive.is_empty()).then(|| alive[self.dice.below(alive.len())])
    }

    fn subscription(&mut self) -> Subscription {
        let topics: Vec<Arc<str>> = match self.dice.below(4) {
            0 => vec![NAMES[0].into()],
            1 | 2 => vec![NAMES[0].into(), NAMES[1].into()],
            _ => Vec::new(),
        };
        let pattern = topics
            .is_empty()
            .then(|| if self.dice.one_in(2) { ".*" } else { "b.*" });
        Subscription {
            topics,
            pattern: pattern.map(Into::into),
        }
    }

    fn new_host(&mut self, instance: Option<InstanceId>) -> Host {
        let serial = self.serial();
        let member = MemberId::new(&format!("m{serial}")).unwrap_or_else(|error| unreachable!("{error}"));
        let mut host = Host::new(member, instance, StreamId::new(serial), self.now);
        // Mostly all want the same.
        host.subscription = Subscription {
            topics: vec![NAMES[0].into(), NAMES[1].into()],
            pattern: None,
        };
        if self.dice.one_in(3) {
            host.subscription = self.subscription();
        }
        host.stream_number = (!self.dice.one_in(4)).then(|| StreamNumber::new(1));
        host.range = self.dice.one_in(6);
        host.rack = match self.dice.below(3) {
            0 => None,
            1 => Some("north".into()),
            _ => Some("south".into()),
        };
        host
    }

    fn join(&mut self) -> Held {
        let alive = self.hosts.iter().filter(|host| !host.dead).count();
        if alive >= ALIVE {
            return self.some_beat();
        }
        self.counts.add("join");
        let instance = self.dice.one_in(4).then(|| format!("i{}", self.dice.below(2)));
        let instance = instance.and_then(|text| InstanceId::new(&text).ok());
        let taken = |host: &Host| !host.dead && host.instance == instance;
        let instance = instance.clone().filter(|_| !self.hosts.iter().any(taken));
        let host = self.new_host(instance);
        self.hosts.push(host);
        self.beat(self.hosts.len() - 1)
    }

    /// The host sends a heartbeat; it arrives.
    pub(super) fn beat(&mut self, index: usize) -> Held {
        let (token, request) = self.heartbeat(index);
        self.step(Input::Request(token, request))
    }

    fn heartbeat(&mut self, index: usize) -> (crate::RequestToken, Request) {
        let sent = self.now;
        let token = self.token(Asked::Heartbeat { host: index, sent });
        let host = &mut self.hosts[index];
        host.outstanding = Some(super::host::Outstanding { token, sent });
        let wait = Duration::from_secs(3);
        (token, Request::Heartbeat(host.heartbeat(&self.group, wait)))
    }

    fn some_beat(&mut self) -> Held {
        let Some(index) = self.alive() else { return Ok(()) };
        self.counts.add("heartbeat");
        self.beat(index)
    }

    /// A heartbeat that is lost, comes twice, or comes late.
    fn beat_badly(&mut self) -> Held {
        let Some(index) = self.alive() else { return Ok(()) };
        let (token, request) = self.heartbeat(index);
        match self.dice.below(3) {
            0 => {
                self.counts.add("heartbeat-lost");
                Ok(())
            }
            1 => {
                self.counts.add("heartbeat-late");
                self.late.push(request);
                Ok(())
            }
            _ => {
                self.counts.add("heartbeat-twice");
                self.late.push(request.clone());
                self.step(Input::Request(token, request.clone()))?;
                let again = self.token(Asked::Other);
                self.step(Input::Request(again, request))
            }
        }
    }

    /// Something that was sent long ago arrives; perhaps once more later.
    fn deliver_late(&mut self) -> Held {
        if self.late.is_empty() {
            return Ok(());
        }
        self.counts.add("late-arrival");
        let place = self.dice.below(self.late.len());
        let request = if self.dice.one_in(3) {
            self.late[place].clone()
        } else {
            self.late.swap_remove(place)
        };
        let token = self.token(Asked::Other);
        self.step(Input::Request(token, request))
    }

    fn send(&mut self, request: Request) -> Held {
        match self.dice.below(8) {
            0 => {
                self.late.push(request);
                return Ok(());
            }
            1 => self.late.push(request.clone()),
            _ => {}
        }
        let token = self.token(Asked::Other);
        self.step(Input::Request(token, request))
    }

    fn leave(&mut self) -> Held {
        let Some(index) = self.alive() else { return Ok(()) };
        self.counts.add("leave");
        let host = &mut self.hosts[index];
        host.drop_all();
        host.dead = true;
        let leave = host.leave(&self.group, false);
        self.forget_taken();
        self.send(Request::Leave(leave))
    }

    fn kill(&mut self) -> Held {
        let Some(index) = self.alive() else { return Ok(()) };
        self.counts.add("kill");
        self.hosts[index].dead = true;
        self.forget_taken();
        Ok(())
    }

    /// The client comes back by another stream; the one before ends, or notices later.
    fn resume(&mut self) -> Held {
        let Some(index) = self.alive() else { return Ok(()) };
        if self.hosts[index].superseded {
            return Ok(());
        }
        self.counts.add("resume");
        let stream = StreamId::new(self.serial());
        let before = &self.hosts[index];
        let (number, known) = (before.stream_number, before.told_number().is_some());
        let hides_number = self.dice.one_in(8);
        // Whose streams are not counted opens the next one only once it knows that those before are over.
        let guessed = !known || hides_number;
        let ends = guessed || !self.dice.one_in(3);
        let changed = self.dice.one_in(4).then(|| self.subscription());
        let old = &mut self.hosts[index];
        let mut new = Host::new(old.member.clone(), old.instance.clone(), stream, self.now);
        new.stream_number = number.map(|number| StreamNumber::new(number.get() + 1));
        new.hides_number = hides_number;
        new.epoch = old.epoch.filter(|_| !self.dice.one_in(4));
        new.rack.clone_from(&old.rack);
        new.range = old.range;
        new.subscription = changed.unwrap_or_else(|| old.subscription.clone());
        let leave = old.leave(&self.group, false);
        old.superseded = true;
        if ends || old.epoch.is_none() {
            old.drop_all();
            old.dead = true;
            self.late.push(Request::Leave(leave));
        }
        for host in &mut self.hosts {
            if guessed && host.superseded && host.member == new.member {
                host.drop_all();
                host.dead = true;
            }
        }
        self.hosts.push(new);
        self.forget_taken();
        self.beat(self.hosts.len() - 1)
    }

    /// A static member's process ends, and will be back; or it is back.
    fn bounce(&mut self) -> Held {
        let there = self
            .hosts
            .iter()
            .position(|host| !host.dead && host.instance.is_some() && !host.superseded);
        let Some(index) = there else { return Ok(()) };
        self.counts.add("static-bounce");
        let host = &mut self.hosts[index];
        host.drop_all();
        host.dead = true;
        let (instance, subscription) = (host.instance.clone(), host.subscription.clone());
        let leave = host.leave(&self.group, true);
        for other in &mut self.hosts {
            if other.superseded && other.instance == instance {
                other.drop_all();
                other.dead = true;
            }
        }
        self.forget_taken();
        self.send(Request::Leave(leave))?;
        let mut next = self.new_host(instance);
        next.subscription = subscription;
        self.hosts.push(next);
        self.beat(self.hosts.len() - 1)
    }

    /// A host gives up what is revoked, or a part of it, and says so.
    fn give_up(&mut self) -> Held {
        let revoking = |index: &usize| !self.hosts[*index].dead && !self.hosts[*index].revoking.is_empty();
        let Some(index) = (0..self.hosts.len()).find(revoking) else {
            return self.some_beat();
        };
        self.counts.add("give-up");
        let host = &mut self.hosts[index];
        let all = self.dice.one_in(2);
        if all {
            host.revoking.clear();
        } else {
            host.revoking.pop_first();
        }
        self.forget_taken();
        self.beat(index)
    }

    fn some_partition(&mut self) -> Option<TopicPartition> {
        let all = self.topics.all();
        (!all.is_empty()).then(|| all[self.dice.below(all.len())])
    }

    fn offset_of(&mut self, at: TopicPartition) -> OffsetCommit {
        OffsetCommit {
            at,
            offset: Offset::new(self.serial()),
            leader_epoch: None,
            metadata: "".into(),
        }
    }

    /// A member commits: mostly what it has, in its epoch.
    fn commit_some(&mut self) -> Held {
        let Some(index) = self.alive() else { return Ok(()) };
        let host = &self.hosts[index];
        let Some(epoch) = host.epoch else {
            return Ok(());
        };
        let mut by = host.committer(epoch);
        let has: Vec<_> = host.owned.keys().chain(host.revoking.keys()).copied().collect();
        let mut some: Vec<_> = has.into_iter().filter(|_| !self.dice.one_in(3)).collect();
        if self.dice.one_in(6) {
            some.extend(self.some_partition());
        }
        some.sort_unstable();
        some.dedup();
        if some.is_empty() {
            return Ok(());
        }
        self.counts.add("commit");
        match self.dice.below(8) {
            0 => by.epoch = MemberEpoch::new(epoch.get().saturating_sub(1)),
            1 => by.epoch = MemberEpoch::new(epoch.get() + 1),
            _ => {}
        }
        let offsets = some.into_iter().map(|at| self.offset_of(at)).collect();
        let commit = Commit {
            group: self.group.clone(),
            by: Some(by),
            offsets,
        };
        self.hosts[index].commits += 1;
        self.send(Request::Commit(commit))
    }

    fn read_some(&mut self) -> Held {
        self.counts.add("read");
        let partitions = self.some_partition().filter(|_| self.dice.one_in(2));
        let query = OffsetsQuery {
            group: self.group.clone(),
            partitions: partitions.map(|at| vec![at]),
        };
        let token = self.token(Asked::Other);
        self.step(Input::Request(token, Request::Offsets(query)))
    }

    /// What an administrator does: most of it is refused as long as there are members.
    fn administrate(&mut self) -> Held {
        let Some(at) = self.some_partition() else {
            return Ok(());
        };
        let group = self.group.clone();
        let validate_only = self.dice.one_in(3);
        match self.dice.below(4) {
            0 => {
                self.counts.add("delete");
                self.send(Request::Delete { group, validate_only })
            }
            1 => {
                self.counts.add("reset");
                let to = match self.dice.one_in(3) && self.expected(at).is_some() {
                    // Offsets of the model count up, and never meet.
                    true => MoveTo::Shift {
                        by: 0,
                        within: (Offset::ZERO, Offset::MAX),
                    },
                    false => MoveTo::Offset(Offset::new(self.serial())),
                };
                let offsets = vec![(at, to)];
                self.send(Request::Reset(Reset {
                    group,
                    offsets,
                    validate_only,
                }))
            }
            2 => {
                self.counts.add("expiry");
                let week = Duration::from_secs(8 * 24 * 60 * 60);
                // Only the wall's clock: nobody's session ends.
                self.wall = self
                    .wall
                    .plus_millis(i64::try_from(week.as_millis()).unwrap_or(0));
                Ok(())
            }
            _ => {
                self.counts.add("admin-commit");
                let offsets = vec![self.offset_of(at)];
                self.send(Request::Commit(Commit {
                    group,
                    by: None,
                    offsets,
                }))
            }
        }
    }

    fn change_topics(&mut self) -> Held {
        self.counts.add("topics");
        self.topics.change(&mut self.dice);
        self.step(Input::TopicsChanged)
    }

    fn get_stuck(&mut self) -> Held {
        self.counts.add("stuck");
        self.stuck = !self.stuck;
        if !self.stuck {
            self.committed = self.log.len();
        }
        self.release()
    }

    fn cancel(&mut self) -> Held {
        self.counts.add("cancel");
        let Some(index) = self.alive() else { return Ok(()) };
        let Some(out) = self.hosts[index].outstanding.take() else {
            return Ok(());
        };
        self.step(Input::Cancel(out.token))
    }

    fn look(&mut self) -> Held {
        self.counts.add("describe");
        let group = self.group.clone();
        for request in [Request::Describe(group), Request::List] {
            let token = self.token(Asked::Other);
            self.step(Input::Request(token, request))?;
        }
        Ok(())
    }
}
