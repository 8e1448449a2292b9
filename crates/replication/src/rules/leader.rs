//! A leader: from when it leads, whom it counts, what it lets in, and who waits for what.

use super::follower_fetch::same_epoch;
use super::followers::Followers;
use super::high_watermark::{self, Progress};
use super::isr::{MaximalIsr, ReplicaSet};
use super::isr_change::Standing;
use super::vouch;
use super::waiting::{Waiter, Waiting};
use crate::answer::{Acks, Answer, Appended, Reached, Token};
use crate::clock::Tick;
use crate::config::Durability;
use crate::error::ProduceError;
use crate::fetch::{FollowerFetch, FollowerHeard};
use crate::input::{LeaderRecord, Leadership};
use crate::isr_change::{IsrAnswered, IsrProposal, IsrRefusal, IsrResult};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch, PlantedBug};
use std::time::Duration;

/// After a refusal nothing is proposed for so long: what was refused would be refused again.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// The leader's part of a replica's state. It ends with its epoch: nothing of it is carried into the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    start: Offset,
    replicas: Box<[BrokerId]>,
    growing: bool,
    eligible: Box<[(BrokerId, BrokerEpoch)]>,
    isr: MaximalIsr,
    min_insync: u32,
    followers: Followers,
    asked: Asked,
    /// After a refusal: until when nothing is proposed, and until when a copy of what was refused may still be under way.
    refused: Option<Refused>,
    /// `acks=all`: for the high watermark.
    committing: Waiting,
    /// `acks=leader`: for what this replica holds itself.
    holding: Waiting,
}

/// What a leader has asked of the controllers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    /// This, and there was no answer yet.
    For {
        proposal: Box<IsrProposal>,
        repeated: bool,
    },
    /// Something, and it may have happened: a newer version of the record will tell.
    Unresolved,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Refused {
    pause: Tick,
    /// By then whatever carries a proposal has given up.
    copies: Tick,
}

/// A replica's positions, as its leader's rules need them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mine {
    /// The broker it is on.
    pub me: BrokerId,
    /// How far it holds the log.
    pub progress: Progress,
    /// What counts as held.
    pub durability: Durability,
    /// How long one in sync may be behind.
    pub lag_max: Duration,
}

/// A batch that was judged, on its way to its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Whom to answer.
    pub token: Token,
    /// When.
    pub acks: Acks,
    /// Until when.
    pub deadline: Tick,
    /// What the answer rests on: it must be held this far before the answer is true.
    pub until: Offset,
    /// What it will be.
    pub outcome: Result<Appended, ProduceError>,
}

impl Leader {
    /// Begins to lead, with the log ending at `start`. Nothing that followers said to an earlier leader counts.
    #[must_use]
    pub fn begin(now: Tick, leadership: &Leadership, start: Offset) -> Self {
        let record = &leadership.record;
        Self {
            epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            start,
            replicas: record.replicas.clone().into_boxed_slice(),
            growing: record.growing,
            eligible: leadership.eligible.clone().into_boxed_slice(),
            isr: MaximalIsr::committed_as(record.isr.iter().copied().collect()),
            min_insync: record.min_insync,
            followers: Followers::none_since(now),
            asked: Asked::Nothing,
            refused: None,
            committing: Waiting::default(),
            holding: Waiting::default(),
        }
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The log end as it began to lead.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// How many batches wait for their answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.committing.len() + self.holding.len()
    }

    /// Whether no other replica is in sync.
    pub(crate) fn is_alone(&self) -> bool {
        self.isr.committed().len() < 2
    }

    /// The replicas that must hold a record before it is committed: those in sync, and those it proposed.
    pub fn counted(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.isr.members()
    }

    /// Every replica has flushed what lies below. One that was not heard in this epoch counts for nothing; one that was, and
    /// was taken away since, is not counted: should it come again, it is behind the floor and copies anew.
    pub(crate) fn flushed_by_all(&self, mine: &Mine) -> Offset {
        let others = self.replicas.iter().filter(|broker| **broker != mine.me);
        let assigned = others.map(|broker| {
            self.followers
                .progress(*broker)
                .map_or(Offset::ZERO, |it| it.flushed)
        });
        assigned.fold(mine.progress.flushed, Offset::min)
    }

    /// Takes over the metadata's word. If too few are left in sync, what waits for a commit is told that none will come.
    pub fn adopt(&mut self, leadership: &Leadership, answers: &mut Vec<Answer>) {
        self.eligible = leadership.eligible.clone().into_boxed_slice();
        self.adopt_record(&leadership.record, answers);
    }

