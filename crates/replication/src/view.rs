//! What readers may know of a replica: published after each step, read by many threads.

use crate::error::ReadError;
use quipu_record::{BrokerId, LeaderEpoch, Offset};

/// One consistent snapshot of a replica's positions. `log_start` ≤ `high_watermark` ≤ `log_end` in every one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// How this replica leads; `None`: it does not.
    pub leading: Option<Leading>,
    /// Whom this replica follows; `None`: nobody.
    pub following: Option<Following>,
    /// Everything below was deleted.
    pub log_start: Offset,
    /// Consumers read below it.
    pub high_watermark: Offset,
    /// Where the next record goes.
    pub log_end: Offset,
    /// Everything below survives a power cut here.
    pub flushed: Offset,
}

/// Whom a replica follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Following {
    /// The leader.
    pub leader: BrokerId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
}

/// The leadership that a view was taken under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leading {
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The log end as it began. Until the high watermark has reached it, the leader may know less of what is committed
    /// than the one before it told its readers.
    pub start: Offset,
}

impl View {
    /// Where a consumer that wants `offset` may read up to: the high watermark. Nothing is there yet if that is not
    /// above `offset`: wait for it.
    ///
    /// # Errors
    /// [`ReadError`]: not the leader, an epoch that differs, out of range, or not known yet.
    pub fn read_limit(&self, offset: Offset, known_epoch: Option<LeaderEpoch>) -> Result<Offset, ReadError> {
        let leading = self.leading_in(known_epoch)?;
        if offset >= self.high_watermark && self.high_watermark < leading.start {
            return Err(ReadError::NotAvailable);
        }
        if offset < self.log_start || offset > self.log_end {
            return Err(ReadError::OutOfRange {
                offset,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        Ok(self.high_watermark)
    }

    /// The offset after the last committed record (`ListOffsets(latest)`): never one lower than any reader was told.
    ///
    /// # Errors
    /// [`ReadError`]: not the leader, an epoch that differs, or not known yet.
    pub fn latest(&self, known_epoch: Option<LeaderEpoch>) -> Result<Offset, ReadError> {
        let leading = self.leading_in(known_epoch)?;
        if self.high_watermark < leading.start {
            return Err(ReadError::NotAvailable);
        }
        Ok(self.high_watermark)
    }

    /// The offset of the first record (`ListOffsets(earliest)`).
    ///
    /// # Errors
    /// [`ReadError`]: not the leader, or an epoch that differs.
    pub fn earliest(&self, known_epoch: Option<LeaderEpoch>) -> Result<Offset, ReadError> {
        self.leading_in(known_epoch).map(|_| self.log_start)
    }

    fn leading_in(&self, known_epoch: Option<LeaderEpoch>) -> Result<Leading, ReadError> {
        let leading = self.leading.ok_or(ReadError::NotLeader)?;
        let (got, current) = (known_epoch.unwrap_or(leading.epoch), leading.epoch);
        match got.cmp(&current) {
            std::cmp::Ordering::Less => Err(ReadError::FencedLeaderEpoch { got, current }),
            std::cmp::Ordering::Equal => Ok(leading),
            std::cmp::Ordering::Greater => Err(ReadError::UnknownLeaderEpoch { got, current }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(log_start: u64, high_watermark: u64, log_end: u64, start: u64) -> View {
        View {
            leading: Some(Leading {
                epoch: LeaderEpoch::new(4),
                start: Offset::new(start),
            }),
            following: None,
            log_start: Offset::new(log_start),
            high_watermark: Offset::new(high_watermark),
            log_end: Offset::new(log_end),
            flushed: Offset::new(log_end),
        }
    }

    #[test]
    fn consumers_read_below_the_high_watermark() {
        let view = view(5, 20, 30, 10);
        let limit = |at| view.read_limit(Offset::new(at), None);
        assert!(matches!(limit(4), Err(ReadError::OutOfRange { .. })));
        assert_eq!(limit(5), Ok(Offset::new(20)));
        assert_eq!(
            limit(25),
            Ok(Offset::new(20)),
            "not committed yet: the reader waits"
        );
        assert!(matches!(limit(31), Err(ReadError::OutOfRange { .. })));
        assert_eq!(view.latest(None), Ok(Offset::new(20)));
    }

    #[test]
    fn a_new_leader_says_that_it_does_not_know_yet() {
        let view = view(0, 8, 12, 10);
        assert_eq!(view.read_limit(Offset::new(7), None), Ok(Offset::new(8)));
        assert_eq!(
            view.read_limit(Offset::new(8), None),
            Err(ReadError::NotAvailable)
        );
        assert_eq!(
            view.read_limit(Offset::new(99), None),
            Err(ReadError::NotAvailable)
        );
        assert_eq!(view.latest(None), Err(ReadError::NotAvailable));
        assert_eq!(view.earliest(None), Ok(Offset::ZERO));
    }

    #[test]
    fn epochs_fence_readers_on_both_sides() {
        let mut view = view(0, 8, 8, 8);
        let read = |view: &View, epoch| view.read_limit(Offset::ZERO, Some(LeaderEpoch::new(epoch)));
        assert!(matches!(read(&view, 3), Err(ReadError::FencedLeaderEpoch { .. })));
        assert!(read(&view, 4).is_ok());
        assert!(matches!(
            read(&view, 5),
            Err(ReadError::UnknownLeaderEpoch { .. })
        ));
        view.leading = None;
        assert_eq!(read(&view, 4), Err(ReadError::NotLeader));
    }
}
