//! Idempotent producers: a batch sent twice is stored once (C7).
//!
//! The state is a function of the log alone: each batch header that carries a producer's stamp, applied in order. So a
//! leader, a follower and a replay after a crash come to the same state; only `last_append` (the broker's clock, for
//! expiry) is not in the log, and is kept in the snapshot.

use crate::error::ProduceError;
use quipu_record::{
    BatchHeader, LeaderEpoch, Offset, PlantedBug, ProducerEpoch, ProducerId, ProducerStamp, Sequence,
    Timestamp,
};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub mod snapshot;
#[cfg(test)]
mod tests;

/// How many batches of one producer are remembered, and so how many it may have in flight.
pub const REMEMBERED_BATCHES: usize = 5;
/// How many producers a partition remembers.
pub const MAX_PRODUCERS: usize = 1 << 16;
/// When a partition remembers too many, those silent for so long may go early: longer than any client's retries.
const EARLY_EXPIRY: Duration = Duration::from_secs(3600);
/// How many refusals are remembered, to tell an early sequence from a wrong one.
const REMEMBERED_REFUSALS: usize = 64;
/// Sequences lie on a circle of 2^31; half of it is behind, half ahead.
const HALF_CIRCLE: u32 = 1 << 30;

/// A batch as its producer's repetitions will be recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchMark {
    /// The sequence of its first record.
    pub first: Sequence,
    /// The sequence of its last record.
    pub last: Sequence,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The leader epoch it was appended in.
    pub leader_epoch: LeaderEpoch,
    /// The time it was given, on topics with log append time; else its greatest record timestamp.
    pub max_timestamp: Timestamp,
}

impl BatchMark {
    /// Of a stored batch.
    #[must_use]
    pub fn of(header: &BatchHeader, stamp: ProducerStamp, leader_epoch: LeaderEpoch) -> Self {
        Self {
            first: stamp.base_sequence,
            last: stamp.base_sequence.plus(header.last_offset_delta()),
            base_offset: header.base_offset(),
            leader_epoch,
            max_timestamp: header.max_timestamp(),
        }
    }

    /// The offset after its last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base_offset
            .plus(u64::from(distance(self.first, self.last)) + 1)
    }
}

/// How far `to` lies ahead of `from` on the circle.
const fn distance(from: Sequence, to: Sequence) -> u32 {
    to.get().wrapping_sub(from.get()) & (i32::MAX as u32)
}

/// One producer's state in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    epoch: ProducerEpoch,
    /// The broker's clock as its last batch was appended here.
    last_append: Timestamp,
    /// How many of `marks` are in use: 1 to 5, oldest first.
    used: u8,
    marks: [BatchMark; REMEMBERED_BATCHES],
}

impl Producer {
    fn marks(&self) -> &[BatchMark] {
        &self.marks[..usize::from(self.used)]
    }

    fn newest(&self) -> BatchMark {
        self.marks[usize::from(self.used) - 1]
    }

    fn remember(&mut self, mark: BatchMark) {
        if usize::from(self.used) == REMEMBERED_BATCHES {
            self.marks.copy_within(1.., 0);
            self.marks[REMEMBERED_BATCHES - 1] = mark;
        } else {
            self.marks[usize::from(self.used)] = mark;
            self.used += 1;
        }
    }
}

/// What to do with a producer's batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It comes next.
    Append,
    /// It is in the log already: answer as then, once the high watermark has passed it.
    Duplicate(BatchMark),
}

/// A batch refused in a way that invites a retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Refusal {
    producer: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
}

/// The batches of producers that compaction must keep, if only their headers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastBatches {
    /// Where the last batch of a producer begins.
    pub known: HashSet<Offset>,
    /// Producers of whom that is not remembered.
    pub unsure: HashSet<ProducerId>,
}

/// What it takes to undo one [`Producers::record`].
#[derive(Debug)]
pub struct Undo {
    producer: ProducerId,
    before: Option<Producer>,
}

