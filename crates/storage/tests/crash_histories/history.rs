//! One history: operations chosen by a seed.

use crate::keyed::Keyed;
use crate::model::{Appended, Model};
use crate::stats::Stats;
use crate::table::{self, Entry, ensure};
use bytes::Bytes;
use quipu_record::{
    Batch, BatchBuilder, BrokerEpoch, Codec, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId,
    ProducerStamp, Sequence, StoredBatch, Timestamp, TopicId, TopicPartition,
};
use quipu_storage::test_util::{FakeDisk, Faults, Rng};
use quipu_storage::{
    AppendError, CleanBudget, CleanJob, CompactionConfig, DataDir, DataDirOptions, DeleteRecordsError,
    FlushJobs, FlushMethod, Flusher, HashSeed, Log, LogConfig, RetainError, SnapshotError, TruncateError,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a process has open.
pub(crate) struct Process {
    pub(crate) logs: Vec<Log<FakeDisk>>,
    /// The cleaning under way, and of which log.
    pub(crate) cleaning: Option<(usize, CleanJob<FakeDisk>)>,
    flusher: Flusher<FakeDisk>,
    jobs: FlushJobs<FakeDisk>,
    dir: DataDir<FakeDisk>,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Crash,
    Kill,
    Clean,
}

/// The disk failed for good: the process exits.
pub(crate) struct Exit;

pub(crate) type Outcome = Result<Result<(), Exit>, String>;

pub(crate) struct History<'s> {
    pub(crate) rng: Rng,
    pub(crate) disk: FakeDisk,
    config: LogConfig,
    /// Of the logs that are compacted.
    compaction: CompactionConfig,
    pub(crate) budget: CleanBudget,
    options: DataDirOptions,
    method: FlushMethod,
    pub(crate) models: Vec<Model>,
    pub(crate) now: i64,
    epoch: u32,
    /// How many keys a compacted log has.
    keys: u64,
    sequences: BTreeMap<(usize, u64), u32>,
    say: bool,
    pub(crate) stats: &'s mut Stats,
    /// A truncation failed half way: a kill then leaves something between what was and what was to be.
    spoiled: bool,
}

impl<'s> History<'s> {
    /// Runs the history of a seed; `say` tells each operation.
    pub(crate) fn run(seed: u64, operations: u64, say: bool, stats: &'s mut Stats) -> Result<(), String> {
        let mut rng = Rng::new(seed);
        let disk = FakeDisk::new(rng.next_u64());
        let config = LogConfig {
            segment_bytes: [200, 500, 1_500][rng.index(3)],
            segment_ms: [50, 1 << 40][rng.index(2)],
            retention_ms: [None, Some(300)][rng.index(2)],
            retention_bytes: [None, Some(600)][rng.index(2)],
            compaction: None,
            index_interval_bytes: [1, 100, 4096][rng.index(3)],
            direct_bytes: [None, Some(1), Some(300)][rng.index(3)],
        };
        let options = DataDirOptions {
            open_files: rng.index(6),
            open_files_max: [8, 1000][rng.index(2)],
        };
        let compaction = CompactionConfig {
            min_cleanable_dirty_ratio: [0, 300_000][rng.index(2)],
            min_compaction_lag_ms: [0, 40][rng.index(2)],
            delete_retention_ms: [0, 0, 60][rng.index(3)],
        };
        let budget = CleanBudget {
            map_bytes: [24 * 6, 24 * 20, 1 << 20][rng.index(3)],
            seed: HashSeed::new(rng.next_u64(), 1),
        };
        let mut models = vec![Model::default(); 1 + rng.index(3)];
        for model in &mut models {
            model.keyed = rng.one_in(3).then(Keyed::default);
        }
        let mut history = Self {
            method: [FlushMethod::Auto, FlushMethod::Fdatasync, FlushMethod::Syncfs][rng.index(3)],
            keys: [2, 5, 20][rng.index(3)],
            models,
            rng,
            disk,
            config,
            compaction,
            budget,
            options,
            now: 1_000,
            epoch: 0,
            sequences: BTreeMap::new(),
            say,
            stats,
            spoiled: false,
        };
        let end = history.go(operations);
        history.stats.add_disk(&history.disk.counts());
        end
    }

