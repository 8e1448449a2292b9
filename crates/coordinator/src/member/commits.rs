//! Commits: one is out at a time, and each has a number, so that none overtakes another, not even a try that was given up
//! and arrives late; the client's own in their order, what was acknowledged from time to time.

use super::{Member, MemberEffect, Notice, backoff};
use crate::{
    AssignmentEpoch, Commit, CommitNumber, Committer, GroupError, OffsetCommit, Request, RequestToken,
    Response,
};
use quipu_record::{ErrorCode, Offset, Tick, TopicPartition};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// An answer may take so long; then the question is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long a client's commit is tried again; what is committed for it, for as long as the partition is there.
const TRIES: Duration = Duration::from_secs(30);

/// How far a partition was processed, as a client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The partition.
    pub at: TopicPartition,
    /// As it was told; `None`: the present one.
    pub epoch: Option<AssignmentEpoch>,
    /// The next offset to process.
    pub next: Offset,
    /// Whatever the client wants to remember with it.
    pub metadata: Arc<str>,
}

/// Commits of one stream.
#[derive(Debug, Default)]
pub(super) struct Commits {
    out: Option<Out>,
    /// So many were made.
    made: u64,
    queue: VecDeque<Batch>,
    /// When what was acknowledged is committed; `None`: nothing was, or at once.
    due: Option<Tick>,
    hurry: bool,
    /// When what failed is tried again.
    again: Option<Tick>,
}

/// Offsets that are committed together.
#[derive(Debug)]
struct Batch {
    /// `None`: automatic.
    request: Option<u64>,
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Item {
    at: TopicPartition,
    /// Which time of having it.
    born: u64,
    next: Offset,
    metadata: Arc<str>,
}

#[derive(Debug)]
struct Out {
    batch: Batch,
    /// The same however often it is tried: so the coordinator knows a try that comes after later commits.
    number: CommitNumber,
    /// `None`: it is to be tried again.
    token: Option<RequestToken>,
    sent: Tick,
    first: Tick,
    failures: u32,
}

impl Commits {
    pub(super) fn deadline(&self) -> Option<Tick> {
        match &self.out {
            Some(out) if out.token.is_some() => Some(out.sent.after(PATIENCE)),
            Some(_) => self.again,
            None => self.due,
        }
    }

    pub(super) fn take(&mut self, token: RequestToken) -> bool {
        match &mut self.out {
            Some(out) => out.token.take_if(|out| *out == token).is_some(),
            None => false,
        }
    }

    /// Something was acknowledged: it is committed then, if not before.
    pub(super) fn due(&mut self, at: Tick) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// What was acknowledged is committed as soon as can be.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is out or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_none() && self.queue.is_empty() && !self.hurry
    }
}

impl Member {
    pub(super) fn commit(&mut self, request: u64, marks: Vec<Mark>, effects: &mut Vec<MemberEffect>) {
        let items = match marks.is_empty() {
            true => Ok(self.acknowledged()),
            false => self.check(marks),
        };
        match items {
            Ok(items) => {
                for item in &items {
                    if let Some(held) = self.held.get_mut(&item.at) {
                        held.pending += 1;
                        held.processed(item.next);
                    }
                }
                let request = Some(request);
                self.commits.queue.push_back(Batch { request, items });
            }
            Err(refused) => effects.push(MemberEffect::Tell(Notice::Committed(request, refused))),
        }
    }

    /// Everything acknowledged and not committed; it is taken up.
    fn acknowledged(&mut self) -> Vec<Item> {
        let taken = self.held.iter_mut().filter_map(|(at, held)| {
            Some(Item {
                at: *at,
                born: held.born,
                next: held.uncommitted.take()?,
                metadata: Arc::from(""),
            })
        });
        taken.collect()
    }

    /// The client's marks as far as this side can tell: all are good, or each one's result.
    #[expect(clippy::type_complexity, reason = "it is what is told")]
    fn check(&self, marks: Vec<Mark>) -> Result<Vec<Item>, Vec<(TopicPartition, Result<(), GroupError>)>> {
        let mut items = Vec::with_capacity(marks.len());
        let mut stale = Vec::new();
        for mark in &marks {
            let held = self.held.get(&mark.at).filter(|held| held.is_known());
            match held.filter(|held| mark.epoch.is_none_or(|epoch| epoch == held.epoch)) {
                Some(held) => items.push(Item {
                    at: mark.at,
                    born: held.born,
                    next: mark.next,
                    metadata: Arc::clone(&mark.metadata),
                }),
                None => stale.push(mark.at),
            }
        }
        if stale.is_empty() {
            return Ok(items);
        }
        let result = |mark: Mark| match stale.contains(&mark.at) {
            true => (mark.at, Err(GroupError::StaleAssignment)),
            false => (mark.at, Err(GroupError::WithOthers(ErrorCode::StaleAssignment))),
        };
        Err(marks.into_iter().map(result).collect())
    }

    pub(super) fn pump_commits(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        if let Some(out) = &mut self.commits.out {
            if out.token.is_some() && out.sent.after(PATIENCE) <= now {
                out.token = None;
                self.commits.again = Some(now);
            }
            let waits = self.commits.again.is_some_and(|again| again > now);
            if out.token.is_none() && !waits {
                self.send_commit(now, effects);
            }
        }
        while self.commits.out.is_none() {
            let Some(batch) = self.next_batch(now) else {
                return;
            };
            if batch.items.is_empty() {
                let done = batch
                    .request
                    .map(|request| Notice::Committed(request, Vec::new()));
                effects.extend(done.map(MemberEffect::Tell));
                continue;
            }
            self.commits.made += 1;
            self.commits.out = Some(Out {
                batch,
                number: CommitNumber::new(self.commits.made),
                token: None,
                sent: now,
                first: now,
                failures: 0,
            });
            self.send_commit(now, effects);
        }
    }

