//! What the member has, and how far the client is in it.

use super::{Changed, Joined, Member, MemberEffect, Notice, backoff};
use crate::{
    AssignedPartition, AssignmentEpoch, GroupError, HeartbeatAnswer, OffsetsQuery, Request, RequestToken,
    Response,
};
use quipu_record::{Offset, PlantedBug, Tick, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An answer with committed offsets may take so long; then the question is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A partition that the member has.
#[derive(Debug)]
pub(super) struct Held {
    /// Since when.
    pub(super) epoch: AssignmentEpoch,
    /// Tells this time of having it from any other.
    pub(super) born: u64,
    stage: Stage,
    /// The client was told that it has it, whether or not it has begun.
    named: bool,
    /// The client was told why it does not begin yet.
    excused: bool,
    /// The end of what was sent since the cursor was last moved.
    sent: Option<Offset>,
    /// Everything below was processed; since the cursor was last moved.
    acked: Option<Offset>,
    /// Acknowledged, and in no commit yet.
    pub(super) uncommitted: Option<Offset>,
    /// The last offset that the coordinator has remembered.
    committed: Option<Offset>,
    /// Commits of it that are out or wait.
    pub(super) pending: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its committed offset is being read.
    Reading,
    /// The place in the log is being found.
    Opening,
    /// Data flows.
    Live,
    /// To be given up.
    Revoking {
        /// When it is lost.
        until: Tick,
        /// The client said that it is done with it.
        released: bool,
    },
}

impl Held {
    fn new(epoch: AssignmentEpoch, born: u64, stage: Stage, named: bool) -> Self {
        Self {
            epoch,
            born,
            stage,
            named,
            excused: false,
            sent: None,
            acked: None,
            uncommitted: None,
            committed: None,
            pending: 0,
        }
    }

    pub(super) fn open(&mut self) -> bool {
        let opening = self.is_opening();
        if opening {
            self.stage = Stage::Live;
            self.named = true;
        }
        opening
    }

    /// Whether the client is to be told now that it does not begin.
    pub(super) fn excuse(&mut self) -> bool {
        let news = self.is_opening() && !std::mem::replace(&mut self.excused, true);
        self.named |= news;
        news
    }

    pub(super) fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    pub(super) fn is_opening(&self) -> bool {
        self.stage == Stage::Opening
    }

    pub(super) fn is_revoking(&self) -> bool {
        matches!(self.stage, Stage::Revoking { .. })
    }

    /// Whether it is being opened, or data flows.
    pub(super) fn is_started(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Live)
    }

    /// Whether the client knows of it.
    pub(super) const fn is_known(&self) -> bool {
        self.named
    }

    /// The coordinator remembers it up to here.
    pub(super) fn remembered(&mut self, offset: Offset) {
        self.committed = self.committed.max(Some(offset));
    }

    /// The client commits it up to here: it was processed.
    pub(super) fn processed(&mut self, offset: Offset) {
        self.acked = self.acked.max(Some(offset));
        if self.uncommitted.is_some_and(|uncommitted| uncommitted <= offset) {
            self.uncommitted = None;
        }
    }

    /// Whether everything that was sent was processed.
    pub(super) fn is_processed(&self) -> bool {
        self.sent <= self.acked
    }

    /// Whether it can be given up: nothing is left to commit, and nothing to process unless the client says so.
    fn is_settled(&self, auto: bool, acknowledges: bool) -> bool {
        let Stage::Revoking { released, .. } = self.stage else {
            return false;
        };
        if PlantedBug::TwoOwners.planted() {
            return true;
        }
        let done = match auto {
            true => self.uncommitted.is_none() && (released || (!acknowledges && self.is_processed())),
            false => released || (!acknowledges && self.sent <= self.committed),
        };
        done && self.pending == 0
    }
}

/// Partitions that are asked for, each since when the member has it.
type Asked = Vec<(TopicPartition, AssignmentEpoch)>;

/// Reading committed offsets: one question at a time.
#[derive(Debug, Default)]
pub(super) struct Reads {
    out: Option<(RequestToken, Asked, Tick)>,
    answered: Asked,
    again: Option<Tick>,
    failures: u32,
    wanted: BTreeSet<TopicPartition>,
}

impl Reads {
    pub(super) fn deadline(&self) -> Option<Tick> {
        match &self.out {
            Some((_, _, sent)) => Some(sent.after(PATIENCE)),
            None => self.again.filter(|_| !self.wanted.is_empty()),
        }
    }

    pub(super) fn take(&mut self, token: RequestToken) -> bool {
        match self.out.take_if(|(out, _, _)| *out == token) {
            Some((_, asked, _)) => {
                self.answered = asked;
                true
            }
            None => false,
        }
    }

