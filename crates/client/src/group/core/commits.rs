//! Commits, one after the other: a later one never overtakes an earlier one that is tried again, so that the committed
//! offset goes where the application said last. Pure.

use super::Core;
use super::types::{CommitId, Effect, Link, Wanted};
use crate::consumer::{Key, Start, StreamId};
use crate::group::error::CommitError;
use crate::moment::Moment;
use quipu_proto::Failure;
use quipu_record::Offset;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug)]
struct Pending {
    id: CommitId,
    offsets: Vec<Wanted>,
    deadline: Moment,
    /// It was sent on this stream, and not answered.
    sent: Option<StreamId>,
    not_before: Moment,
    /// An earlier sending may have taken effect: whatever becomes of this one, it cannot be said that nothing was
    /// committed.
    in_doubt: bool,
    last: Option<Failure>,
}

impl Pending {
    /// How it ends if it goes no further.
    fn failed(&self, error: CommitError) -> CommitError {
        if self.in_doubt || self.sent.is_some() {
            let last = error.to_string();
            return CommitError::OutcomeUnknown { last };
        }
        error
    }
}

/// Commits that are not answered yet. Only the first is on its way.
#[derive(Debug, Default)]
pub(super) struct Commits {
    pending: VecDeque<Pending>,
    next: u64,
}

impl Commits {
    pub(super) fn push(&mut self, offsets: Vec<Wanted>, deadline: Moment) -> CommitId {
        let id = CommitId(self.next + 1);
        self.next += 1;
        self.pending.push_back(Pending {
            id,
            offsets,
            deadline,
            sent: None,
            not_before: Moment::default(),
            in_doubt: false,
            last: None,
        });
        id
    }

    /// Whether one of these partitions is in a commit that has no answer yet.
    pub(super) fn involve(&self, keys: &[Key]) -> bool {
        let mut offsets = self.pending.iter().flat_map(|pending| &pending.offsets);
        offsets.any(|offset| keys.contains(&offset.key))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// What was on its way may have arrived or not: doing it again does no harm.
    pub(super) fn stream_ended(&mut self) {
        for pending in &mut self.pending {
            pending.in_doubt |= pending.sent.take().is_some();
        }
    }

    /// Sends the first on this stream, unless it is out. `held`: whether an offset's partition is still this member's under
    /// that epoch.
    pub(super) fn send(
        &mut self,
        now: Moment,
        stream: StreamId,
        held: impl Fn(&Wanted) -> bool,
        effects: &mut VecDeque<Effect>,
    ) {
        while let Some(first) = self.pending.front_mut() {
            if first.sent.is_some() || first.not_before > now {
                return;
            }
            let gone = first.offsets.iter().find(|offset| !held(offset));
            if let Some(gone) = gone {
                let error = first.failed(CommitError::not_assigned(&gone.key));
                self.finish(Err(error), effects);
                continue;
            }
            first.sent = Some(stream);
            effects.push_back(Effect::Commit {
                commit: first.id,
                offsets: first.offsets.clone(),
            });
            return;
        }
    }

    /// The answer to the first came: which offsets it was, if they are committed now.
    pub(super) fn answered(
        &mut self,
        stream: StreamId,
        id: CommitId,
        failure: Option<(Key, Failure)>,
        again_at: Moment,
        effects: &mut VecDeque<Effect>,
    ) -> Option<Vec<Wanted>> {
        let first = self
            .pending
            .front_mut()
            .filter(|first| first.id == id && first.sent == Some(stream))?;
        match failure {
            None => {
                let offsets = first.offsets.clone();
                self.finish(Ok(()), effects);
                Some(offsets)
            }
            Some((_, failure)) if failure.retryable => {
                first.sent = None;
                // Whoever said it may have been on the way to do it: no code promises otherwise.
                first.in_doubt = true;
                first.not_before = again_at;
                first.last = Some(failure);
                None
            }
            Some((key, failure)) => {
                first.sent = None;
                let error = first.failed(CommitError::refused(key, failure));
                self.finish(Err(error), effects);
                None
            }
        }
    }

    /// Ends those whose time is up.
    pub(super) fn expire(&mut self, now: Moment, effects: &mut VecDeque<Effect>) {
        let mut kept = VecDeque::new();
        for pending in self.pending.drain(..) {
            if pending.deadline > now {
                kept.push_back(pending);
                continue;
            }
            let last = pending
                .last
                .map_or_else(|| "no answer came".to_owned(), |failure| failure.to_string());
            effects.push_back(Effect::Committed {
                commit: pending.id,
                result: Err(CommitError::OutcomeUnknown { last }),
            });
        }
        self.pending = kept;
    }

    /// Nothing can be committed any more.
    pub(super) fn fail_all(&mut self, error: &CommitError, effects: &mut VecDeque<Effect>) {
        while let Some(first) = self.pending.front() {
            let error = first.failed(error.clone());
            self.finish(Err(error), effects);
        }
    }

    /// When [`Commits::send`] or [`Commits::expire`] is wanted though nothing happens.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        let again = self.pending.front().filter(|first| first.sent.is_none());
        let again = again.map(|first| first.not_before).filter(|at| *at > now);
        let deadlines = self.pending.iter().map(|pending| pending.deadline);
        deadlines.chain(again).min()
    }

    fn finish(&mut self, result: Result<(), CommitError>, effects: &mut VecDeque<Effect>) {
        if let Some(first) = self.pending.pop_front() {
            let commit = first.id;
            effects.push_back(Effect::Committed { commit, result });
        }
    }
}