    fn adopt_record(&mut self, record: &LeaderRecord, answers: &mut Vec<Answer>) {
        if record.partition_epoch <= self.partition_epoch {
            return;
        }
        self.partition_epoch = record.partition_epoch;
        // There may be more than there were, or others.
        self.replicas = record.replicas.clone().into_boxed_slice();
        self.growing = record.growing;
        self.isr = MaximalIsr::committed_as(record.isr.iter().copied().collect::<ReplicaSet>());
        self.min_insync = if PlantedBug::MinInsyncClampedByStaleLeader.planted() {
            self.min_insync.min(record.min_insync)
        } else {
            record.min_insync
        };
        self.asked = Asked::Nothing;
        self.refused = None;
        if let Err((in_sync, needed)) = self.enough_in_sync() {
            let error = ProduceError::NotEnoughReplicasAfterAppend { in_sync, needed };
            self.committing.fail(&error, answers);
        }
    }

    /// Takes the controllers' answer to a proposal. Returns the proposal if it is to be sent once more.
    pub fn answered(
        &mut self,
        now: Tick,
        lag_max: Duration,
        answer: IsrAnswered,
        answers: &mut Vec<Answer>,
    ) -> Option<IsrProposal> {
        if let IsrResult::Done(record) = &answer.result
            && record.leader_epoch == self.epoch
        {
            self.adopt_record(record, answers);
        }
        let Asked::For { proposal, repeated } = &mut self.asked else {
            return None;
        };
        if **proposal != answer.proposal {
            return None;
        }
        match answer.result {
            // It changed nothing: the record was like that.
            IsrResult::Done(record) if record.leader_epoch == self.epoch => {
                self.isr.refused(false);
                self.asked = Asked::Nothing;
            }
            IsrResult::Done(_) => self.asked = Asked::Unresolved,
            IsrResult::Unknown => {
                *repeated = true;
                return Some(IsrProposal::clone(proposal));
            }
            IsrResult::Refused(IsrRefusal::Ineligible) => {
                self.isr.refused(*repeated || answer.repeated);
                self.asked = Asked::Nothing;
                self.refused = Some(Refused {
                    pause: now.after(REFUSED_PAUSE),
                    copies: now.after(lag_max),
                });
            }
            IsrResult::Refused(IsrRefusal::Outdated | IsrRefusal::Fenced) => self.asked = Asked::Unresolved,
        }
        None
    }

    /// The change of the in-sync replicas to ask for now, if there is one and nothing is being asked.
    pub fn propose(&mut self, now: Tick, high_watermark: Offset, mine: &Mine) -> Option<IsrProposal> {
        if self.refused.is_some_and(|refused| refused.copies <= now) {
            self.refused = None;
            self.isr.forget_refused();
        }
        let paused = self.refused.is_some_and(|refused| refused.pause > now);
        if self.replicas.len() < 2 || paused || self.asked != Asked::Nothing {
            return None;
        }
        let isr = self.standing(now, high_watermark, mine).wanted()?;
        let proposal = IsrProposal {
            leader_epoch: self.epoch,
            partition_epoch: self.partition_epoch,
            isr,
        };
        self.isr
            .propose(proposal.isr.iter().map(|(broker, _)| *broker).collect());
        self.asked = Asked::For {
            proposal: Box::new(proposal.clone()),
            // Refused lately, it may be the same as then, and a late answer to that one cannot be told from its own.
            repeated: self.refused.is_some(),
        };
        Some(proposal)
    }

