//! One history: operations chosen by a seed.

use crate::model::Model;
use crate::table::{Appended, Entry, Replica, ensure, served};
use bytes::Bytes;
use quipu_record::{
    Batch, BatchBuilder, BrokerEpoch, Codec, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId,
    ProducerStamp, Sequence, StoredBatch, Timestamp, TopicId, TopicPartition,
};
use quipu_storage::test_util::{FakeDisk, Faults, Rng};
use quipu_storage::{
    AppendError, CleanBudget, CleanError, CleanJob, CleanLimits, CleanStep, CompactionConfig, DataDir,
    DataDirOptions, FlushMethod, Flusher, HashSeed, Log, LogConfig, TruncateError,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Crash,
    Kill,
    Clean,
}

/// The disk failed for good: the process exits.
struct Exit;

type Outcome = Result<Result<(), Exit>, String>;

struct Process {
    log: Log<FakeDisk>,
    cleaning: Option<CleanJob<FakeDisk>>,
    flusher: Flusher<FakeDisk>,
    dir: DataDir<FakeDisk>,
}

pub(crate) struct History<'s> {
    rng: Rng,
    disk: FakeDisk,
    config: LogConfig,
    method: FlushMethod,
    model: Model,
    replica: Replica,
    now: i64,
    epoch: u32,
    keys: u64,
    sequences: BTreeMap<u64, u32>,
    budget: CleanBudget,
    say: bool,
    counts: &'s mut BTreeMap<&'static str, u64>,
}

impl<'s> History<'s> {
    pub(crate) fn run(
        seed: u64,
        operations: u64,
        say: bool,
        counts: &'s mut BTreeMap<&'static str, u64>,
    ) -> Result<(), String> {
        let mut rng = Rng::new(seed);
        let disk = FakeDisk::new(rng.next_u64());
        let compaction = CompactionConfig {
            min_cleanable_dirty_ratio: [0, 300_000][rng.index(2)],
            min_compaction_lag_ms: [0, 60][rng.index(2)],
            delete_retention_ms: [0, 0, 80][rng.index(3)],
        };
        let config = LogConfig {
            segment_bytes: [300, 700, 2_000][rng.index(3)],
            segment_ms: [60, 1 << 40][rng.index(2)],
            retention_ms: None,
            retention_bytes: None,
            compaction: Some(compaction),
            index_interval_bytes: [1, 150, 4096][rng.index(3)],
            direct_bytes: None,
        };
        let budget = CleanBudget {
            map_bytes: [24 * 6, 24 * 20, 1 << 20][rng.index(3)],
            seed: HashSeed::new(rng.next_u64(), 1),
        };
        let mut history = Self {
            method: [FlushMethod::Auto, FlushMethod::Fdatasync, FlushMethod::Syncfs][rng.index(3)],
            keys: [3, 12, 40][rng.index(3)],
            rng,
            disk,
            config,
            model: Model::default(),
            replica: Replica::default(),
            now: 1_000,
            epoch: 0,
            sequences: BTreeMap::new(),
            budget,
            say,
            counts,
        };
        history.go(operations)
    }

    fn count(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
        if self.say && by > 0 {
            println!("{what}");
        }
    }

    fn go(&mut self, operations: u64) -> Result<(), String> {
        let mut process = self.open(End::Kill)?;
        for _ in 0..operations {
            let ended = match self.operation(&mut process)? {
                Ok(None) => continue,
                Ok(Some(end)) => end,
                Err(Exit) => [End::Crash, End::Kill][self.rng.index(2)],
            };
            drop(process);
            self.disk.power_off_after(None);
            self.disk.set_faults(Faults::default());
            match ended {
                End::Crash => drop(self.disk.crash(self.rng.next_u64())),
                End::Kill => self.disk.kill(),
                End::Clean => {}
            }
            self.count(
                match ended {
                    End::Crash => "crash",
                    End::Kill => "kill",
                    End::Clean => "clean shutdown",
                },
                1,
            );
            process = self.open(ended)?;
        }
        Ok(())
    }

