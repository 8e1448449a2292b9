//! A leader: from when it leads, whom it counts, what it lets in, and who waits for what.

use super::high_watermark::{self, Progress};
use super::isr::{MaximalIsr, ReplicaSet};
use super::waiting::{Waiter, Waiting};
use crate::answer::{Acks, Answer, Appended, Reached, Token};
use crate::clock::Tick;
use crate::config::Durability;
use crate::error::ProduceError;
use crate::input::Leadership;
use quipu_record::{BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// The leader's part of a replica's state. It ends with its epoch: nothing of it is carried into the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    start: Offset,
    isr: MaximalIsr,
    min_insync: u32,
    /// `acks=all`: for the high watermark.
    committing: Waiting,
    /// `acks=leader`: for what this replica holds itself.
    holding: Waiting,
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
    /// Begins to lead, with the log ending at `start`.
    #[must_use]
    pub fn begin(leadership: &Leadership, start: Offset) -> Self {
        Self {
            epoch: leadership.leader_epoch,
            partition_epoch: leadership.partition_epoch,
            start,
            isr: MaximalIsr::committed_as(leadership.isr.iter().copied().collect()),
            min_insync: leadership.min_insync,
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

    /// Takes over a newer version of the partition's record. If too few are left in sync, what waits for a commit is
    /// told that none will come.
    pub fn adopt(&mut self, leadership: &Leadership, answers: &mut Vec<Answer>) {
        if leadership.partition_epoch <= self.partition_epoch {
            return;
        }
        self.partition_epoch = leadership.partition_epoch;
        self.isr = MaximalIsr::committed_as(leadership.isr.iter().copied().collect::<ReplicaSet>());
        self.min_insync = leadership.min_insync;
        if let Err((in_sync, needed)) = self.enough_in_sync() {
            let error = ProduceError::NotEnoughReplicasAfterAppend { in_sync, needed };
            self.committing.fail(&error, answers);
        }
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
    pub fn committed(&self, durability: Durability, me: BrokerId, mine: Progress) -> Option<Offset> {
        let min_insync = usize::try_from(self.min_insync).unwrap_or(usize::MAX);
        // Followers' progress comes with replication; until then a set of more than this broker commits nothing.
        high_watermark::committed(durability, &self.isr, min_insync, (me, mine), |_| None)
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
mod tests {
    use super::*;

    const ME: BrokerId = BrokerId::new(1);

    fn leadership(partition_epoch: u64, isr: &[u32], min_insync: u32) -> Leadership {
        Leadership {
            leader_epoch: LeaderEpoch::new(7),
            partition_epoch: PartitionEpoch::new(partition_epoch),
            replicas: [1, 2, 3].map(BrokerId::new).to_vec(),
            isr: isr.iter().copied().map(BrokerId::new).collect(),
            eligible: Vec::new(),
            min_insync,
        }
    }

    fn judged(token: u64, acks: Acks, until: u64) -> Judged {
        Judged {
            token: Token(token),
            acks,
            deadline: Tick::from_nanos(1_000),
            until: Offset::new(until),
            outcome: Ok(Appended {
                base_offset: Offset::ZERO,
                leader_epoch: LeaderEpoch::new(7),
                reached: reached(acks, Durability::Fsync),
                duplicate: false,
                log_append_time: None,
            }),
        }
    }

    fn tokens(answers: &[Answer]) -> Vec<u64> {
        answers.iter().map(|answer| answer.token.0).collect()
    }

    #[test]
    fn too_few_in_sync_refuse_acks_all_before_the_append_and_nothing_else() {
        let leader = Leader::begin(&leadership(0, &[1], 2), Offset::ZERO);
        let refused = leader.admit(Acks::All).expect_err("one of two");
        assert_eq!(
            refused,
            ProduceError::NotEnoughReplicas {
                in_sync: 1,
                needed: 2
            }
        );
        assert!(refused.retryable() && !refused.outcome_unknown());
        assert!(leader.admit(Acks::Leader).is_ok() && leader.admit(Acks::None).is_ok());
    }

    #[test]
    fn each_acks_waits_for_its_own_position() {
        let mut leader = Leader::begin(&leadership(0, &[1], 1), Offset::ZERO);
        let mut answers = Vec::new();
        leader.settle(judged(1, Acks::All, 5), &mut answers);
        leader.settle(judged(2, Acks::Leader, 6), &mut answers);
        leader.settle(judged(3, Acks::None, 7), &mut answers);
        assert_eq!(tokens(&answers), [3]);
        leader.release(Offset::new(4), Offset::new(6), &mut answers);
        assert_eq!(tokens(&answers), [3, 2]);
        leader.release(Offset::new(5), Offset::new(6), &mut answers);
        assert_eq!(tokens(&answers), [3, 2, 1]);
    }

    #[test]
    fn an_error_stays_behind_the_answers_it_follows() {
        let mut leader = Leader::begin(&leadership(0, &[1], 1), Offset::ZERO);
        let mut answers = Vec::new();
        leader.settle(judged(1, Acks::All, 5), &mut answers);
        let mut refused = judged(2, Acks::All, 0);
        refused.outcome = Err(ProduceError::StorageFull);
        leader.settle(refused, &mut answers);
        leader.release(Offset::new(4), Offset::new(4), &mut answers);
        assert!(answers.is_empty());
        leader.release(Offset::new(5), Offset::new(5), &mut answers);
        assert_eq!(tokens(&answers), [1, 2]);
        assert_eq!(answers[1].result, Err(ProduceError::StorageFull));
    }

    #[test]
    fn a_shrink_below_the_minimum_tells_those_who_wait() {
        let mut leader = Leader::begin(&leadership(3, &[1, 2], 2), Offset::ZERO);
        let mut answers = Vec::new();
        leader.settle(judged(1, Acks::All, 5), &mut answers);
        leader.adopt(&leadership(3, &[1], 2), &mut answers);
        assert!(answers.is_empty(), "the same partition epoch is old news");
        leader.adopt(&leadership(4, &[1], 2), &mut answers);
        let told = ProduceError::NotEnoughReplicasAfterAppend {
            in_sync: 1,
            needed: 2,
        };
        assert_eq!(answers[0].result, Err(told));
        let mine = Progress {
            log_end: Offset::new(9),
            flushed: Offset::new(9),
        };
        assert_eq!(leader.committed(Durability::Fsync, ME, mine), None);
    }

    #[test]
    fn losing_leadership_tells_everybody() {
        let mut leader = Leader::begin(&leadership(0, &[1], 1), Offset::ZERO);
        let mut answers = Vec::new();
        leader.settle(judged(1, Acks::All, 5), &mut answers);
        leader.settle(judged(2, Acks::Leader, 5), &mut answers);
        leader.fail(&ProduceError::NotLeader, &mut answers);
        assert_eq!(answers.len(), 2);
        assert!(answers.iter().all(|a| a.result == Err(ProduceError::NotLeader)));
        assert_eq!((leader.deadline(), leader.waiting()), (None, 0));
    }
}
