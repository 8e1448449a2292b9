//! Taking records off a follower's log: because the leader's history is another one, or begins later, or because what
//! is here cannot be read. All of it is durable before the position after it is told.

use super::follow::Then;
use super::open::rebuild_producers;
use super::{Driver, Role};
use crate::clock::Now;
use crate::effects::Effects;
use crate::rules::follower::FULL_PAUSE;
use crate::rules::follower_fetch::agreed_up_to;
use quipu_record::{LeaderEpoch, Offset};
use quipu_storage::{Corruption, Disk, TruncateError};

impl<D: Disk> Driver<D> {
    /// The leader knows nothing of this log's last epoch, or ends it earlier.
    pub(super) fn diverging(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        end_offset: Offset,
        effects: &mut Effects,
    ) -> Then {
        let log_end = self.log.log_end();
        let agreed = agreed_up_to(self.log.epochs(), log_end, epoch, end_offset);
        let to = agreed.unwrap_or(self.log.log_start().min(end_offset));
        if to >= log_end {
            // It takes nothing off: no such answer is right.
            return Then::TellLater(FULL_PAUSE);
        }
        self.cut_to(now, to, effects);
        Then::Tell
    }

    /// Cuts the log so that it ends at `to`, and what rests on it: epochs, producers, the high watermark.
    pub(super) fn cut_to(&mut self, now: Now, to: Offset, effects: &mut Effects) {
        let before = self.log.log_end();
        let cut = if to < self.log.log_start() {
            self.log.restart_at(to)
        } else {
            self.log.truncate_to(to)
        };
        match cut {
            Ok(()) if to == before => {}
            Ok(()) => self.was_cut(now, effects),
            Err(TruncateError::Damaged(damage)) => self.found_damaged(*damage, effects),
            Err(error) => self.fail(error.to_string(), effects),
        }
    }

    /// Deletes everything, and begins again at `start` (KAFKA-9491: the high watermark too).
    pub(super) fn begin_anew(&mut self, now: Now, start: Offset, effects: &mut Effects) {
        match self.log.restart_at(start) {
            Ok(()) => self.was_cut(now, effects),
            Err(error) => self.fail(error.to_string(), effects),
        }
    }

    /// Sets a damaged log aside and begins again, empty: the leader says where.
    pub(super) fn set_aside(&mut self, now: Now, effects: &mut Effects) {
        match self.log.set_aside(Offset::ZERO) {
            Ok(_) => {
                self.damage = None;
                self.was_cut(now, effects);
            }
            Err(error) => self.fail(error.to_string(), effects),
        }
    }

    /// A damaged replica takes nothing, and leads only if there is no other.
    pub(super) fn found_damaged(&mut self, damage: Corruption, effects: &mut Effects) {
        self.damage = Some(Box::new(damage));
        self.tell_damage(effects);
    }

    /// A reader found it.
    pub(super) fn damaged(&mut self, now: Now, damage: Corruption, effects: &mut Effects) {
        if self.damage.is_some() || self.failed {
            return;
        }
        match &self.role {
            // Nobody else is sure to hold what is good of it: it goes on to serve that.
            Role::Leader(leader) if leader.is_alone() => {}
            // Others hold what is bad here: one of them is to lead, and whoever asks here is to look for it.
            Role::Leader(_) => {
                self.found_damaged(damage, effects);
                self.step_down(effects);
            }
            // It begins to copy again at once, if others need not count on it.
            Role::Follower(_) => {
                self.found_damaged(damage, effects);
                self.begin_copying(now, effects);
            }
            Role::Idle => self.found_damaged(damage, effects),
        }
    }

    fn was_cut(&mut self, now: Now, effects: &mut Effects) {
        self.high_watermark.cut(self.log.log_start(), self.log.log_end());
        match rebuild_producers(&self.log, now.wall) {
            Ok((producers, snapshots, replayed)) => {
                self.producers = producers;
                self.snapshots = snapshots;
                self.producers_incomplete = replayed.ended_at.is_some();
            }
            Err(error) => return self.fail(error.to_string(), effects),
        }
        self.unflushed_bytes = 0;
        if let Role::Follower(follower) = &mut self.role {
            follower.tell_again();
        }
        self.want_flush(now, true, effects);
    }
}