    fn open(&mut self, ended: End) -> Result<Process, String> {
        let options = DataDirOptions {
            open_files: self.rng.index(6),
            open_files_max: 1000,
        };
        let (dir, _) = DataDir::open(self.disk.clone(), PathBuf::from("/data"), options)
            .map_err(|error| format!("opening: {error}"))?;
        let at = TopicPartition {
            topic: TopicId::from_u128(7),
            partition: PartitionId::new(0),
        };
        let (log, report) = dir
            .open_log(at, self.config, Timestamp::new(self.now))
            .map_err(|error| format!("opening the log: {error}"))?;
        ensure!(
            report.corrupt.is_empty(),
            "reported as corrupt: {:?}",
            report.corrupt
        );
        if self.say {
            println!(
                "{ended:?}: {} to {}, compacted to {}",
                log.log_start(),
                log.log_end(),
                log.compacted_to()
            );
        }
        self.model
            .reopened(&log, ended != End::Crash)
            .map_err(|fault| format!("after {ended:?}: {fault}; {report:?}"))?;
        self.epoch = self
            .epoch
            .max(log.epochs().latest().map_or(0, |it| it.epoch.get()));
        Ok(Process {
            flusher: Flusher::new(dir.clone(), self.method),
            cleaning: None,
            log,
            dir,
        })
    }

    fn operation(&mut self, process: &mut Process) -> Result<Result<Option<End>, Exit>, String> {
        self.now += i64::try_from(self.rng.below(8)).unwrap();
        let done = match self.rng.below(100) {
            0..=34 => self.append(process)?,
            35..=50 => self.flush(process),
            51..=74 => self.clean(process)?,
            75..=78 => self.catch_up(process)?,
            79..=80 => self.truncate(process)?,
            81 => self.delete_records(process),
            82..=86 => self.check(process)?,
            87..=88 => self.read_by_time(process)?,
            89..=91 => {
                self.change_faults();
                Ok(())
            }
            92 => {
                self.count("power goes within the next calls", 1);
                self.disk.power_off_after(Some(self.rng.below(40)));
                Ok(())
            }
            93 => {
                self.epoch += 1;
                process.log.begin_epoch(LeaderEpoch::new(self.epoch));
                Ok(())
            }
            94..=95 => return Ok(Ok(Some(End::Kill))),
            96..=98 => return Ok(Ok(Some(End::Crash))),
            _ => return Ok(self.shut_down(process)),
        };
        Ok(done.map(|()| None))
    }

    fn change_faults(&mut self) {
        let mut chance = || if self.rng.one_in(5) { 3_000 } else { 0 };
        let faults = Faults {
            write_eio: chance(),
            no_space: chance(),
            short_write: chance(),
            sync_eio: chance(),
            ..Faults::default()
        };
        let faults = if self.rng.one_in(2) {
            Faults::default()
        } else {
            faults
        };
        self.disk.set_faults(faults);
    }

    fn batch(&mut self, base: Offset) -> (StoredBatch, Appended) {
        let codec = [Codec::None, Codec::Zstd][self.rng.index(2)];
        let mut builder = BatchBuilder::new(codec, 512);
        let mut entries = Vec::new();
        for at in 0..=self.rng.below(4) {
            let key = u8::try_from(self.rng.below(self.keys)).unwrap();
            let len = self.rng.index(30);
            let fill = self.rng.next_u64().to_le_bytes()[0];
            let value = (!self.rng.one_in(4)).then(|| Bytes::from(vec![fill; len]));
            let time = Timestamp::new(self.now - i64::try_from(self.rng.below(20)).unwrap());
            builder.push(time, Some(&[key]), value.as_deref(), &[]).unwrap();
            entries.push(Entry {
                offset: base.plus(at),
                key,
                value,
                time,
            });
        }
        let stamp = self.rng.one_in(3).then(|| {
            let id = self.rng.below(3);
            let sequence = self.sequences.entry(id).or_default();
            let stamp = ProducerStamp {
                id: ProducerId::new(id),
                epoch: ProducerEpoch::new(0),
                base_sequence: Sequence::new(*sequence),
            };
            *sequence += u32::try_from(entries.len()).unwrap();
            stamp
        });
        let batch = Batch::check(builder.finish(stamp).unwrap(), 1 << 20).unwrap();
        let batch = batch.stamp(base, LeaderEpoch::new(self.epoch));
        let appended = Appended {
            base,
            next: batch.next_offset(),
            producer: stamp.map(|stamp| stamp.id),
            entries,
        };
        (batch, appended)
    }

