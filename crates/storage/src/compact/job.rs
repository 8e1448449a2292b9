//! One cleaning of one log, in steps: so many that a thread can keep to a rate, and a simulation can cut the power between
//! any two.

use super::map::OffsetMap;
use super::write::{self, Writer, Written};
use super::{CleanBudget, CleanError, CleanLimits, CleanReport, CleanStep, swap};
use crate::files::{OpenFile, failed, lock};
use crate::log::Shared;
use crate::paths::Kind;
use crate::segment::{Boundary, Rules, Segment, Step, Walk, is_gone};
use crate::{Corruption, Disk, LogConfig};
use bytes::Bytes;
use quipu_record::{
    BatchHeader, Offset, PlantedBug, RecordView, Rewritten, StoredBatch, Timestamp, TopicPartition,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// A batch was checked as it was produced; that much it may take once decompressed.
const DECODED_MAX: usize = 1 << 30;

/// A cleaning of a log: everything from its start to a place. Made by [`crate::Log::plan_cleaning`], for a thread that is
/// not the log's owner.
#[derive(Debug)]
pub struct CleanJob<D: Disk> {
    shared: Arc<Shared<D>>,
    config: LogConfig,
    horizon: Option<Timestamp>,
    limits: CleanLimits,
    /// How often the log had been cut as this was planned.
    cuts: u64,
    /// Below this no key has two records.
    dirty_from: Offset,
    /// Segments up to here are cleaned.
    end: Offset,
    phase: Phase<D>,
    report: CleanReport,
}

#[derive(Debug)]
enum Phase<D: Disk> {
    Map,
    Rewrite(Pass<D>),
    Done,
}

/// A pass: the latest of each key below `end`, and what is still to be copied.
#[derive(Debug)]
struct Pass<D: Disk> {
    map: OffsetMap,
    end: Offset,
    groups: VecDeque<Vec<Arc<Segment<D>>>>,
}

/// How fast to go: told of bytes read and written, waits if need be, and says whether to go on.
pub(super) type Pace<'p> = &'p mut dyn FnMut(u64) -> bool;

impl<D: Disk> CleanJob<D> {
    pub(crate) fn new(
        shared: Arc<Shared<D>>,
        config: LogConfig,
        limits: CleanLimits,
        (cuts, dirty_from): (u64, Offset),
        end: Offset,
    ) -> Self {
        let retention = config.compaction.map_or(0, |it| it.delete_retention_ms);
        let horizon = i64::try_from(retention).ok();
        let horizon = horizon.and_then(|retention| limits.now.get().checked_add(retention));
        Self {
            shared,
            config,
            horizon: horizon.map(Timestamp::new),
            limits,
            cuts,
            dirty_from,
            end,
            phase: Phase::Map,
            report: CleanReport::default(),
        }
    }

    /// Which partition's.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.shared.partition()
    }

    /// What it did so far.
    #[must_use]
    pub const fn report(&self) -> CleanReport {
        self.report
    }

    /// Does it all.
    ///
    /// # Errors
    /// [`CleanError`].
    pub fn run(
        &mut self,
        budget: &CleanBudget,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<CleanReport, CleanError> {
        while self.step(budget, pace)? == CleanStep::More {}
        Ok(self.report)
    }

    /// Does the next part: notes the keys of one pass, or replaces one group of segments. `pace` is told of the bytes read
    /// and written, may wait, and says whether to go on.
    ///
    /// # Errors
    /// [`CleanError`].
    pub fn step(
        &mut self,
        budget: &CleanBudget,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<CleanStep, CleanError> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Done => Ok(CleanStep::Done),
            Phase::Map => {
                let Some(pass) = self.map(budget, pace)? else {
                    return Ok(CleanStep::Done);
                };
                self.report.passes += 1;
                self.phase = Phase::Rewrite(pass);
                Ok(CleanStep::More)
            }
            Phase::Rewrite(mut pass) => {
                let Some(group) = pass.groups.pop_front() else {
                    return self.pass_done(pass.end);
                };
                if !self.replace(&group, &pass, pace)? {
                    return Ok(CleanStep::Done);
                }
                self.phase = Phase::Rewrite(pass);
                Ok(CleanStep::More)
            }
        }
    }

    /// Every group of a pass was replaced: the log remembers how far it is compacted.
    fn pass_done(&mut self, end: Offset) -> Result<CleanStep, CleanError> {
        let mut state = lock(&self.shared.cleaning);
        // What was cut since may have been what stood for the latest of a key.
        if state.cuts != self.cuts || self.shared.is_deleted() {
            return Ok(CleanStep::Done);
        }
        let mut done = *state;
        done.compacted_to = end;
        let disk = self.shared.dir().disk();
        match done.write(disk, &self.shared.path()) {
            // The log was begun anew, and its directory is gone.
            Err(failure) if is_gone(&failure.source) => return Ok(CleanStep::Done),
            written => written.map_err(CleanError::of_write)?,
        }
        *state = done;
        drop(state);
        self.dirty_from = end;
        if end < self.end {
            self.phase = Phase::Map;
            return Ok(CleanStep::More);
        }
        Ok(CleanStep::Done)
    }

    /// The complete segments up to the end of the cleaning. `None`: the log was cut since this was planned, and what has
    /// their offsets now may be neither committed nor durable.
    fn segments(&self) -> Option<Vec<Arc<Segment<D>>>> {
        let state = lock(&self.shared.cleaning);
        let segments = self.shared.view(|view| {
            let all = view.segments.iter();
            all.take_while(|it| it.is_sealed() && it.end().next <= self.end)
                .cloned()
                .collect()
        });
        (state.cuts == self.cuts).then_some(segments)
    }

    /// Notes the latest of each key, as far as the map takes them.
    fn map(&mut self, budget: &CleanBudget, pace: Pace<'_>) -> Result<Option<Pass<D>>, CleanError> {
        let Some(segments) = self.segments() else {
            return Ok(None);
        };
        let keys = self.end.since(self.dirty_from.min(self.end));
        let mut map = OffsetMap::new(budget.seed, budget.map_bytes, keys, 0);
        let mut reached = self.dirty_from;
        'all: for segment in segments.iter().filter(|it| it.end().next > self.dirty_from) {
            let Some(log) = self.open(segment)? else {
                return Ok(None);
            };
            let mut reading = Reading::new(segment, &log);
            loop {
                let before = reading.walk.bytes_read();
                let Some((header, bytes)) = reading.next(self)? else {
                    break;
                };
                if header.next_offset() <= self.dirty_from {
                    continue;
                }
                let count = header.records_count() as usize;
                if map.room() < count {
                    if !map.is_empty() {
                        break 'all;
                    }
                    map = OffsetMap::new(budget.seed, budget.map_bytes, keys, count);
                }
                note(&mut map, bytes);
                reached = header.next_offset();
                let read = reading.walk.bytes_read() - before;
                self.report.bytes_read += read;
                if read > 0 && !pace(read) {
                    return Err(CleanError::Stopped);
                }
            }
            if reading.gone {
                return Ok(None);
            }
            reached = reached.max(segment.end().next);
        }
        let below = segments.into_iter().filter(|it| it.base() < reached);
        let groups = groups(below.collect(), u64::from(self.config.segment_bytes));
        let pass = Pass {
            map,
            end: reached,
            groups,
        };
        Ok((reached > self.dirty_from).then_some(pass))
    }

    /// Copies a group without what is not wanted of it, and puts the copy in its place. False: the log has changed.
    fn replace(
        &mut self,
        group: &[Arc<Segment<D>>],
        pass: &Pass<D>,
        pace: Pace<'_>,
    ) -> Result<bool, CleanError> {
        let Some(first) = group.first() else {
            return Ok(true);
        };
        if !swap::is_run(&self.shared, group) {
            return Ok(false);
        }
        let shared = Arc::clone(&self.shared);
        let copied = shared.at_place(|place| {
            let interval = self.config.index_interval_bytes;
            let writer = Writer::begin(place, first.base(), first.created(), interval);
            let writer = match writer {
                // The directory went with the log.
                Err(failure) if is_gone(&failure.source) => return Ok(None),
                writer => writer.map_err(CleanError::of_write)?,
            };
            self.copy(group, pass, writer, pace)?
                .map_or(Ok(None), |(copy, writer)| {
                    if !copy.changed && group.len() == 1 {
                        return Ok(Some((copy, None)));
                    }
                    let written = writer.finish(place).map_err(CleanError::of_write)?;
                    Ok(Some((copy, Some(written))))
                })
        });
        let result = match copied {
            Ok(Some((_, None))) => Ok(true),
            Ok(Some((copy, Some(written)))) => self.put_in_place(group, &copy, &written),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        if !matches!(result, Err(CleanError::Failed(_))) {
            shared.at_place(|place| write::forget(place, first.base()));
        }
        result
    }

    fn put_in_place(
        &mut self,
        group: &[Arc<Segment<D>>],
        copy: &Copied,
        written: &Written<D>,
    ) -> Result<bool, CleanError> {
        let before: u64 = group.iter().map(|it| u64::from(it.end().position)).sum();
        if !swap::swap(&self.shared, group, written, copy.purged_to)? {
            return Ok(false);
        }
        self.report.segments_before += group.len() as u64;
        self.report.segments_after += 1;
        self.report.bytes_freed += before.saturating_sub(u64::from(written.seal.end.position));
        self.report.tombstones_purged += copy.purged;
        Ok(true)
    }

    /// Copies batch by batch. `None`: the log has changed.
    fn copy(
        &mut self,
        group: &[Arc<Segment<D>>],
        pass: &Pass<D>,
        mut writer: Writer<D>,
        pace: Pace<'_>,
    ) -> Result<Option<(Copied, Writer<D>)>, CleanError> {
        let mut copied = Copied::default();
        let last = group.last().map(|segment| segment.end().next);
        for segment in group {
            let Some(log) = self.open(segment)? else {
                return Ok(None);
            };
            let mut reading = Reading::new(segment, &log);
            loop {
                let before = reading.walk.bytes_read();
                let Some((header, bytes)) = reading.next(self)? else {
                    break;
                };
                let must_stay = Some(header.next_offset()) == last || self.is_a_last(&header);
                let kept = self.filter(&header, bytes, pass, &mut copied);
                let written = match kept {
                    Rewritten::Whole => writer.push(&header, &bytes[quipu_record::HEADER_LEN..]),
                    Rewritten::Part(batch) => {
                        copied.changed = true;
                        writer.push(batch.header(), batch.body())
                    }
                    Rewritten::Nothing if must_stay => {
                        match StoredBatch::parse(&Bytes::copy_from_slice(bytes)) {
                            Ok(batch) if header.records_count() > 0 => {
                                copied.changed = true;
                                let empty = batch.emptied();
                                writer.push(empty.header(), empty.body())
                            }
                            _ => writer.push(&header, &bytes[quipu_record::HEADER_LEN..]),
                        }
                    }
                    Rewritten::Nothing => {
                        copied.changed = true;
                        Ok(0)
                    }
                };
                let written = written.map_err(CleanError::of_write)?;
                let read = reading.walk.bytes_read() - before;
                self.report.bytes_read += read;
                self.report.bytes_written += written;
                if read + written > 0 && !pace(read + written) {
                    return Err(CleanError::Stopped);
                }
            }
            if reading.gone {
                return Ok(None);
            }
        }
        Ok(Some((copied, writer)))
    }

    /// Whether a batch tells repetitions of an idempotent producer, or may.
    fn is_a_last(&self, header: &BatchHeader) -> bool {
        let producer = header.producer();
        self.limits.last_batches.contains(&header.base_offset())
            || producer.is_some_and(|stamp| self.limits.unsure.contains(&stamp.id))
    }

    /// What stays of a batch.
    fn filter(&self, header: &BatchHeader, bytes: &[u8], pass: &Pass<D>, copied: &mut Copied) -> Rewritten {
        // What this pass has not seen to the end it leaves as it is; and nobody but brokers reads a control batch.
        if header.next_offset() > pass.end || header.is_control() {
            return Rewritten::Whole;
        }
        let Ok(batch) = StoredBatch::parse(&Bytes::copy_from_slice(bytes)) else {
            return Rewritten::Whole;
        };
        let expired = header.has_delete_horizon() && header.base_timestamp() <= self.limits.now;
        let mut purged: Option<Offset> = None;
        let mut count = 0;
        let keep = |record: &RecordView<'_>| {
            let Some(key) = record.key else { return true };
            if pass.map.latest(key).is_some_and(|latest| latest > record.offset) {
                return false;
            }
            let held =
                PlantedBug::TombstonePurgedEarly.planted() || record.offset < self.limits.tombstone_floor;
            if record.value.is_none() && expired && held {
                purged = purged.max(Some(record.offset.next()));
                count += 1;
                return false;
            }
            true
        };
        // Records that do not read as they were produced are nobody's to judge.
        let Ok(kept) = batch.retain(DECODED_MAX, self.horizon, keep) else {
            return Rewritten::Whole;
        };
        copied.purged_to = copied.purged_to.max(purged.unwrap_or(Offset::ZERO));
        copied.purged += count;
        kept
    }

    /// Opens a segment; `None` if it is gone.
    fn open(&self, segment: &Segment<D>) -> Result<Option<Arc<OpenFile<D>>>, CleanError> {
        let opened = self.shared.at_place(|place| segment.open(place));
        match opened {
            Ok(log) => Ok(Some(log)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => {
                let path = crate::paths::at_offset(&self.shared.path(), segment.base(), Kind::Log);
                Err(CleanError::Unreadable(failed("opening", &path)(error)))
            }
        }
    }
}