    fn go(&mut self, operations: u64) -> Result<(), String> {
        let mut process = self.open(End::Kill)?;
        for _ in 0..operations {
            let ended = match self.operation(&mut process)? {
                Ok(None) => continue,
                Ok(Some(end)) => end,
                Err(Exit) => [End::Crash, End::Kill][self.rng.index(2)],
            };
            self.end(process, ended)?;
            process = self.open(ended)?;
        }
        Ok(())
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.say {
            println!("{}", what());
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        self.stats.count(what);
        self.tell(|| what.to_owned());
    }

    /// One operation; the end of the process, if it is that.
    fn operation(&mut self, process: &mut Process) -> Result<Result<Option<End>, Exit>, String> {
        self.now += i64::try_from(self.rng.below(8)).unwrap();
        let at = self.rng.index(self.models.len());
        let table = self.some_table();
        let draw = self.rng.below(if table.is_some() { 112 } else { 100 });
        let done = match (draw, table) {
            (100..=107, Some(at)) => self.compact(process, at)?,
            (108..=109, Some(at)) => self.compact_until_the_power_goes(process, at)?,
            (110.., Some(at)) => self.catch_up(process, at)?,
            (draw, _) => return self.operation_of_any_log(process, at, draw),
        };
        Ok(done.map(|()| None))
    }

    fn operation_of_any_log(
        &mut self,
        process: &mut Process,
        at: usize,
        draw: u64,
    ) -> Result<Result<Option<End>, Exit>, String> {
        let done = match draw {
            0..=37 => self.append(process, at)?,
            38..=45 => self.take_jobs(process),
            46..=59 => self.flush(process),
            60..=63 => self.read(process, at)?,
            64..=66 => self.read_by_time(process, at)?,
            67..=70 => self.truncate(process, at)?,
            71..=75 => self.retain(process, at)?,
            76..=79 => self.delete_records(process, at)?,
            80 => self.restart(process, at),
            81 => self.delete_log(process, at)?,
            82..=83 => self.snapshot(process, at)?,
            84..=85 => self.begin_epoch(process, at),
            86 => self.configure(process, at),
            87..=88 => self.empty_trash(process),
            89..=92 => self.change_faults(),
            93 => process.logs[at..=at]
                .iter()
                .try_for_each(|log| {
                    let model = &self.models[at];
                    self.disk.set_faults(Faults::default());
                    model.matches(log)
                })
                .map(Ok)?,
            94..=95 => return Ok(Ok(Some(End::Kill))),
            96..=98 => return Ok(Ok(Some(End::Crash))),
            _ => return self.clean(process).map(|done| done.map(|()| Some(End::Clean))),
        };
        Ok(done.map(|()| None))
    }

    fn config_of(&self, at: usize) -> LogConfig {
        LogConfig {
            compaction: self.models[at].keyed.as_ref().map(|_| self.compaction),
            ..self.config
        }
    }

    fn batch(&mut self, at: usize, base: Offset) -> (StoredBatch, Appended) {
        let is_table = self.models[at].keyed.is_some();
        let mut builder = BatchBuilder::new(Codec::None, 512);
        let count = 1 + self.rng.below(3);
        let (mut times, mut entries) = (Vec::new(), Vec::new());
        for number in 0..count {
            let skew = i64::try_from(self.rng.below(40)).unwrap() - 20;
            let time = Timestamp::new(self.now + skew);
            let most = if self.rng.one_in(10) { 400 } else { 50 };
            let len = self.rng.index(most);
            let value = Bytes::from(vec![self.rng.next_u64().to_le_bytes()[0]; len]);
            times.push(time);
            if !is_table {
                builder.push(time, None, Some(&value), &[]).unwrap();
                continue;
            }
            let key = u8::try_from(self.rng.below(self.keys)).unwrap();
            let value = (!self.rng.one_in(4)).then_some(value);
            builder.push(time, Some(&[key]), value.as_deref(), &[]).unwrap();
            entries.push(Entry {
                offset: base.plus(number),
                key,
                value,
                time,
            });
        }
        let stamp = (is_table && self.rng.one_in(3)).then(|| self.stamp(at, count));
        let bytes = builder.finish(stamp).unwrap();
        let batch = Batch::check(bytes, 1 << 20).unwrap();
        let batch = batch.stamp(base, LeaderEpoch::new(self.epoch));
        let keyed = table::Appended {
            base,
            next: batch.next_offset(),
            producer: stamp.map(|stamp| stamp.id),
            entries,
        };
        let appended = Appended::of(&batch, times, keyed);
        (batch, appended)
    }

    /// The next batch of one of two idempotent producers.
    fn stamp(&mut self, at: usize, count: u64) -> ProducerStamp {
        let id = self.rng.below(2);
        let sequence = self.sequences.entry((at, id)).or_default();
        let base_sequence = Sequence::new(*sequence);
        *sequence += u32::try_from(count).unwrap();
        ProducerStamp {
            id: ProducerId::new(id),
            epoch: ProducerEpoch::new(0),
            base_sequence,
        }
    }

    fn append(&mut self, process: &mut Process, at: usize) -> Outcome {
        let log = &mut process.logs[at];
        let mut base = log.log_end();
        let newest = log.epochs().latest().map_or(0, |latest| latest.epoch.get());
        self.epoch = self.epoch.max(newest);
        let mut batches = Vec::new();
        let mut appended = Vec::new();
        for _ in 0..=self.rng.below(4) {
            let (batch, of) = self.batch(at, base);
            base = batch.next_offset();
            appended.push(of);
            batches.push(batch);
        }
        let (before, size) = (log.log_end(), log.size_bytes());
        match log.append(Timestamp::new(self.now), &batches) {
            Ok(done) => {
                ensure!(
                    done.log_end == base && log.log_end() == base,
                    "the append ends elsewhere"
                );
                self.stats.add("batches", batches.len() as u64);
                if done.rolled {
                    self.stats.count("rolled");
                }
                self.tell(|| {
                    let all = appended
                        .iter()
                        .map(|it| format!("{}-{}@{}", it.base, it.next, it.bytes.len()));
                    format!("{at}: {}", all.collect::<Vec<_>>().join(" "))
                });
                self.models[at].batches.extend(appended);
                self.count("append");
            }
            Err(AppendError::StorageFull(_)) => {
                ensure!(
                    log.log_end() == before && log.size_bytes() == size,
                    "a full disk changed the log"
                );
                self.count("append: disk full");
            }
            Err(AppendError::TooManyDirtyFiles { .. }) => self.count("append: too many files"),
            Err(AppendError::Failed(_)) => {
                self.tell(|| {
                    let all = appended
                        .iter()
                        .map(|it| format!("{}-{}@{}", it.base, it.next, it.bytes.len()));
                    format!("failed {at}: {}", all.collect::<Vec<_>>().join(" "))
                });
                self.models[at].maybe = appended;
                self.count("append: failed");
                return Ok(Err(Exit));
            }
            Err(error) => return Err(format!("append: {error}")),
        }
        Ok(Ok(()))
    }

    fn take_jobs(&mut self, process: &mut Process) -> Result<(), Exit> {
        self.count("take jobs");
        for log in &mut process.logs {
            if self.rng.one_in(2)
                && let Some(job) = log.take_flush()
            {
                process.jobs.add(job);
            }
        }
        Ok(())
    }

    fn flush(&mut self, process: &mut Process) -> Result<(), Exit> {
        if self.rng.one_in(3) {
            self.take_jobs(process)?;
        } else {
            process
                .jobs
                .extend(process.logs.iter_mut().filter_map(Log::take_flush));
        }
        let Ok((done, report)) = process.flusher.round(process.jobs.take()) else {
            self.count("flush: failed");
            return Err(Exit);
        };
        self.count(if report.syncfs { "flush by syncfs" } else { "flush" });
        for done in &done {
            if done.jobs() > 1 {
                self.count("joined jobs");
            }
            let at = process
                .logs
                .iter()
                .position(|log| log.partition() == done.partition());
            let Some(at) = at else { continue };
            let flushed = process.logs[at].flush_done(done);
            let model = &mut self.models[at];
            model.flushed = flushed;
            model.durable_start = process.logs[at].durable_log_start();
            model.forget_deleted();
            model.commit(self.rng.next_u64());
        }
        Ok(())
    }

    fn clean(&mut self, process: &mut Process) -> Outcome {
        self.disk.set_faults(Faults::default());
        self.disk.set_room(None);
        for _ in 0..2 {
            process
                .jobs
                .extend(process.logs.iter_mut().filter_map(Log::take_flush));
            if self.flush(process).is_err() {
                return Ok(Err(Exit));
            }
        }
        process
            .jobs
            .extend(process.logs.iter_mut().filter_map(Log::take_flush));
        if self.flush(process).is_err() {
            return Ok(Err(Exit));
        }
        for (log, model) in process.logs.iter().zip(&self.models) {
            ensure!(
                !log.is_dirty() && log.flushed() == model.log_end(),
                "a log is dirty after all was flushed"
            );
        }
        let flusher = Flusher::new(process.dir.clone(), self.method);
        let flusher = std::mem::replace(&mut process.flusher, flusher);
        match process.dir.shut_down(flusher, BrokerEpoch::new(7)) {
            Ok(()) => {
                self.count("clean shutdown");
                Ok(Ok(()))
            }
            Err(_) => Ok(Err(Exit)),
        }
    }

    fn some_offset(&mut self, at: usize) -> Offset {
        let model = &self.models[at];
        let span = model.log_end().since(model.log_start);
        model.log_start.plus(self.rng.below(span + 1))
    }

    fn read(&mut self, process: &Process, at: usize) -> Outcome {
        self.count("read");
        self.disk.set_faults(Faults::default());
        let (from, limit) = (self.some_offset(at), self.some_offset(at));
        let max_bytes = self.rng.index(2_000);
        if from < self.models[at].whole_from() {
            self.models[at].read_of_table(&process.logs[at], from, limit)?;
            return Ok(Ok(()));
        }
        self.models[at].read_matches(&process.logs[at], from, limit, max_bytes)?;
        Ok(Ok(()))
    }

    fn read_by_time(&mut self, process: &Process, at: usize) -> Outcome {
        self.count("read by time");
        self.disk.set_faults(Faults::default());
        let time = Timestamp::new(self.now - i64::try_from(self.rng.below(400)).unwrap());
        let limit = self.some_offset(at);
        let found = process.logs[at].reader().offset_for_time(time, limit);
        let found = found.map_err(|error| format!("reading by time: {error}"))?;
        let found = found.map(|found| (found.offset, found.timestamp));
        let model = &self.models[at];
        let expected = match model.keyed {
            Some(_) => model.table_at_time(&process.logs[at], time, limit)?,
            None => model.at_time(time, limit),
        };
        ensure!(
            found == expected,
            "at {time} below {limit}: {found:?}, and not {expected:?}"
        );
        Ok(Ok(()))
    }

    fn truncate(&mut self, process: &mut Process, at: usize) -> Outcome {
        let to = if self.rng.one_in(5) {
            self.models[at].log_end()
        } else {
            self.some_offset(at).max(self.models[at].kept_to())
        };
        self.tell(|| format!("truncate {at} to {to}"));
        self.stats.count("truncate");
        let end = self.models[at].boundary(to);
        let model = &mut self.models[at];
        match process.logs[at].truncate_to(to) {
            Ok(()) if end < model.log_start => model.begin_anew(model.log_start),
            Ok(()) => {
                model.truncate(end);
                model.durable_start = process.logs[at].durable_log_start();
                model.forget_deleted();
            }
            Err(TruncateError::Failed(_)) => {
                model.flushed = model.flushed.min(end);
                if end < model.log_start {
                    model.maybe_empty = vec![model.log_start];
                }
                self.spoiled = true;
                self.count("truncate: failed");
                return Ok(Err(Exit));
            }
            Err(error) => return Err(format!("truncate: {error}")),
        }
        let log = &process.logs[at];
        ensure!(
            log.log_end() == self.models[at].log_end(),
            "truncated to {}, and not to {}",
            log.log_end(),
            self.models[at].log_end()
        );
        // A new leader follows, mostly.
        self.epoch += u32::from(!self.rng.one_in(4));
        Ok(Ok(()))
    }

    fn limit(&mut self, process: &Process, at: usize) -> Offset {
        if self.models[at].keyed.is_some() {
            return self.models[at].kept_to();
        }
        match self.rng.below(3) {
            0 => process.logs[at].log_end(),
            1 => self.some_offset(at),
            _ => process.logs[at].flushed().max(process.logs[at].log_start()),
        }
    }

    fn retain(&mut self, process: &mut Process, at: usize) -> Outcome {
        let limit = self.limit(process, at);
        let log = &mut process.logs[at];
        let before = log.log_start();
        match log.retain(Timestamp::new(self.now), limit) {
            Ok(retained) => {
                let start = log.log_start();
                ensure!(
                    start == before || start <= limit,
                    "retention went past the high watermark"
                );
                ensure!(
                    retained.segments > 0 || start == before,
                    "retention moved the log start for nothing"
                );
                self.models[at].log_start = start;
                self.stats.add("retained segments", retained.segments as u64);
                self.count("retain");
            }
            Err(RetainError::StorageFull(_)) => self.count("retain: disk full"),
            Err(_) => return Ok(Err(Exit)),
        }
        Ok(Ok(()))
    }

    fn delete_records(&mut self, process: &mut Process, at: usize) -> Outcome {
        let (before, limit) = (self.some_offset(at), self.limit(process, at));
        self.count("delete records");
        match process.logs[at].delete_records(before, limit) {
            Ok(start) => {
                let model = &mut self.models[at];
                model.log_start = model.log_start.max(before);
                ensure!(
                    start == model.log_start,
                    "deleted up to {start}, and not {}",
                    model.log_start
                );
            }
            Err(DeleteRecordsError::OutOfRange { .. }) if before > limit => {}
            Err(error) => return Err(format!("delete records: {error}")),
        }
        Ok(Ok(()))
    }

    fn restart(&mut self, process: &mut Process, at: usize) -> Result<(), Exit> {
        self.count("restart at");
        let start = Offset::new(self.rng.below(200));
        self.epoch += 1;
        if process.logs[at].restart_at(start).is_err() {
            let model = &mut self.models[at];
            model.maybe_empty = vec![start];
            return Err(Exit);
        }
        self.models[at].begin_anew(start);
        Ok(())
    }

    fn delete_log(&mut self, process: &mut Process, at: usize) -> Outcome {
        self.count("delete log");
        let id = partition(at);
        let log = process.logs.remove(at);
        let reader = log.reader();
        let deleted = process.dir.delete_log(log);
        ensure!(
            reader.read(Offset::ZERO, Offset::MAX, 10).is_err(),
            "a deleted log is read"
        );
        if deleted.is_err() {
            self.models[at].maybe_empty = vec![Offset::ZERO];
            // What was open of it is closed: with it went the knowledge of failed write-backs.
            return Ok(Err(Exit));
        }
        self.models[at].begin_anew(Offset::ZERO);
        let opened = process
            .dir
            .open_log(id, self.config_of(at), Timestamp::new(self.now));
        let Ok((log, report)) = opened else {
            return Ok(Err(Exit));
        };
        ensure!(log.log_end() == Offset::ZERO, "a deleted log is back: {report:?}");
        process.logs.insert(at, log);
        self.epoch += 1;
        Ok(Ok(()))
    }

    fn snapshot(&mut self, process: &mut Process, at: usize) -> Outcome {
        self.count("snapshot");
        let state = self.rng.next_u64().to_le_bytes().to_vec();
        let log = &mut process.logs[at];
        let had = log.producer_snapshot().ok().flatten().map(|(at, _)| at);
        match log.write_producer_snapshot(&state) {
            Ok(()) if had == Some(log.log_end()) => {}
            Ok(()) => {
                self.models[at].snapshots.insert(log.log_end(), state);
            }
            Err(SnapshotError::StorageFull(_)) => {}
            Err(_) => return Ok(Err(Exit)),
        }
        self.check_snapshot(&process.logs[at], at)?;
        Ok(Ok(()))
    }

    fn check_snapshot(&self, log: &Log<FakeDisk>, at: usize) -> Result<(), String> {
        let Ok(found) = log.producer_snapshot() else {
            return Ok(());
        };
        if let Some((offset, state)) = found {
            ensure!(offset <= log.log_end(), "a snapshot at {offset} is past the end");
            let expected = self.models[at].snapshots.get(&offset);
            ensure!(
                expected.is_some_and(|expected| *expected == state),
                "the snapshot at {offset} is not the one that was written"
            );
        }
        Ok(())
    }

    fn begin_epoch(&mut self, process: &mut Process, at: usize) -> Result<(), Exit> {
        self.count("begin epoch");
        self.epoch += 1;
        process.logs[at].begin_epoch(LeaderEpoch::new(self.epoch));
        Ok(())
    }

    fn configure(&mut self, process: &mut Process, at: usize) -> Result<(), Exit> {
        let mut config = self.config_of(at);
        config.segment_bytes = [150, 300, 900][self.rng.index(3)];
        process.logs[at].set_config(config);
        Ok(())
    }

    fn empty_trash(&mut self, process: &Process) -> Result<(), Exit> {
        self.count("empty trash");
        process.dir.empty_trash(20).map(|_| ()).map_err(|_| Exit)
    }

    fn change_faults(&mut self) -> Result<(), Exit> {
        let mut faults = Faults::default();
        match self.rng.below(12) {
            0 => faults.write_eio = 3_000,
            1 | 2 => faults.no_space = 10_000,
            3 => faults.short_write = 20_000,
            4 => faults.sync_eio = 5_000,
            5 => faults.write_back_eio = 2_000,
            6 => faults.close_eio = 60_000,
            7 => self.disk.set_room(Some(self.rng.below(2_000))),
            8 => self.disk.set_room(None),
            _ => {}
        }
        self.tell(|| format!("faults: {faults:?}"));
        self.disk.set_faults(faults);
        Ok(())
    }

    fn end(&mut self, process: Process, how: End) -> Result<(), String> {
        self.tell(|| format!("{how:?}"));
        self.disk.set_room(None);
        match how {
            End::Crash => {
                self.stats.count("crash");
                let report = self.disk.crash(self.rng.next_u64());
                self.stats.add_crash(&report);
            }
            End::Kill => {
                self.stats.count("kill");
                self.disk.kill();
            }
            End::Clean if self.rng.one_in(2) => {
                self.disk.crash(self.rng.next_u64());
            }
            End::Clean => self.disk.kill(),
        }
        drop(process);
        self.count_interrupted();
        self.disk.set_faults(Faults::default());
        ensure!(self.disk.counts().open_files == 0, "files are open");
        Ok(())
    }

    /// Starts again, perhaps at the second try, and holds each log against its model.
    fn open(&mut self, ended: End) -> Result<Process, String> {
        if self.rng.one_in(8) && ended == End::Crash {
            // Something fails while it starts, and the power goes again.
            let faults = Faults {
                write_eio: 4_000,
                sync_eio: 4_000,
                read_eio: 2_000,
                ..Faults::default()
            };
            self.disk.set_faults(faults);
            let opened = self.try_open();
            self.disk.set_faults(Faults::default());
            if opened.is_err() {
                self.count("open: failed");
            }
            drop(opened);
            let report = self.disk.crash(self.rng.next_u64());
            self.stats.add_crash(&report);
        }
        self.tell(|| {
            let size = |path: &PathBuf| self.disk.contents(path).map_or(0, |bytes| bytes.len());
            let files = self.disk.files();
            let sizes: Vec<_> = files
                .iter()
                .map(|path| format!("  {}: {}", path.display(), size(path)))
                .collect();
            sizes.join("\n")
        });
        let (dir, clean, opened) = self.try_open()?;
        ensure!(clean == (ended == End::Clean), "the start says clean: {clean}");
        self.count("open");
        let mut logs = Vec::new();
        for (at, (log, report)) in opened.into_iter().enumerate() {
            if report.cut.is_some() {
                self.stats.count("cut");
            }
            self.tell(|| format!("{at}: {} to {}, {report:?}", log.log_start(), log.log_end()));
            // What is written behind its process may go with it.
            let all_written = ended == End::Clean || self.config.direct_bytes.is_none();
            let kept = ended != End::Crash && all_written && !self.spoiled;
            ensure!(
                ended != End::Clean || (report.scanned == 0 && report.repaired.is_empty()),
                "a clean start scanned: {report:?}"
            );
            let before = format!("log {at}");
            self.models[at]
                .reopened(&log, &report, kept)
                .map_err(|fault| format!("{before}: {fault}; {report:?}"))?;
            self.check_snapshot(&log, at)?;
            self.epoch = self
                .epoch
                .max(log.epochs().latest().map_or(0, |latest| latest.epoch.get()));
            logs.push(log);
        }
        self.spoiled = false;
        self.epoch += u32::from(self.rng.one_in(2));
        let flusher = Flusher::new(dir.clone(), self.method);
        Ok(Process {
            dir,
            logs,
            cleaning: None,
            flusher,
            jobs: FlushJobs::default(),
        })
    }

    #[expect(clippy::type_complexity, reason = "what a start gives")]
    fn try_open(
        &self,
    ) -> Result<
        (
            DataDir<FakeDisk>,
            bool,
            Vec<(Log<FakeDisk>, quipu_storage::OpenReport)>,
        ),
        String,
    > {
        let opened = DataDir::open(self.disk.clone(), PathBuf::from("/data"), self.options);
        let (dir, boot) = opened.map_err(|error| format!("opening: {error}"))?;
        let open = |at| {
            let opened = dir.open_log(partition(at), self.config_of(at), Timestamp::new(self.now));
            opened.map_err(|error| format!("opening log {at}: {error}"))
        };
        let logs = (0..self.models.len()).map(open).collect::<Result<_, _>>()?;
        Ok((dir, boot.clean_shutdown.is_some(), logs))
    }
}

fn partition(at: usize) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(7),
        partition: PartitionId::new(u32::try_from(at).unwrap()),
    }
}