    fn next_batch(&mut self, now: Tick) -> Option<Batch> {
        if let Some(batch) = self.commits.queue.pop_front() {
            return Some(batch);
        }
        let hurry = std::mem::take(&mut self.commits.hurry);
        self.config.auto_commit?;
        if !hurry && self.commits.due.is_none_or(|due| due > now) {
            return None;
        }
        self.commits.due = None;
        let items = self.acknowledged();
        for item in &items {
            if let Some(held) = self.held.get_mut(&item.at) {
                held.pending += 1;
            }
        }
        (!items.is_empty()).then_some(Batch { request: None, items })
    }

    fn send_commit(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        self.commits.again = None;
        let Some(mut out) = self.commits.out.take() else {
            return;
        };
        let owns = |item: &Item| self.held.get(&item.at).is_some_and(|held| held.born == item.born);
        let epoch = self.epoch.filter(|_| out.batch.items.iter().all(owns));
        let Some(epoch) = epoch else {
            // What was lost meanwhile may have come back, under another epoch: it is not committed under that.
            let stale = GroupError::WithOthers(ErrorCode::StaleAssignment);
            let refused = |item: &Item| match owns(item) {
                true => Err(stale.clone()),
                false => Err(GroupError::StaleAssignment),
            };
            let results = out.batch.items.iter().map(refused).collect();
            return self.settle(out.batch, results, effects);
        };
        let token = self.token();
        out.token = Some(token);
        out.sent = now;
        let commit = Commit {
            group: self.config.group.clone(),
            by: Some(Committer {
                member: self.config.member.clone(),
                epoch,
                stream: Some(self.stream),
                stream_number: self.config.stream_number,
                number: Some(out.number),
            }),
            offsets: out.batch.items.iter().map(OffsetCommit::from).collect(),
        };
        effects.push(MemberEffect::Ask(token, Request::Commit(commit)));
        self.commits.out = Some(out);
    }

    pub(super) fn commit_answered(
        &mut self,
        answer: Result<Response, GroupError>,
        now: Tick,
        effects: &mut Vec<MemberEffect>,
    ) {
        let Some(mut out) = self.commits.out.take() else {
            return;
        };
        let count = out.batch.items.len();
        let results = match answer {
            Ok(Response::Committed(results)) if results.len() == count => results,
            Ok(_) => {
                let error = GroupError::host(ErrorCode::Internal, "the answer is to another question");
                vec![Err(error); count]
            }
            Err(error) => vec![Err(error); count],
        };
        let retryable = |result: &Result<(), GroupError>| result.as_ref().is_err_and(GroupError::retryable);
        let patient = out.batch.request.is_none() || now < out.first.after(TRIES);
        if results.iter().any(retryable) && patient {
            self.commits.again = Some(now.after(backoff(out.failures)));
            out.failures = out.failures.saturating_add(1);
            self.commits.out = Some(out);
            return;
        }
        if results.iter().any(fenced) && self.ending.is_none() {
            // What the coordinator says that this member has is not what this side knows.
            self.beats.look(now);
        }
        self.settle(out.batch, results, effects);
    }

    /// A commit is decided.
    fn settle(
        &mut self,
        batch: Batch,
        results: Vec<Result<(), GroupError>>,
        effects: &mut Vec<MemberEffect>,
    ) {
        let Batch { request, items } = batch;
        let failed = results.iter().any(Result::is_err);
        if failed && request.is_none() && items.len() > 1 {
            // All or none: one that is refused does not keep the others.
            let each = items.into_iter().map(|item| Batch {
                request,
                items: vec![item],
            });
            self.commits.queue.extend(each);
            return;
        }
        for (item, result) in items.iter().zip(&results) {
            let held = self.held.get_mut(&item.at).filter(|held| held.born == item.born);
            if let Some(held) = held {
                held.pending = held.pending.saturating_sub(1);
                if result.is_ok() {
                    held.remembered(item.next);
                }
            }
        }
        if failed || request.is_some() {
            let told = items.iter().map(|item| item.at).zip(results).collect();
            effects.push(MemberEffect::Tell(Notice::Committed(
                request.unwrap_or_default(),
                told,
            )));
        }
    }

    /// The member has nothing any more: what waits will never be, what is out is not known.
    pub(super) fn fail_commits(&mut self, effects: &mut Vec<MemberEffect>) {
        let made = self.commits.made;
        let commits = std::mem::replace(
            &mut self.commits,
            Commits {
                made,
                ..Commits::default()
            },
        );
        let out = commits.out.map(|out| (out.batch, true));
        let waiting = commits.queue.into_iter().map(|batch| (batch, false));
        for (batch, asked) in out.into_iter().chain(waiting) {
            let error = match asked {
                true => GroupError::host(
                    ErrorCode::RequestTimedOut,
                    "the partition is lost; whether the offset was remembered is unknown",
                ),
                false => GroupError::StaleAssignment,
            };
            let told = batch
                .items
                .iter()
                .map(|item| (item.at, Err(error.clone())))
                .collect();
            let request = batch.request.unwrap_or_default();
            effects.push(MemberEffect::Tell(Notice::Committed(request, told)));
        }
    }
}

fn fenced(result: &Result<(), GroupError>) -> bool {
    let code = result.as_ref().err().map(GroupError::code);
    matches!(
        code,
        Some(ErrorCode::StaleAssignment | ErrorCode::UnknownMember | ErrorCode::FencedMemberEpoch)
    )
}

impl From<&Item> for OffsetCommit {
    fn from(item: &Item) -> Self {
        Self {
            at: item.at,
            offset: item.next,
            leader_epoch: None,
            metadata: Arc::clone(&item.metadata),
        }
    }
}
