//! What keeps a partition small: deletion, retention, producer snapshots, forgotten producers, memory given back.

use super::{Driver, Role};
use crate::answer::Token;
use crate::clock::Now;
use crate::effects::Effects;
use crate::error::DeleteRecordsError;
use crate::input::{DeleteBefore, DeleteRecords};
use crate::rules::producers::snapshot;
use quipu_record::Offset;
use quipu_storage::{Disk, RetainError, SnapshotError};

/// A snapshot after so many appended bytes, so that a restart replays no more than that.
const SNAPSHOT_EVERY_BYTES: u64 = 32 << 20;
/// Appended bytes that make a snapshot worth while at house-keeping.
const SNAPSHOT_IDLE_BYTES: u64 = 1 << 20;
/// A snapshot may cost this part of the bytes appended since the one before.
const SNAPSHOT_SHARE: u64 = 16;

/// When the producers' state was last stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Snapshots {
    /// Where; `None`: never.
    at: Option<Offset>,
    /// How large it was.
    size: u64,
    /// Bytes appended since.
    bytes_since: u64,
}

impl Snapshots {
    pub(super) fn stored(at: Offset, size: usize) -> Self {
        Self {
            at: Some(at),
            size: size as u64,
            bytes_since: 0,
        }
    }

    pub(super) fn appended(&mut self, bytes: usize) {
        self.bytes_since = self.bytes_since.saturating_add(bytes as u64);
    }

    /// Whether so much was appended that one is due. A large one is due less often.
    fn due(&self, every: u64) -> bool {
        self.bytes_since >= every.max(self.size.saturating_mul(SNAPSHOT_SHARE))
    }
}

impl<D: Disk> Driver<D> {
    /// Stores the producers' state as of now, if anything was appended since it was last stored: before a clean
    /// shutdown, so that the next start replays nothing.
    ///
    /// # Errors
    /// [`SnapshotError`]. Without it there is more to replay; only a failing disk is final.
    pub fn store_producers(&mut self) -> Result<(), SnapshotError> {
        let end = self.log.log_end();
        if self.snapshots.bytes_since == 0 || self.snapshots.at == Some(end) || self.producers_incomplete {
            return Ok(());
        }
        let bytes = snapshot::encode(&self.producers, end);
        self.log.write_producer_snapshot(&bytes)?;
        self.snapshots = Snapshots::stored(end, bytes.len());
        Ok(())
    }

    pub(super) fn snapshot_if_due(&mut self, appended: u64, rolled: bool, effects: &mut Effects) {
        self.snapshots.bytes_since += appended;
        let every = if rolled { 0 } else { SNAPSHOT_EVERY_BYTES };
        if self.snapshots.due(every) {
            self.try_snapshot(effects);
        }
    }

    fn try_snapshot(&mut self, effects: &mut Effects) {
        match self.store_producers() {
            // On a full disk there is more to replay, and nothing is lost.
            Ok(()) | Err(SnapshotError::StorageFull(_)) => {}
            Err(error) => self.fail(error.to_string(), effects),
        }
    }

    pub(super) fn delete_records(&mut self, now: Now, request: DeleteRecords, effects: &mut Effects) {
        let refused = match &self.role {
            Role::Idle | Role::Follower(_) => Some(DeleteRecordsError::NotLeader),
            Role::Leader(_) if self.failed => Some(DeleteRecordsError::StorageFailed),
            Role::Leader(_) => None,
        };
        if let Some(error) = refused {
            effects.deleted.push((request.token, Err(error)));
            return;
        }
        let high_watermark = self.high_watermark.offset();
        let before = match request.before {
            DeleteBefore::Offset(offset) => offset,
            DeleteBefore::HighWatermark => high_watermark,
        };
        if before > high_watermark {
            let error = DeleteRecordsError::OutOfRange {
                before,
                high_watermark,
            };
            effects.deleted.push((request.token, Err(error)));
            return;
        }
        self.delete_before(now, request.token, before, effects);
    }

    fn delete_before(&mut self, now: Now, token: Token, before: Offset, effects: &mut Effects) {
        self.keep_producers_of(before, effects);
        if self.failed {
            effects
                .deleted
                .push((token, Err(DeleteRecordsError::StorageFailed)));
            return;
        }
        match self.log.delete_records(before, self.high_watermark.offset()) {
            Ok(_) => {
                self.deleting.push((token, before));
                self.want_flush(now, true, effects);
            }
            Err(quipu_storage::DeleteRecordsError::OutOfRange { before, limit }) => {
                let error = DeleteRecordsError::OutOfRange {
                    before,
                    high_watermark: limit,
                };
                effects.deleted.push((token, Err(error)));
            }
            Err(error) => {
                self.deleting.push((token, before));
                self.fail(error.to_string(), effects);
            }
        }
    }

    /// Batches go that no snapshot covers, and what they say of producers would go with them: the same flush that makes
    /// their going durable takes a snapshot along.
    pub(super) fn keep_producers_of(&mut self, deleted_below: Offset, effects: &mut Effects) {
        let covered = self.snapshots.at.unwrap_or(Offset::ZERO);
        if deleted_below > covered && !self.producers.is_empty() {
            self.try_snapshot(effects);
        }
    }

    /// Answers the deletions that a crash can no longer take back.
    pub(super) fn answer_deletions(&mut self, effects: &mut Effects) {
        if self.deleting.is_empty() {
            return;
        }
        let (durable, log_start) = (self.log.durable_log_start(), self.log.log_start());
        self.deleting.retain(|(token, before)| {
            let done = *before <= durable;
            if done {
                effects.deleted.push((*token, Ok(log_start)));
            }
            !done
        });
        if self.deleting.is_empty() {
            self.deleting = Vec::new();
        }
    }

    pub(super) fn retain(&mut self, now: Now, effects: &mut Effects) {
        if self.failed {
            return;
        }
        if self.snapshots.due(SNAPSHOT_IDLE_BYTES) {
            self.try_snapshot(effects);
        }
        match self.log.retain(now.wall, self.high_watermark.offset()) {
            Ok(_) => self.keep_producers_of(self.log.log_start(), effects),
            // Retention makes room; without room for its own new segment it tries again next time.
            Err(RetainError::StorageFull(_)) => {}
            Err(error) => self.fail(error.to_string(), effects),
        }
        self.producers.expire(now.wall, self.config.producer_expiry);
        if let Role::Leader(leader) = &mut self.role {
            leader.shrink();
        }
        self.want_flush(now, true, effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_after_so_many_bytes_and_a_large_one_less_often() {
        let mut small = Snapshots::stored(Offset::new(7), 10);
        small.appended(159);
        assert!(!small.due(0), "its size counts sixteen times");
        small.appended(1);
        assert!(small.due(0) && small.due(160) && !small.due(161));
        let mut large = Snapshots::stored(Offset::new(7), 1 << 20);
        large.appended(16 << 20);
        assert!(large.due(1) && large.due(16 << 20) && !large.due(SNAPSHOT_EVERY_BYTES));
        assert_eq!(large.at, Some(Offset::new(7)));
        // Never stored, and nothing there to store.
        assert!(Snapshots::default().due(0) && !Snapshots::default().due(1));
    }
}