/// What a copy came to.
#[derive(Debug, Default)]
struct Copied {
    changed: bool,
    purged: u64,
    purged_to: Offset,
}

/// A walk over a segment, which ends early if the segment goes.
struct Reading<'l, D: Disk> {
    segment: Arc<Segment<D>>,
    walk: Walk<'l, D>,
    gone: bool,
}

impl<'l, D: Disk> Reading<'l, D> {
    fn new(segment: &Arc<Segment<D>>, log: &'l OpenFile<D>) -> Self {
        let end = u64::from(segment.end().position);
        Self {
            walk: Walk::new(log, Boundary::start(segment.base()), end),
            segment: Arc::clone(segment),
            gone: false,
        }
    }

    /// The next batch and its bytes; `None` at the end, or if the segment is no longer part of the log.
    fn next(&mut self, job: &CleanJob<D>) -> Result<Option<(BatchHeader, &[u8])>, CleanError> {
        let epochs = job.shared.epochs();
        let mut rules = Rules::new(Some(&epochs), true);
        let at = *self.walk.at();
        let what = match self.walk.step(&mut rules).map_err(CleanError::Unreadable)? {
            Step::Batch(header, bytes) => return Ok(Some((header, bytes))),
            Step::End => {
                let end = self.segment.end();
                if (at.position, at.outside) == (end.position, end.outside) {
                    return Ok(None);
                }
                // A copy would make right what is not.
                "the segment ends here, and should not, or its batches are not those that were written"
                    .to_owned()
            }
            Step::Bad(what) => what,
        };
        if !swap::is_run(&job.shared, std::slice::from_ref(&self.segment)) {
            self.gone = true;
            return Ok(None);
        }
        Err(CleanError::Damaged(Box::new(Corruption {
            file: crate::paths::at_offset(&job.shared.path(), self.segment.base(), Kind::Log),
            position: u64::from(at.position),
            offset: Some(at.next),
            what,
        })))
    }
}