    fn append(&mut self, process: &mut Process) -> Outcome {
        let mut base = process.log.log_end();
        let (mut batches, mut appended) = (Vec::new(), Vec::new());
        for _ in 0..=self.rng.below(3) {
            let (batch, of) = self.batch(base);
            base = batch.next_offset();
            batches.push(batch);
            appended.push(of);
        }
        match process.log.append(Timestamp::new(self.now), &batches) {
            Ok(_) => {
                self.model.batches.append(&mut appended);
                self.count("append", 1);
                Ok(Ok(()))
            }
            Err(AppendError::StorageFull(_) | AppendError::TooManyDirtyFiles { .. }) => Ok(Ok(())),
            Err(AppendError::Failed(_)) => {
                self.model.maybe = appended;
                Ok(Err(Exit))
            }
            Err(error) => Err(format!("append: {error}")),
        }
    }

    fn flush(&mut self, process: &mut Process) -> Result<(), Exit> {
        let jobs = process.log.take_flush().into_iter().collect();
        let (done, _) = process.flusher.round(jobs).map_err(|_| Exit)?;
        for done in done {
            self.model.flushed = process.log.flush_done(&done);
            self.model.durable_start = process.log.durable_log_start();
        }
        let span = self
            .model
            .flushed
            .since(self.model.high_watermark.min(self.model.flushed));
        let high_watermark = self.model.high_watermark.plus(self.rng.below(span + 1));
        let ends = self.model.batches.iter().map(|batch| batch.next);
        let at_a_batch = ends.filter(|end| *end <= high_watermark).max();
        self.model.high_watermark = self.model.high_watermark.max(at_a_batch.unwrap_or_default());
        self.count("flush", 1);
        Ok(())
    }

    fn clean(&mut self, process: &mut Process) -> Outcome {
        if process.cleaning.is_none() {
            let limits = CleanLimits {
                now: Timestamp::new(self.now),
                high_watermark: self.model.high_watermark,
                tombstone_floor: self.replica.at,
                last_batches: self.model.written().last_batches().into_values().collect(),
                ..CleanLimits::default()
            };
            process.cleaning = process.log.plan_cleaning(limits);
            self.count("cleaning planned", u64::from(process.cleaning.is_some()));
        }
        for _ in 0..=self.rng.below(4) {
            let Some(job) = &mut process.cleaning else { break };
            let stop = self.rng.one_in(200);
            let stepped = job.step(&self.budget, &mut |_| !stop);
            let report = job.report();
            match stepped {
                Ok(CleanStep::More) => continue,
                Ok(CleanStep::Done) => {
                    self.count("cleaned", u64::from(report.passes > 0));
                    self.count("cleaned in several passes", u64::from(report.passes > 1));
                    self.count("segments replaced", report.segments_before);
                    self.count("segments merged", report.segments_before - report.segments_after);
                    self.count("tombstones purged", report.tombstones_purged);
                }
                Err(CleanError::Failed(failure)) => {
                    if self.say {
                        println!("cleaning failed while {failure}");
                    }
                    self.count("cleaning failed", 1);
                    return Ok(Err(Exit));
                }
                Err(CleanError::Damaged(damage)) => return Err(format!("cleaning found damage: {damage}")),
                Err(CleanError::StorageFull(_)) => self.count("cleaning: disk full", 1),
                Err(_) => self.count("cleaning: stopped", 1),
            }
            process.cleaning = None;
        }
        Ok(Ok(()))
    }

