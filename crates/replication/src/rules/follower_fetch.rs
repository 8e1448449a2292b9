//! Where a follower's log stands against its leader's (KIP-101, KIP-279, KIP-320).

use crate::fetch::Position;
use quipu_record::{ErrorCode, LeaderEpoch, Offset, PlantedBug};
use quipu_storage::EpochCache;

/// The leader's log, as far as a follower's place in it is concerned.
#[derive(Clone, Copy, Debug)]
pub struct LeaderLog<'a> {
    /// Which epoch began where.
    pub epochs: &'a EpochCache,
    /// Everything below was deleted.
    pub log_start: Offset,
    /// Where the next record goes.
    pub log_end: Offset,
}

/// What a follower's log is to its leader's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A beginning of it.
    Beginning,
    /// It parts from it.
    Diverging {
        /// The greatest epoch, not above the follower's last, that the leader knows.
        epoch: LeaderEpoch,
        /// Where that epoch ends in the leader's log.
        end_offset: Offset,
    },
    /// It lies outside.
    OutOfRange,
}

/// Whether a message of this leader epoch is for the leader of `mine`.
///
/// # Errors
/// It is of an older leader, or of a newer one than is known here.
pub fn same_epoch(mine: LeaderEpoch, theirs: LeaderEpoch) -> Result<(), ErrorCode> {
    if PlantedBug::NoEpochCheckOnFetch.planted() {
        return Ok(());
    }
    match theirs.cmp(&mine) {
        std::cmp::Ordering::Less => Err(ErrorCode::FencedLeaderEpoch),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
    }
}

/// Places a follower's log. A log that holds batches and begins or ends elsewhere than any of the leader's epochs is out
/// of range, even where its end is the leader's log start: it may hold another history below that.
#[must_use]
pub fn place(log: LeaderLog<'_>, position: &Position) -> Place {
    let at = position.fetch_offset;
    let Some(last) = position.last_fetched_epoch else {
        let within = at >= log.log_start && at <= log.log_end;
        return if within {
            Place::Beginning
        } else {
            Place::OutOfRange
        };
    };
    if at < log.log_start {
        return Place::OutOfRange;
    }
    match log.epochs.floor(last, log.log_end) {
        None => Place::OutOfRange,
        Some((epoch, end_offset)) if epoch < last || end_offset < at => {
            Place::Diverging { epoch, end_offset }
        }
        Some(_) => Place::Beginning,
    }
}

