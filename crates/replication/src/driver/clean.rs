//! Compaction, as far as the replicas of a partition must agree on it: how far it may go, which tombstones may go, what of
//! the producers stays. The cleaning itself is the log's, on a thread of its own, and every replica's own affair.

use super::{Driver, Role};
use crate::clock::Now;
use crate::effects::Effects;
use crate::input::CleanEnd;
use quipu_record::Offset;
use quipu_storage::{CleanJob, CleanLimits, Disk};

impl<D: Disk> Driver<D> {
    /// Whether the topic is compacted.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        self.config.compacted
    }

    /// A cleaning, if there is enough to clean; for a thread that may wait. Its end comes back as
    /// [`crate::Input::Cleaned`]; until then there is no other.
    #[must_use]
    pub fn plan_cleaning(&mut self, now: Now) -> Option<CleanJob<D>> {
        if self.cleaning
            || self.failed
            || self.damage.is_some()
            || !self.config.compacted
            || self.producers_incomplete
        {
            return None;
        }
        let high_watermark = self.high_watermark.offset();
        let kept = self
            .producers
            .last_batches(high_watermark.min(self.log.flushed()));
        let job = self.log.plan_cleaning(CleanLimits {
            now: now.wall,
            high_watermark,
            tombstone_floor: self.log.tombstone_floor(),
            last_batches: kept.known,
            unsure: kept.unsure,
        });
        self.cleaning = job.is_some();
        job
    }

    pub(super) fn cleaned(&mut self, now: Now, end: CleanEnd, effects: &mut Effects) {
        self.cleaning = false;
        match end {
            CleanEnd::Done => {}
            CleanEnd::Damaged(damage) => self.damaged(now, damage, effects),
            CleanEnd::Failed { what } => self.fail(what, effects),
        }
    }

    /// At the leader: every assigned replica has flushed what lies below. What a replica was not heard to say in this epoch
    /// it may have lost.
    pub(super) fn raise_tombstone_floor(&mut self) {
        if let Role::Leader(leader) = &self.role
            && self.config.compacted
        {
            let floor = leader
                .flushed_by_all(&self.mine())
                .min(self.high_watermark.offset());
            self.log.raise_tombstone_floor(floor);
        }
    }

    /// At the follower: tombstones below `floor` may be missing at the leader. What ends below it, and was not copied from
    /// a log that lacked them already, may hold what they deleted: it goes. True: begin anew.
    pub(super) fn is_behind_the_floor(&mut self, floor: Offset) -> bool {
        if floor <= self.log.log_end() {
            self.log.raise_tombstone_floor(floor);
            return false;
        }
        if self.log.last_epoch().is_none() {
            self.log.note_purged(floor);
            return false;
        }
        self.log.purged_to() < floor
    }
}
