//! Who consumes: takes what comes, processes it in a while, says so, and comes back when its stream breaks.

use super::shared::{Event, Said, Shared, StreamIndex, Told};
use super::stream::Opening;
use quipu_coordinator::{AssignmentEpoch, GroupId, InstanceId, Mark, MemberEpoch, MemberId, StreamNumber};
use quipu_record::{Offset, Tick, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
struct Work {
    at: TopicPartition,
    epoch: AssignmentEpoch,
    from: Offset,
    next: Offset,
}

/// A member's process.
#[derive(Debug)]
pub(super) struct Client {
    index: usize,
    pub(super) group: GroupId,
    member: MemberId,
    /// Members that it was before.
    lives: usize,
    pub(super) instance: Option<InstanceId>,
    pub(super) topics: Vec<Arc<str>>,
    auto: bool,
    /// It says itself when it has given something up.
    acknowledges: bool,
    epoch: Option<MemberEpoch>,
    /// Streams that it has opened.
    streams: u64,
    /// It says so.
    counts: bool,
    pub(super) stream: Option<StreamIndex>,
    work: VecDeque<Work>,
    /// To be given up once nothing of it is left to do.
    revoked: Vec<TopicPartition>,
    /// Processed and not committed, where it commits by itself.
    uncommitted: BTreeMap<TopicPartition, (AssignmentEpoch, Offset)>,
    commits: u64,
    pub(super) slow_until: Tick,
    /// It will not come back.
    pub(super) gone: bool,
    said_at: Tick,
}

impl Client {
    pub(super) fn new(
        index: usize,
        group: GroupId,
        instance: Option<InstanceId>,
        topics: Vec<Arc<str>>,
        shared: &mut Shared,
    ) -> Option<Self> {
        let member = MemberId::new(&format!("member-{index}")).ok()?;
        let wait = shared.chance.millis(50);
        shared.schedule.after(wait, Event::Client(index));
        Some(Self {
            index,
            group,
            member,
            lives: 0,
            instance,
            topics,
            auto: !shared.chance.one_in(3),
            acknowledges: shared.chance.one_in(2),
            epoch: None,
            streams: 0,
            counts: !shared.chance.one_in(4),
            stream: None,
            work: VecDeque::new(),
            revoked: Vec::new(),
            uncommitted: BTreeMap::new(),
            commits: 0,
            slow_until: Tick::default(),
            gone: false,
            said_at: Tick::default(),
        })
    }

    /// Its connection is gone: it comes back as the same member if it was one.
    pub(super) fn disconnected(&mut self) {
        self.stream = None;
        if self.epoch.is_none() {
            self.lives += 1;
            if let Ok(member) = MemberId::new(&format!("member-{}-{}", self.index, self.lives)) {
                self.member = member;
            }
        }
        // What it has not processed comes again.
        self.work.clear();
        self.revoked.clear();
        self.uncommitted.clear();
    }

    pub(super) fn opening(&mut self) -> Opening {
        self.streams += 1;
        Opening {
            client: self.index,
            group: self.group.clone(),
            member: self.member.clone(),
            epoch: self.epoch,
            number: self.counts.then(|| StreamNumber::new(self.streams)),
            instance: self.instance.clone(),
            topics: self.topics.clone(),
            auto: self.auto,
            acknowledges: self.acknowledges,
        }
    }

    pub(super) const fn member(&self) -> &MemberId {
        &self.member
    }

    pub(super) fn told(&mut self, shared: &mut Shared, told: Told) {
        match told {
            Told::Epoch(epoch) => self.epoch = Some(epoch),
            Told::Data {
                at,
                epoch,
                from,
                next,
            } => self.work.push_back(Work {
                at,
                epoch,
                from,
                next,
            }),
            Told::Revoked(partitions) => {
                if shared.chance.one_in(3) {
                    // It does not care to process the rest.
                    self.work.retain(|work| !partitions.contains(&work.at));
                    self.say(shared, Said::GiveUp(partitions));
                } else if self.acknowledges {
                    self.revoked.extend(partitions);
                }
            }
            Told::Lost(partitions) => {
                self.work.retain(|work| !partitions.contains(&work.at));
                self.revoked.retain(|at| !partitions.contains(at));
                self.uncommitted.retain(|at, _| !partitions.contains(at));
            }
            Told::Anew => {
                self.epoch = None;
                self.say(shared, Said::Something);
            }
            Told::Over => {
                self.epoch = None;
                self.disconnected();
            }
        }
    }

    /// Works off some of what it has; says when it wants to go on.
    pub(super) fn act(&mut self, shared: &mut Shared) {
        let many = 1 + shared.chance.below(12);
        for _ in 0..many {
            let Some(work) = self.work.pop_front() else { break };
            shared
                .truth
                .process((self.group.clone(), work.at), work.from, work.next);
            if self.auto {
                let Work { at, epoch, next, .. } = work;
                self.say(shared, Said::Ack { at, epoch, next });
            } else {
                self.uncommitted.insert(work.at, (work.epoch, work.next));
            }
        }
        if !self.uncommitted.is_empty() && (self.work.is_empty() || shared.chance.one_in(4)) {
            let marks = std::mem::take(&mut self.uncommitted).into_iter();
            let marks = marks.map(|(at, (epoch, next))| Mark {
                at,
                epoch: Some(epoch),
                next,
                metadata: "".into(),
            });
            self.commits += 1;
            let commit = Said::Commit(self.commits, marks.collect());
            self.say(shared, commit);
        }
        let busy = |at: &TopicPartition| {
            self.uncommitted.contains_key(at) || self.work.iter().any(|work| work.at == *at)
        };
        let (busy, done): (Vec<_>, Vec<_>) = self.revoked.drain(..).partition(busy);
        self.revoked = busy;
        if !done.is_empty() {
            self.say(shared, Said::GiveUp(done));
        }
    }

    pub(super) fn say(&mut self, shared: &mut Shared, said: Said) {
        if let Some(stream) = self.stream {
            let wait = shared.chance.millis(4);
            self.said_at = self.said_at.max(shared.now().after(wait));
            shared.schedule.at(self.said_at, Event::ToHost { stream, said });
        }
    }
}