/// Where a follower cuts its log when it is told that it parts from the leader's: the leader's history and its own agree
/// at most up to there. `None`: nothing of its log is the leader's.
#[must_use]
pub fn agreed_up_to(
    mine: &EpochCache,
    log_end: Offset,
    epoch: LeaderEpoch,
    end_offset: Offset,
) -> Option<Offset> {
    let (_, end) = mine.floor(epoch, log_end)?;
    Some(end.min(end_offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_storage::EpochEntry;

    fn cache(entries: &[(u32, u64)]) -> EpochCache {
        entries.iter().copied().map(entry).collect()
    }

    fn entry((epoch, start): (u32, u64)) -> EpochEntry {
        EpochEntry {
            epoch: LeaderEpoch::new(epoch),
            start: Offset::new(start),
        }
    }

    fn position(at: u64, last: Option<u32>) -> Position {
        Position {
            leader_epoch: LeaderEpoch::new(9),
            fetch_offset: Offset::new(at),
            last_fetched_epoch: last.map(LeaderEpoch::new),
            flushed: Offset::new(at),
            log_start: Offset::ZERO,
        }
    }

    fn place_in(entries: &[(u32, u64)], log_start: u64, log_end: u64, at: u64, last: Option<u32>) -> Place {
        let log = LeaderLog {
            epochs: &cache(entries),
            log_start: Offset::new(log_start),
            log_end: Offset::new(log_end),
        };
        place(log, &position(at, last))
    }

    #[test]
    fn epochs_fence_both_ways() {
        let same = |theirs| same_epoch(LeaderEpoch::new(4), LeaderEpoch::new(theirs));
        assert_eq!(same(3), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(same(4), Ok(()));
        assert_eq!(same(5), Err(ErrorCode::UnknownLeaderEpoch));
        PlantedBug::NoEpochCheckOnFetch.plant(|| assert_eq!(same(3), Ok(())));
    }

    #[test]
    fn an_empty_log_begins_anywhere_within() {
        let place = |at| place_in(&[(1, 10), (3, 20)], 10, 30, at, None);
        assert_eq!(place(9), Place::OutOfRange);
        assert_eq!(place(10), Place::Beginning);
        assert_eq!(place(30), Place::Beginning);
        assert_eq!(place(31), Place::OutOfRange);
    }

    #[test]
    fn logs_part_where_the_epochs_say() {
        let place = |at, last| place_in(&[(1, 0), (3, 10), (4, 20)], 5, 25, at, Some(last));
        assert_eq!(place(25, 4), Place::Beginning);
        let parts = |epoch, end| Place::Diverging {
            epoch: LeaderEpoch::new(epoch),
            end_offset: Offset::new(end),
        };
        assert_eq!(place(26, 4), parts(4, 25), "it holds more than the leader");
        assert_eq!(
            place(12, 2),
            parts(1, 10),
            "an epoch of which the leader has nothing"
        );
        assert_eq!(place(12, 1), parts(1, 10), "more of an epoch than the leader has");
        assert_eq!(place(15, 3), Place::Beginning);
        assert_eq!(place(4, 1), Place::OutOfRange, "below the log start");
        assert_eq!(
            place(5, 1),
            Place::Beginning,
            "it ends where the leader begins, in one epoch"
        );
        assert_eq!(
            place(15, 0),
            Place::OutOfRange,
            "older than anything the leader has"
        );
    }

    #[test]
    fn equal_ends_are_not_equal_histories() {
        // The leader deleted all below 50 and then led in epoch 7; the follower ends at 50 with something of epoch 5.
        assert_eq!(place_in(&[(7, 50)], 50, 50, 50, Some(5)), Place::OutOfRange);
    }

    /// A history: how many records each epoch has, in order.
    fn history() -> impl Strategy<Value = Vec<(u32, u64)>> {
        proptest::collection::vec((1_u32..4, 1_u64..4), 0..5).prop_map(|steps| {
            let mut epoch = 0;
            let steps = steps.into_iter().map(|(more, records)| {
                epoch += more;
                (epoch, records)
            });
            steps.collect()
        })
    }

    fn epochs_of(history: &[(u32, u64)]) -> Vec<u32> {
        let all = history.iter();
        all.flat_map(|(epoch, records)| (0..*records).map(move |_| *epoch))
            .collect()
    }

    fn cache_of(epochs: &[u32]) -> EpochCache {
        let changes = (0..epochs.len()).filter(|i| *i == 0 || epochs[*i] != epochs[*i - 1]);
        changes.map(|i| entry((epochs[i], i as u64))).collect()
    }

    proptest! {
        /// Two logs with a common beginning, each going on in epochs of its own (an epoch has one leader, so that equal
        /// epochs at equal offsets are equal records): the follower's log becomes a beginning of the leader's by cuts
        /// that never take anything common, and each of which takes something.
        #[test]
        fn cutting_ends_at_the_common_history_and_never_below_it(
            common in history(), mine in history(), theirs in history(),
        ) {
            let last = common.last().map_or(0, |(epoch, _)| *epoch);
            let leader: Vec<_> = common.iter().copied()
                .chain(theirs.iter().map(|(epoch, n)| (last + epoch * 2, *n))).collect();
            let follower: Vec<_> = common.iter().copied()
                .chain(mine.iter().map(|(epoch, n)| (last + epoch * 2 + 1, *n))).collect();
            let leader = epochs_of(&leader);
            let mut follower = epochs_of(&follower);
            let shared = leader.iter().zip(&follower).take_while(|(a, b)| a == b).count();
            let epochs = cache_of(&leader);
            for _ in 0..20 {
                let log = LeaderLog {
                    epochs: &epochs,
                    log_start: Offset::ZERO,
                    log_end: Offset::new(leader.len() as u64),
                };
                let at = position(follower.len() as u64, follower.last().copied());
                match place(log, &at) {
                    Place::Beginning => break,
                    Place::OutOfRange => {
                        prop_assert_eq!(shared, 0);
                        follower.clear();
                    }
                    Place::Diverging { epoch, end_offset } => {
                        let end = Offset::new(follower.len() as u64);
                        let cut = agreed_up_to(&cache_of(&follower), end, epoch, end_offset);
                        let cut = usize::try_from(cut.map_or(0, Offset::get)).unwrap();
                        prop_assert!(cut < follower.len() && cut >= shared);
                        follower.truncate(cut);
                    }
                }
            }
            prop_assert!(leader.starts_with(&follower));
            prop_assert_eq!(follower.len(), shared);
        }
    }
}