    /// The replica copies up to the high watermark: what it comes to must be what was written.
    fn catch_up(&mut self, process: &Process) -> Outcome {
        self.disk.set_faults(Faults::default());
        if self.model.log_start != self.model.durable_start {
            // A crash may take the deletion back.
            return Ok(Ok(()));
        }
        self.replica.catch_up(&process.log, &self.model.written())?;
        self.count("replica caught up", 1);
        Ok(Ok(()))
    }

    fn truncate(&mut self, process: &mut Process) -> Outcome {
        let ends = self.model.batches.iter().map(|batch| batch.next);
        let ends: Vec<_> = ends.filter(|end| *end >= self.model.high_watermark).collect();
        if ends.is_empty() {
            return Ok(Ok(()));
        }
        let to = ends[self.rng.index(ends.len())];
        match process.log.truncate_to(to) {
            Ok(()) => {
                self.model.truncate(to);
                self.model.durable_start = process.log.durable_log_start();
                self.epoch += 1;
                self.count("truncate", 1);
                Ok(Ok(()))
            }
            Err(TruncateError::Failed(_)) => {
                // What is above may be there or not.
                self.model.flushed = self.model.flushed.min(to);
                let cut = self.model.batches.iter().position(|batch| batch.base >= to);
                self.model.maybe = cut.map_or(Vec::new(), |cut| self.model.batches.split_off(cut));
                Ok(Err(Exit))
            }
            Err(error) => Err(format!("truncate: {error}")),
        }
    }

    fn delete_records(&mut self, process: &mut Process) -> Result<(), Exit> {
        let (start, high) = (self.model.log_start, self.model.high_watermark);
        let before = start
            .plus(self.rng.below(high.since(start.min(high)) / 4 + 1))
            .min(high);
        process.log.delete_records(before, high).map_err(|_| Exit)?;
        self.model.log_start = process.log.log_start();
        self.count("delete records", 1);
        Ok(())
    }

    fn check(&mut self, process: &Process) -> Outcome {
        self.disk.set_faults(Faults::default());
        self.model.check(&process.log)?;
        self.count("check", 1);
        Ok(Ok(()))
    }

    fn read_by_time(&mut self, process: &Process) -> Outcome {
        self.disk.set_faults(Faults::default());
        let time = Timestamp::new(self.now - i64::try_from(self.rng.below(300)).unwrap());
        let (start, end) = (self.model.log_start, self.model.log_end());
        let found = process.log.reader().offset_for_time(time, end);
        let found = found.map_err(|error| format!("reading by time: {error}"))?;
        let served = served(&process.log, start, end)?;
        let mut later = served
            .entries
            .iter()
            .filter(|it| it.offset >= start && it.time >= time);
        let expected = later.next().map(|it| (it.offset, it.time));
        ensure!(
            found.map(|found| (found.offset, found.timestamp)) == expected,
            "by time {time}: {found:?}, and not {expected:?}"
        );
        self.count("read by time", 1);
        Ok(Ok(()))
    }

    fn shut_down(&mut self, process: &mut Process) -> Result<Option<End>, Exit> {
        self.disk.power_off_after(None);
        self.disk.set_faults(Faults::default());
        for _ in 0..3 {
            self.flush(process)?;
        }
        let flusher = Flusher::new(process.dir.clone(), self.method);
        let flusher = std::mem::replace(&mut process.flusher, flusher);
        let down = process.dir.shut_down(flusher, BrokerEpoch::new(7));
        down.map_err(|_| Exit)?;
        Ok(Some(End::Clean))
    }
}
