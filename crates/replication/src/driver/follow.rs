//! The follower: it copies the leader's log as it is, and cuts its own where they part.

use super::{Driver, Role};
use crate::clock::Now;
use crate::effects::Effects;
use crate::fetch::{FetchResult, Fetched, Position};
use crate::input::Followership;
use crate::rules::follower::{FULL_PAUSE, Follower, REFUSED_PAUSE};
use quipu_record::{LeaderEpoch, Offset, PlantedBug, StoredBatch};
use quipu_storage::{AppendError, Disk};
use std::time::Duration;

/// How a follower goes on after an answer.
pub(super) enum Then {
    /// It was news of the high watermark at most.
    Wait,
    /// What was sent is dealt with: the position is told again.
    Tell,
    /// It could not be dealt with: told again later.
    TellLater(Duration),
}

/// What the leader's compaction may have taken from what it sends.
#[derive(Clone, Copy)]
pub(super) struct Gaps {
    tombstone_floor: Offset,
    cleaned_to: Offset,
}

impl<D: Disk> Driver<D> {
    pub(super) fn follow(&mut self, now: Now, follows: Followership, effects: &mut Effects) {
        match &mut self.role {
            Role::Follower(follower) if follower.epoch() == follows.leader_epoch => {
                follower.adopt(follows);
                if self.damage.is_some() {
                    self.begin_copying(now, effects);
                }
                return;
            }
            Role::Leader(leader) if leader.epoch() >= follows.leader_epoch => return,
            _ => {}
        }
        if self.seen_epoch.is_some_and(|seen| follows.leader_epoch < seen) {
            return;
        }
        self.step_down(effects);
        self.seen_epoch = Some(follows.leader_epoch);
        self.role = Role::Follower(Follower::begin(follows));
        self.begin_copying(now, effects);
    }

    /// Makes the log one that can be compared with the leader's.
    pub(super) fn begin_copying(&mut self, now: Now, effects: &mut Effects) {
        if self.failed {
            return;
        }
        if self.tell_damage(effects) {
            // One that may be elected must not be found empty.
            if matches!(&self.role, Role::Follower(follower) if !follower.electable()) {
                self.set_aside(now, effects);
            }
            return;
        }
        // Epochs of which there is no batch are forgotten, on disk too (KAFKA-10706).
        let end = self.log.log_end();
        let end = if PlantedBug::TruncateToHighWatermark.planted() {
            self.high_watermark.offset().max(self.log.log_start())
        } else {
            end
        };
        self.cut_to(now, end, effects);
        // What recovery kept above the flush mark counts only once it is flushed.
        self.want_flush(now, true, effects);
    }

    /// Where this replica stands, for its leader.
    fn position(&self, leader_epoch: LeaderEpoch) -> Position {
        Position {
            leader_epoch,
            fetch_offset: self.log.log_end(),
            last_fetched_epoch: self.log.last_epoch(),
            flushed: self.log.flushed(),
            log_start: self.log.log_start(),
        }
    }

    /// The follower's part of the end of a step.
    pub(super) fn tell_position(&mut self, now: Now, effects: &mut Effects) {
        let Role::Follower(follower) = &self.role else {
            return;
        };
        if self.failed || self.damage.is_some() {
            return;
        }
        let position = self.position(follower.epoch());
        if let Role::Follower(follower) = &mut self.role
            && let Some(told) = follower.tell(now.mono, position, self.config.durability)
        {
            effects.position = Some(told);
        }
    }