    /// What was asked for is asked for again in a moment.
    fn failed(&mut self, asked: Asked, now: Tick) {
        self.wanted.extend(asked.into_iter().map(|(at, _)| at));
        self.again = Some(now.after(backoff(self.failures)));
        self.failures = self.failures.saturating_add(1);
    }
}

impl Member {
    /// Begins with what the coordinator says that this member has: the client is told all of it.
    pub(super) fn welcome(&mut self, answer: &HeartbeatAnswer, now: Tick, effects: &mut Vec<MemberEffect>) {
        let joined = Joined {
            epoch: answer.epoch,
            assigned: answer.assignment.clone().unwrap_or_default(),
            revoking: answer.revoking.clone(),
            left: answer.revocation_left.unwrap_or_default(),
        };
        for one in &joined.assigned {
            self.hold(one, Stage::Reading, true);
            self.reads.wanted.insert(one.at);
        }
        let revoking = Stage::Revoking {
            until: now.after(joined.left),
            released: false,
        };
        for one in &joined.revoking {
            self.hold(one, revoking, true);
        }
        self.recount();
        effects.push(MemberEffect::Tell(Notice::Joined(joined)));
    }

    fn hold(&mut self, one: &AssignedPartition, stage: Stage, named: bool) {
        self.last_born += 1;
        let held = Held::new(one.epoch, self.last_born, stage, named);
        self.held.insert(one.at, held);
    }

    /// Takes over what the coordinator says that this member shall have. Whether that is anything new.
    pub(super) fn assign(
        &mut self,
        answer: &HeartbeatAnswer,
        now: Tick,
        changed: &mut Changed,
        effects: &mut Vec<MemberEffect>,
    ) -> bool {
        let Some(assignment) = &answer.assignment else {
            return false;
        };
        let kept: BTreeSet<_> = assignment
            .iter()
            .map(|assigned| (assigned.at, assigned.epoch))
            .collect();
        let beyond: Vec<_> = self
            .held
            .iter()
            .filter(|(at, held)| held.is_revoking() || !kept.contains(&(**at, held.epoch)))
            .map(|(at, _)| *at)
            .collect();
        let revoking: BTreeSet<_> = answer.revoking.iter().map(|one| (one.at, one.epoch)).collect();
        let left = answer.revocation_left.unwrap_or_default();
        let mut news = false;
        for at in beyond {
            let since = self.held.get(&at).map(|held| held.epoch);
            // What this member has given up, and the coordinator has not heard of, is not held any more, and not taken back.
            if since.is_some_and(|since| revoking.contains(&(at, since))) {
                news |= self.revoke(at, left, now, changed, effects);
            } else {
                self.lose(at, changed, effects);
                news = true;
            }
        }
        for one in assignment {
            if !self.held.contains_key(&one.at) {
                self.hold(one, Stage::Reading, false);
                self.reads.wanted.insert(one.at);
                news = true;
            }
        }
        if news {
            self.recount();
        }
        news
    }

    fn revoke(
        &mut self,
        at: TopicPartition,
        left: Duration,
        now: Tick,
        changed: &mut Changed,
        effects: &mut Vec<MemberEffect>,
    ) -> bool {
        let Some(held) = self.held.get_mut(&at) else {
            return false;
        };
        match held.stage {
            Stage::Revoking { .. } => return false,
            _ if !held.named => {
                effects.extend(held.is_started().then_some(MemberEffect::Stop(at)));
                self.held.remove(&at);
            }
            // A client that was told of it has it, though it has not begun here: it is told, and may take its time.
            Stage::Reading | Stage::Opening | Stage::Live => {
                effects.extend(held.is_started().then_some(MemberEffect::Stop(at)));
                held.stage = Stage::Revoking {
                    until: now.after(left),
                    released: false,
                };
                changed.left = left;
                changed.revoked.push(at);
                // What was acknowledged is committed at once.
                self.commits.hurry();
            }
        }
        true
    }

    fn lose(&mut self, at: TopicPartition, changed: &mut Changed, effects: &mut Vec<MemberEffect>) {
        let Some(held) = self.held.remove(&at) else {
            return;
        };
        effects.extend(held.is_started().then_some(MemberEffect::Stop(at)));
        changed.lost.extend(held.is_known().then_some(at));
    }

    /// Looks anew for when the first that is being revoked is lost.
    fn recount(&mut self) {
        let until = |held: &Held| match held.stage {
            Stage::Revoking { until, .. } => Some(until),
            _ => None,
        };
        self.revoked_until = self.held.values().filter_map(until).min();
        self.holdings += 1;
    }

    /// Takes away what was not given up in time.
    pub(super) fn revoke_overdue(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        if self.revoked_until.is_none_or(|until| until > now) {
            return;
        }
        let overdue = |held: &Held| matches!(held.stage, Stage::Revoking { until, .. } if until <= now);
        let overdue = self.held.iter().filter(|(_, held)| overdue(held));
        let overdue: Vec<_> = overdue.map(|(at, _)| *at).collect();
        self.lost(overdue, effects);
    }