/// Notes the keys of a batch.
fn note(map: &mut OffsetMap, bytes: &[u8]) {
    let batch = StoredBatch::parse(&Bytes::copy_from_slice(bytes));
    let Ok(records) = batch.and_then(|batch| batch.records(DECODED_MAX)) else {
        return;
    };
    // Half a batch is noted if the other half does not read: what is noted is right.
    for record in records.iter().map_while(Result::ok) {
        if let Some(key) = record.key {
            map.put(key, record.offset);
        }
    }
}

/// Segments side by side that together are no larger than one may be.
fn groups<D: Disk>(segments: Vec<Arc<Segment<D>>>, limit: u64) -> VecDeque<Vec<Arc<Segment<D>>>> {
    let mut groups: VecDeque<Vec<Arc<Segment<D>>>> = VecDeque::new();
    let mut bytes = 0;
    for segment in segments {
        let end = segment.end();
        let size = u64::from(end.position);
        let fits = groups
            .back()
            .and_then(|group| group.first())
            .is_some_and(|first| {
                bytes + size <= limit && end.next.since(first.base()) <= u64::from(i32::MAX.cast_unsigned())
            });
        if !fits {
            groups.push_back(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(group) = groups.back_mut() {
            group.push(segment);
        }
    }
    groups
}