    pub(super) fn fetched(&mut self, now: Now, fetched: Fetched, effects: &mut Effects) {
        let Role::Follower(follower) = &self.role else {
            return;
        };
        if self.failed || self.damage.is_some() {
            return;
        }
        let epoch = follower.epoch();
        if !follower.is_answered_by(&fetched, &self.position(epoch)) {
            if PlantedBug::HighWatermarkFromOldLeader.planted()
                && fetched.leader_epoch < epoch
                && let FetchResult::Accepted { high_watermark, .. } = fetched.result
            {
                self.high_watermark.combine(high_watermark);
            }
            return;
        }
        let then = match fetched.result {
            FetchResult::Accepted {
                log_start,
                tombstone_floor,
                ..
            } if self.is_behind_the_floor(tombstone_floor) => {
                self.begin_anew(now, log_start, effects);
                Then::Tell
            }
            FetchResult::Accepted {
                high_watermark,
                log_start,
                tombstone_floor,
                cleaned_to,
                batches,
            } => {
                let gaps = Gaps {
                    tombstone_floor,
                    cleaned_to,
                };
                self.accepted(now, (high_watermark, log_start), gaps, &batches, effects)
            }
            FetchResult::Diverging { epoch, end_offset } => self.diverging(now, epoch, end_offset, effects),
            FetchResult::OutOfRange { log_start } => {
                self.begin_anew(now, log_start, effects);
                Then::Tell
            }
            FetchResult::Refused(_) => Then::TellLater(REFUSED_PAUSE),
        };
        if let Role::Follower(follower) = &mut self.role {
            match then {
                Then::Wait => {}
                Then::Tell => follower.tell_again(),
                Then::TellLater(pause) => follower.tell_again_at(now.mono.after(pause)),
            }
        }
    }

    /// The leader's batches, its high watermark and its log start.
    fn accepted(
        &mut self,
        now: Now,
        (high_watermark, log_start): (Offset, Offset),
        gaps: Gaps,
        batches: &[StoredBatch],
        effects: &mut Effects,
    ) -> Then {
        let then = if batches.is_empty() {
            Then::Wait
        } else {
            self.copy(now, gaps, batches, effects)
        };
        if self.failed || self.damage.is_some() {
            return Then::Wait;
        }
        self.high_watermark
            .combine(high_watermark.min(self.log.log_end()));
        self.follow_log_start(now, log_start, effects);
        then
    }

    /// Appends what the leader has, as it is.
    fn copy(&mut self, now: Now, gaps: Gaps, batches: &[StoredBatch], effects: &mut Effects) -> Then {
        let Role::Follower(follower) = &self.role else {
            return Then::Wait;
        };
        let epoch = follower.epoch();
        if batches.iter().any(|batch| batch.leader_epoch() > epoch) {
            return Then::TellLater(FULL_PAUSE);
        }
        if let Some(first) = batches.first()
            && self.log.last_epoch().is_none()
            && first.base_offset() < self.log.log_end()
            && first.next_offset() > self.log.log_end()
        {
            // The leader's log start lies within a batch, and this log begins with that batch.
            self.begin_anew(now, first.base_offset(), effects);
            self.log.note_purged(gaps.tombstone_floor);
        }
        match self.log.append_copied(now.wall, batches, gaps.cleaned_to) {
            Ok(appended) => {
                for batch in batches {
                    self.producers.replay(batch.header(), now.wall);
                }
                self.unflushed_bytes += appended.bytes;
                self.snapshot_if_due(appended.bytes, appended.rolled, effects);
                self.want_flush(now, false, effects);
                Then::Tell
            }
            Err(AppendError::TooManyDirtyFiles { .. }) => {
                effects.flush = true;
                Then::TellLater(REFUSED_PAUSE)
            }
            Err(AppendError::Damaged(damage)) => {
                self.found_damaged(*damage, effects);
                Then::Wait
            }
            Err(AppendError::Failed(failure)) => {
                self.fail(failure.to_string(), effects);
                Then::Wait
            }
            // Without room, or of no use: asked for again, and the same may come.
            Err(_) => Then::TellLater(FULL_PAUSE),
        }
    }

    /// Deletes what the leader has deleted.
    fn follow_log_start(&mut self, now: Now, log_start: Offset, effects: &mut Effects) {
        let before = log_start.min(self.high_watermark.offset());
        if before <= self.log.log_start() {
            return;
        }
        self.keep_producers_of(before, effects);
        if self.failed {
            return;
        }
        match self.log.delete_records(before, self.high_watermark.offset()) {
            Ok(_) => self.want_flush(now, false, effects),
            Err(error) => self.fail(error.to_string(), effects),
        }
    }
}