    /// Somebody else may have these.
    pub(super) fn lost(&mut self, partitions: Vec<TopicPartition>, effects: &mut Vec<MemberEffect>) {
        let mut changed = Changed {
            epoch: self.epoch,
            ..Changed::default()
        };
        for at in partitions {
            self.lose(at, &mut changed, effects);
        }
        self.recount();
        if !changed.lost.is_empty() && self.ending.is_none() {
            effects.push(MemberEffect::Tell(Notice::Changed(changed)));
        }
    }

    /// Gives up what can be given up: the next heartbeat says so.
    pub(super) fn release(&mut self) {
        if self.revoked_until.is_none() {
            return;
        }
        let (auto, before) = (self.config.auto_commit.is_some(), self.held.len());
        let acknowledges = self.config.acknowledges_revocations;
        self.held.retain(|_, held| !held.is_settled(auto, acknowledges));
        if self.held.len() < before {
            self.recount();
        }
    }

    pub(super) fn sent(&mut self, at: TopicPartition, next: Offset) {
        if let Some(held) = self.held.get_mut(&at).filter(|held| held.is_live()) {
            held.sent = Some(next);
            if PlantedBug::CommitUnprocessed.planted() {
                held.uncommitted = Some(next);
            }
        }
    }

    pub(super) fn sought(&mut self, at: TopicPartition) {
        if let Some(held) = self.held.get_mut(&at) {
            held.sent = None;
            held.acked = None;
        }
    }

    pub(super) fn ack(
        &mut self,
        at: TopicPartition,
        epoch: Option<AssignmentEpoch>,
        next: Offset,
        now: Tick,
    ) {
        let held = self.held.get_mut(&at).filter(|held| held.is_known());
        let Some(held) = held.filter(|held| epoch.is_none_or(|epoch| epoch == held.epoch)) else {
            return;
        };
        if held.acked.is_some_and(|acked| next <= acked) {
            return;
        }
        held.acked = Some(next);
        held.uncommitted = Some(next);
        // A stream before this one sent it, and broke before its commit: that is late already.
        let elsewhere = held.sent < Some(next);
        let hurry = elsewhere || (held.is_revoking() && held.is_processed());
        if let Some(every) = self.config.auto_commit {
            self.commits.due(now.after(every));
            if hurry {
                self.commits.hurry();
            }
        }
    }

    pub(super) fn give_up(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            if let Some(Held {
                stage: Stage::Revoking { released, .. },
                ..
            }) = self.held.get_mut(at)
            {
                *released = true;
                self.commits.hurry();
            }
        }
    }

    pub(super) fn pump_reads(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        if self.ending.is_some() {
            return;
        }
        if let Some((_, asked, _)) = self.reads.out.take_if(|(_, _, sent)| sent.after(PATIENCE) <= now) {
            self.reads.failed(asked, now);
        }
        if self.reads.out.is_some() || self.reads.again.is_some_and(|again| again > now) {
            return;
        }
        self.reads.again = None;
        let wanted = std::mem::take(&mut self.reads.wanted).into_iter();
        let wanted: Vec<_> = wanted
            .filter_map(|at| {
                let held = self.held.get(&at).filter(|held| held.stage == Stage::Reading)?;
                Some((at, held.epoch))
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let token = self.token();
        let query = OffsetsQuery {
            group: self.config.group.clone(),
            partitions: Some(wanted.iter().map(|(at, _)| *at).collect()),
        };
        effects.push(MemberEffect::Ask(token, Request::Offsets(query)));
        self.reads.out = Some((token, wanted, now));
    }

    pub(super) fn offsets_answered(
        &mut self,
        answer: Result<Response, GroupError>,
        now: Tick,
        effects: &mut Vec<MemberEffect>,
    ) {
        let asked = std::mem::take(&mut self.reads.answered);
        let Ok(Response::Offsets(offsets)) = answer else {
            return self.reads.failed(asked, now);
        };
        self.reads.failures = 0;
        let offsets: BTreeMap<_, _> = offsets.into_iter().collect();
        for (at, epoch) in asked {
            let wants = |held: &&mut Held| held.epoch == epoch && held.stage == Stage::Reading;
            let Some(held) = self.held.get_mut(&at).filter(wants) else {
                continue;
            };
            let Some(committed) = offsets.get(&at) else {
                self.reads.wanted.insert(at);
                self.reads.again = Some(now.after(backoff(0)));
                continue;
            };
            held.stage = Stage::Opening;
            effects.push(MemberEffect::Start {
                at,
                epoch,
                committed: committed.as_ref().map(|committed| committed.offset),
            });
        }
    }
}