/// All producers of one partition. Without any, it holds no memory.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    by_id: HashMap<ProducerId, Producer>,
    refusals: Vec<Refusal>,
}

impl PartialEq for Producers {
    /// By what the log determines.
    fn eq(&self, other: &Self) -> bool {
        let same = |id: &ProducerId, state: &Producer| {
            other
                .by_id
                .get(id)
                .is_some_and(|theirs| theirs.epoch == state.epoch && theirs.marks() == state.marks())
        };
        self.by_id.len() == other.by_id.len() && self.by_id.iter().all(|(id, state)| same(id, state))
    }
}

impl Producers {
    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The last batch of each producer among those that end at `stable` or below, which nothing takes back.
    #[must_use]
    pub fn last_batches(&self, stable: Offset) -> LastBatches {
        let mut last = LastBatches::default();
        for (id, producer) in &self.by_id {
            let within = producer.marks().iter().rev().find(|mark| mark.end() <= stable);
            match within {
                Some(mark) => drop(last.known.insert(mark.base_offset)),
                // Everything that is remembered is above, and there may be more.
                None if usize::from(producer.used) == REMEMBERED_BATCHES => drop(last.unsure.insert(*id)),
                None => {}
            }
        }
        last
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Judges a batch of `records` records before it is appended.
    ///
    /// # Errors
    /// It is fenced, out of order, or older than what is remembered.
    pub fn check(
        &self,
        stamp: ProducerStamp,
        records: u32,
        high_watermark: Offset,
    ) -> Result<Verdict, ProduceError> {
        let Some(known) = self.by_id.get(&stamp.id) else {
            return self.check_unknown(stamp);
        };
        if stamp.epoch < known.epoch {
            return Err(ProduceError::InvalidProducerEpoch {
                producer: stamp.id,
                current: known.epoch,
                got: stamp.epoch,
            });
        }
        if stamp.epoch > known.epoch {
            return self.check_first(stamp);
        }
        if PlantedBug::NoProducerDedup.planted() {
            return Ok(Verdict::Append);
        }
        let last = stamp.base_sequence.plus(records.saturating_sub(1));
        let repeated = |mark: &&BatchMark| mark.first == stamp.base_sequence && mark.last == last;
        if let Some(mark) = known.marks().iter().rev().find(repeated) {
            return Ok(Verdict::Duplicate(*mark));
        }
        let newest = known.newest();
        let expected = newest.last.plus(1);
        if stamp.base_sequence == expected {
            return Ok(Verdict::Append);
        }
        let behind = distance(stamp.base_sequence, expected);
        if behind < HALF_CIRCLE && behind >= records {
            return Err(ProduceError::DuplicateSequence {
                producer: stamp.id,
                got: stamp.base_sequence,
            });
        }
        // What overlaps the end is no repetition of anything: it will never fit. What lies ahead may come to fit.
        let ahead = behind >= HALF_CIRCLE;
        Err(ProduceError::OutOfOrderSequence {
            producer: stamp.id,
            expected,
            got: stamp.base_sequence,
            earlier_unresolved: ahead && (newest.end() > high_watermark || self.refused_before(stamp)),
        })
    }

    /// A producer that is not known here begins at 0: anything else means that state was lost, and that a repetition
    /// could not be told from a new batch.
    fn check_unknown(&self, stamp: ProducerStamp) -> Result<Verdict, ProduceError> {
        if stamp.base_sequence != Sequence::FIRST && !PlantedBug::NoProducerDedup.planted() {
            if self.refused_before(stamp) {
                // Its first batch was refused a moment ago: this one was sent behind it, and comes again after it.
                return self.check_first(stamp);
            }
            return Err(ProduceError::UnknownProducer {
                producer: stamp.id,
                got: stamp.base_sequence,
            });
        }
        if self.by_id.len() >= MAX_PRODUCERS {
            return Err(ProduceError::TooManyProducers { limit: MAX_PRODUCERS });
        }
        Ok(Verdict::Append)
    }

    /// A new producer, and a new epoch, begin at 0.
    fn check_first(&self, stamp: ProducerStamp) -> Result<Verdict, ProduceError> {
        if stamp.base_sequence == Sequence::FIRST {
            return Ok(Verdict::Append);
        }
        Err(ProduceError::OutOfOrderSequence {
            producer: stamp.id,
            expected: Sequence::FIRST,
            got: stamp.base_sequence,
            earlier_unresolved: self.refused_before(stamp),
        })
    }

    /// Takes note of a batch that is in the log, or is about to be.
    pub fn record(&mut self, id: ProducerId, epoch: ProducerEpoch, mark: BatchMark, now: Timestamp) -> Undo {
        let before = self.by_id.get(&id).copied();
        match self.by_id.get_mut(&id) {
            Some(known) if known.epoch == epoch => {
                known.remember(mark);
                known.last_append = now;
            }
            _ => {
                let mut marks = [BatchMark::default(); REMEMBERED_BATCHES];
                marks[0] = mark;
                self.by_id.insert(
                    id,
                    Producer {
                        epoch,
                        last_append: now,
                        used: 1,
                        marks,
                    },
                );
            }
        }
        self.refusals
            .retain(|refusal| refusal.producer != id || refusal.first != mark.first);
        Undo { producer: id, before }
    }

    /// Applies one stored batch, as appending it did. The log is the authority: sequences are not judged again.
    pub fn replay(&mut self, header: &BatchHeader, wall: Timestamp) {
        if let (Some(stamp), Some(leader_epoch)) = (header.producer(), header.leader_epoch()) {
            let _ = self.record(
                stamp.id,
                stamp.epoch,
                BatchMark::of(header, stamp, leader_epoch),
                wall,
            );
        }
    }

    /// Whether this state is one that a log could have led to whose remaining batches alone lead to `replayed`:
    /// whatever a replay knows, this knows too, and more only of batches that were deleted.
    #[must_use]
    pub fn agree_with(&self, replayed: &Self) -> bool {
        replayed.by_id.iter().all(|(id, theirs)| {
            self.by_id
                .get(id)
                .is_some_and(|ours| ours.epoch == theirs.epoch && ours.marks().ends_with(theirs.marks()))
        })
    }

    /// Takes back the latest [`Producers::record`] not taken back: the append failed.
    pub fn undo(&mut self, undo: Undo) {
        match undo.before {
            Some(state) => self.by_id.insert(undo.producer, state),
            None => self.by_id.remove(&undo.producer),
        };
    }

    /// Takes note that a batch was refused and that its producer will send it again, so that those sent behind it are
    /// told to wait rather than to give up.
    pub fn note_refused(&mut self, stamp: ProducerStamp) {
        let refusal = Refusal {
            producer: stamp.id,
            epoch: stamp.epoch,
            first: stamp.base_sequence,
        };
        if self.refusals.contains(&refusal) {
            return;
        }
        if self.refusals.len() == REMEMBERED_REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push(refusal);
    }

    fn refused_before(&self, stamp: ProducerStamp) -> bool {
        self.refusals.iter().any(|refusal| {
            let ahead = distance(refusal.first, stamp.base_sequence);
            refusal.producer == stamp.id && refusal.epoch == stamp.epoch && ahead > 0 && ahead < HALF_CIRCLE
        })
    }

    /// Forgets those silent for `expiry` by the broker's clock; sooner, if there are too many.
    pub fn expire(&mut self, now: Timestamp, expiry: Duration) {
        self.forget_silent(now, expiry);
        if self.by_id.len() >= MAX_PRODUCERS {
            self.forget_silent(now, expiry.min(EARLY_EXPIRY));
        }
        if self.by_id.is_empty() {
            self.by_id = HashMap::new();
        }
        self.refusals = Vec::new();
    }

    fn forget_silent(&mut self, now: Timestamp, expiry: Duration) {
        let millis = i64::try_from(expiry.as_millis()).unwrap_or(i64::MAX);
        self.by_id
            .retain(|_, state| now.get().saturating_sub(state.last_append.get()) < millis);
    }
}