    fn standing(&self, now: Tick, high_watermark: Offset, mine: &Mine) -> Standing<'_> {
        Standing {
            me: mine.me,
            committed: self.isr.committed(),
            replicas: &self.replicas,
            eligible: &self.eligible,
            followers: &self.followers,
            durability: mine.durability,
            log_end: mine.progress.log_end,
            bar: high_watermark.max(self.start),
            now,
            lag_max: mine.lag_max,
        }
    }

    /// When the in-sync replicas are to be looked at again, though nothing happens.
    #[must_use]
    pub fn next_look(&self, now: Tick, mine: &Mine) -> Option<Tick> {
        if self.replicas.len() < 2 {
            return None;
        }
        let refused = self.refused.map(|refused| {
            if refused.pause > now {
                refused.pause
            } else {
                refused.copies
            }
        });
        let lag = match self.asked {
            Asked::Nothing => self.standing(now, self.start, mine).next_lag(),
            Asked::For { .. } | Asked::Unresolved => None,
        };
        refused.into_iter().chain(lag).min()
    }

    /// Whether a follower's fetch is for this leader, and from a replica that may send it.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admit_fetch(&self, fetch: &FollowerFetch) -> Result<(), ErrorCode> {
        same_epoch(self.epoch, fetch.position.leader_epoch)?;
        if !self.replicas.contains(&fetch.broker) {
            return Err(ErrorCode::InvalidRequest);
        }
        if !self.is_current(fetch.broker, fetch.broker_epoch) {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        Ok(())
    }

    fn is_current(&self, broker: BrokerId, broker_epoch: BrokerEpoch) -> bool {
        let registered = self.eligible.iter().find(|(eligible, _)| *eligible == broker);
        let registered = registered.map(|(_, epoch)| *epoch);
        self.followers.is_current(broker, broker_epoch, registered)
    }

    /// Takes the position of a follower whose log is a beginning of this one.
    pub fn fetched(&mut self, now: Tick, fetch: &FollowerFetch, mine: &Mine) {
        let progress = Progress {
            log_end: fetch.position.fetch_offset,
            flushed: fetch.position.flushed.min(fetch.position.fetch_offset),
        };
        let who = (fetch.broker, fetch.broker_epoch);
        self.followers
            .fetched(now, who, progress, mine.progress.log_end, mine.durability);
    }

    /// A follower is alive, and its last position stands.
    pub fn heard(&mut self, heard: &FollowerHeard, mine: &Mine) {
        if heard.leader_epoch == self.epoch && self.is_current(heard.broker, heard.broker_epoch) {
            let who = (heard.broker, heard.broker_epoch);
            self.followers
                .alive(heard.at, who, mine.progress.log_end, mine.durability);
        }
    }

    /// The log is about to grow.
    pub fn about_to_append(&mut self, now: Tick, mine: &Mine) {
        self.followers
            .about_to_append(now, mine.progress.log_end, mine.durability);
    }

    /// Whether a batch may be appended under these acks.
    ///
    /// # Errors
    /// Too few replicas are in sync for a commit.
    pub fn admit(&self, acks: Acks) -> Result<(), ProduceError> {
        match (acks, self.enough_in_sync()) {
            (Acks::All, Err((in_sync, needed))) => Err(ProduceError::NotEnoughReplicas { in_sync, needed }),
            _ => Ok(()),
        }
    }

    fn enough_in_sync(&self) -> Result<(), (u32, u32)> {
        let in_sync = u32::try_from(self.isr.committed().len()).unwrap_or(u32::MAX);
        if in_sync < self.min_insync {
            return Err((in_sync, self.min_insync));
        }
        Ok(())
    }

    /// What the high watermark may be now; `None`: it stays.
    #[must_use]
    pub fn committed(&self, mine: &Mine) -> Option<Offset> {
        let min_insync = usize::try_from(self.min_insync).unwrap_or(usize::MAX);
        let me = (mine.me, mine.progress);
        let others = |broker| self.followers.progress(broker);
        high_watermark::committed(mine.durability, &self.isr, min_insync, me, others)
    }

    /// The last moment at which it was certain to be the only one that could commit. `begun`: fetches of this epoch, each
    /// with a moment before which it was certainly not begun.
    #[must_use]
    pub fn vouched(&self, now: Tick, me: BrokerId, begun: &[FollowerHeard]) -> Option<Tick> {
        let counts = |heard: &&FollowerHeard| heard.leader_epoch == self.epoch;
        let of = |broker| {
            let its = begun.iter().filter(|heard| heard.broker == broker).filter(counts);
            its.map(|heard| heard.at).max()
        };
        let min_insync = usize::try_from(self.min_insync).unwrap_or(usize::MAX);
        // While it grows, others may take the places of some replicas: only those in sync are certain to stay.
        let lasting = (!self.growing).then_some(&self.replicas[..]);
        vouch::vouched(now, me, lasting, &self.isr, min_insync, of)
    }

    /// Lets a judged batch wait for its answer, or answers it if nobody asked to wait.
    pub fn settle(&mut self, judged: Judged, answers: &mut Vec<Answer>) {
        let queue = match judged.acks {
            Acks::All => &mut self.committing,
            Acks::Leader => &mut self.holding,
            Acks::None => {
                answers.push(Answer {
                    token: judged.token,
                    result: judged.outcome,
                });
                return;
            }
        };
        queue.push(Waiter {
            token: judged.token,
            until: judged.until,
            deadline: judged.deadline,
            outcome: judged.outcome,
        });
    }

    /// Answers everything that is true by now.
    pub fn release(&mut self, high_watermark: Offset, held: Offset, answers: &mut Vec<Answer>) {
        self.holding.release(held, answers);
        self.committing.release(high_watermark, answers);
    }

    /// Tells those whose time is over.
    pub fn expire(&mut self, now: Tick, answers: &mut Vec<Answer>) {
        self.holding.expire(now, answers);
        self.committing.expire(now, answers);
    }

    /// Stops leading: nothing that waits can be promised any more.
    pub fn fail(&mut self, error: &ProduceError, answers: &mut Vec<Answer>) {
        self.holding.fail(error, answers);
        self.committing.fail(error, answers);
    }

    /// When somebody's time is over next.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let both = [self.committing.deadline(), self.holding.deadline()];
        both.into_iter().flatten().min()
    }

    /// Gives back memory that a burst took.
    pub fn shrink(&mut self) {
        self.committing.shrink();
        self.holding.shrink();
    }
}

/// What an answer under these acks is worth on a topic of this durability.
#[must_use]
pub fn reached(acks: Acks, durability: Durability) -> Reached {
    match (acks, durability) {
        (Acks::None, _) | (Acks::Leader, Durability::Replicated) => Reached::Received,
        (Acks::Leader, Durability::Fsync) => Reached::FlushedLeader,
        (Acks::All, Durability::Replicated) => Reached::Replicated,
        (Acks::All, Durability::Fsync) => Reached::Flushed,
    }
}

#[cfg(test)]
mod tests;