impl Core {
    /// Commits these offsets; of all that moved if none is given. `None`: there is nothing to commit.
    ///
    /// # Errors
    /// One of the partitions is not this member's.
    pub(crate) fn commit(
        &mut self,
        now: Moment,
        offsets: Vec<(Key, Offset, String)>,
        within: Duration,
    ) -> Result<Option<CommitId>, CommitError> {
        if let Some(failure) = &self.refused {
            return Err(CommitError::Ended(failure.clone()));
        }
        let mut wanted = Vec::with_capacity(offsets.len());
        for (key, next, metadata) in offsets {
            let partition = self.partitions.get_mut(&key);
            let partition = partition.ok_or_else(|| CommitError::not_assigned(&key))?;
            partition.moved = true;
            let epoch = partition.epoch;
            wanted.push(Wanted {
                key,
                next,
                epoch,
                metadata,
            });
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let id = self.commits.push(wanted, now.after(within));
        self.send_commits(now);
        Ok(Some(id))
    }

    /// Where every partition stands whose place is worth a commit.
    pub(crate) fn uncommitted(&self) -> Vec<(Key, Offset, String)> {
        let moved = self.partitions.iter().filter(|(_, partition)| partition.moved);
        let places = moved.filter_map(|(key, partition)| match partition.place {
            Start::Offset(place) if partition.committed != Some(place) => {
                Some((key.clone(), place, String::new()))
            }
            _ => None,
        });
        places.collect()
    }

    /// Whether a commit has no answer yet that names one of these partitions.
    pub(crate) fn committing(&self, keys: &[Key]) -> bool {
        self.commits.involve(keys)
    }

    /// The answer to a commit came: `failure` if it was not done.
    pub(crate) fn committed(
        &mut self,
        now: Moment,
        stream: StreamId,
        id: CommitId,
        failure: Option<(Key, Failure)>,
    ) {
        let pause = self.commit_backoff.next(self.settings.limits, &mut self.jitter);
        let again_at = now.after(pause);
        let done = self
            .commits
            .answered(stream, id, failure, again_at, &mut self.effects);
        if let Some(offsets) = done {
            self.commit_backoff.reset();
            for offset in offsets {
                if let Some(partition) = self.partitions.get_mut(&offset.key)
                    && partition.epoch == offset.epoch
                {
                    partition.committed = Some(offset.next);
                }
            }
        }
        self.send_commits(now);
    }

    pub(super) fn send_commits(&mut self, now: Moment) {
        let Link::Open { stream } = self.link else {
            return;
        };
        let partitions = &self.partitions;
        let held = |offset: &Wanted| {
            let partition = partitions.get(&offset.key);
            partition.is_some_and(|partition| partition.confirmed && partition.epoch == offset.epoch)
        };
        self.commits.send(now, stream, held, &mut self.effects);
    }

    /// No commit waits for an answer.
    pub(crate) fn settled(&self) -> bool {
        self.commits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::AssignmentEpoch;
    use quipu_record::{ErrorCode, PartitionId};

    const STREAMS: [StreamId; 2] = [StreamId(1), StreamId(2)];

    fn begun(effects: &mut VecDeque<Effect>) -> Commits {
        let mut commits = Commits::default();
        let wanted = Wanted {
            key: Key {
                topic: "t".into(),
                partition: PartitionId::new(0),
            },
            next: Offset::new(3),
            epoch: AssignmentEpoch::new(1),
            metadata: String::new(),
        };
        let now = Moment::default();
        commits.push(vec![wanted], now.after(Duration::from_secs(30)));
        commits.send(now, STREAMS[0], |_| true, effects);
        effects.clear();
        commits
    }

    fn end(effects: &mut VecDeque<Effect>) -> CommitError {
        match effects.pop_front() {
            Some(Effect::Committed {
                result: Err(error), ..
            }) => error,
            other => panic!("it did not fail: {other:?}"),
        }
    }

    #[test]
    fn a_commit_that_may_have_arrived_is_never_said_to_be_refused() {
        let (now, mut effects) = (Moment::default(), VecDeque::new());
        let mut commits = begun(&mut effects);
        commits.stream_ended();
        commits.send(now, STREAMS[1], |_| false, &mut effects);
        let lost = end(&mut effects);
        assert!(matches!(lost, CommitError::OutcomeUnknown { .. }), "{lost}");

        let mut commits = begun(&mut effects);
        let ended = CommitError::Ended(Failure::new(ErrorCode::FencedMemberEpoch, "gone"));
        commits.fail_all(&ended, &mut effects);
        let under_way = end(&mut effects);
        assert!(
            matches!(under_way, CommitError::OutcomeUnknown { .. }),
            "{under_way}"
        );
    }

    #[test]
    fn a_commit_that_was_answered_with_a_refusal_is_refused() {
        let (now, mut effects) = (Moment::default(), VecDeque::new());
        let mut commits = begun(&mut effects);
        let first = commits.pending.front().expect("it is under way");
        let (id, key) = (first.id, first.offsets[0].key.clone());
        let failure = Failure::new(ErrorCode::StaleAssignment, "another's");
        commits.answered(STREAMS[0], id, Some((key, failure)), now, &mut effects);
        let refused = end(&mut effects);
        assert!(matches!(refused, CommitError::Refused { .. }), "{refused}");
    }
}
