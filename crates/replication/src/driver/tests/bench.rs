//! A driver with a disk, a flusher and clocks under it.

use crate::rules::producers::Producers;
use crate::{
    Acks, Append, Appended, DeleteBefore, DeleteRecords, Driver, DriverOptions, Effects, Input, LeaderRecord,
    Leadership, Now, PartitionConfig, ProduceError, Replayed, Resign, Settings, Tick, Token,
};
use bytes::Bytes;
use quipu_record::{
    Batch, BatchBuilder, BrokerId, Codec, LeaderEpoch, Offset, PartitionEpoch, PartitionId, ProducerEpoch,
    ProducerId, ProducerStamp, Sequence, Timestamp, TopicId, TopicPartition,
};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{DataDir, DataDirOptions, Disk, FlushError, FlushMethod, Flusher, LogConfig, OpenReport};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) const ME: BrokerId = BrokerId::new(1);
const NOW: Timestamp = Timestamp::new(1_767_225_600_000);

pub(super) struct Bench {
    pub(super) me: BrokerId,
    pub(super) disk: FakeDisk,
    pub(super) driver: Driver<FakeDisk>,
    pub(super) replayed: Replayed,
    flusher: Flusher<FakeDisk>,
    pub(super) now: Now,
    pub(super) effects: Effects,
    pub(super) config: PartitionConfig,
    pub(super) log: LogConfig,
    next_token: u64,
}

/// A batch of so many records, from nobody in particular.
pub(super) fn batch(records: u32) -> Bytes {
    build(records, None)
}

/// A batch of an idempotent producer.
pub(super) fn stamped(id: u64, epoch: u16, sequence: u32, records: u32) -> Bytes {
    let stamp = ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(epoch),
        base_sequence: Sequence::new(sequence),
    };
    build(records, Some(stamp))
}

fn build(records: u32, stamp: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    for _ in 0..records {
        builder.push(NOW, None, Some(&[7; 20]), &[]).unwrap();
    }
    builder.finish(stamp).unwrap()
}

impl Bench {
    /// A new broker that leads.
    pub(super) fn leading(config: PartitionConfig) -> Self {
        Self::with_log(config, LogConfig::default())
    }

    pub(super) fn with_log(config: PartitionConfig, log: LogConfig) -> Self {
        let mut bench = Self::new(ME, config, log);
        bench.lead(1, 1);
        bench
    }

    /// A new broker, told nothing yet.
    pub(super) fn new(me: BrokerId, config: PartitionConfig, log: LogConfig) -> Self {
        let disk = FakeDisk::new(1);
        disk.create_dir(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let now = Now {
            wall: NOW,
            mono: Tick::from_nanos(1),
        };
        Self::open(me, disk, config, log, now)
    }

    fn open(me: BrokerId, disk: FakeDisk, config: PartitionConfig, log: LogConfig, now: Now) -> Self {
        let (bench, report) = Self::open_whatever(me, disk, config, log, now);
        assert!(report.corrupt.is_empty(), "{report:?}");
        bench
    }

    fn open_whatever(
        me: BrokerId,
        disk: FakeDisk,
        config: PartitionConfig,
        log: LogConfig,
        now: Now,
    ) -> (Self, OpenReport) {
        let root = PathBuf::from("/data");
        let (dir, _) = DataDir::open(disk.clone(), root, DataDirOptions::default()).unwrap();
        let partition = TopicPartition {
            topic: TopicId::from_u128(5),
            partition: PartitionId::new(0),
        };
        let (opened, report) = dir.open_log(partition, log, now.wall).unwrap();
        let options = DriverOptions {
            me,
            config: Arc::new(config.clone()),
            high_watermark_hint: Offset::ZERO,
        };
        let (driver, replayed) = Driver::open(opened, options, now.wall).unwrap();
        let bench = Self {
            me,
            flusher: Flusher::new(dir, FlushMethod::Fdatasync),
            disk,
            driver,
            replayed,
            now,
            effects: Effects::default(),
            config,
            log,
            next_token: 0,
        };
        (bench, report)
    }

    /// The process dies and comes back, told nothing yet.
    pub(super) fn killed(self) -> Self {
        let Self {
            me,
            disk,
            config,
            log,
            now,
            driver,
            flusher,
            ..
        } = self;
        drop((driver, flusher));
        disk.kill();
        Self::open(me, disk, config, log, now)
    }

    /// The process dies and comes back, to bytes that somebody changed.
    pub(super) fn damaged(self) -> Self {
        let Self {
            me,
            disk,
            config,
            log,
            now,
            driver,
            flusher,
            ..
        } = self;
        drop((driver, flusher));
        disk.kill();
        Self::open_whatever(me, disk, config, log, now).0
    }

    /// The power goes and comes back; nothing was told yet.
    pub(super) fn power_cut(self, seed: u64) -> Self {
        let Self {
            me,
            disk,
            config,
            log,
            now,
            driver,
            flusher,
            ..
        } = self;
        drop((driver, flusher));
        disk.crash(seed);
        Self::open(me, disk, config, log, now)
    }

    pub(super) fn step(&mut self, input: Input) {
        self.effects.clear();
        self.driver.step(self.now, input, &mut self.effects);
    }

    pub(super) fn lead(&mut self, epoch: u32, partition_epoch: u64) {
        self.step(Input::Lead(Leadership {
            record: LeaderRecord {
                leader_epoch: LeaderEpoch::new(epoch),
                partition_epoch: PartitionEpoch::new(partition_epoch),
                replicas: vec![ME],
                growing: false,
                isr: vec![ME],
                min_insync: 1,
            },
            eligible: Vec::new(),
        }));
    }

    pub(super) fn resign(&mut self, epoch: u32) {
        self.step(Input::Resign(Resign {
            leader_epoch: LeaderEpoch::new(epoch),
        }));
    }

    pub(super) fn produce(&mut self, acks: Acks, batches: impl IntoIterator<Item = Bytes>) {
        self.produce_until(acks, batches, Duration::from_secs(30));
    }

    pub(super) fn produce_until(
        &mut self,
        acks: Acks,
        batches: impl IntoIterator<Item = Bytes>,
        timeout: Duration,
    ) {
        let deadline = self.now.mono.after(timeout);
        let appends = batches
            .into_iter()
            .map(|bytes| {
                self.next_token += 1;
                let batch = Batch::check(bytes, 1 << 20).unwrap();
                Append {
                    token: Token(self.next_token),
                    summary: batch.validate_records(1 << 20).unwrap(),
                    batch,
                    acks,
                    deadline,
                }
            })
            .collect();
        self.step(Input::Produce(appends));
    }

    /// One flush round. Its effects add to those of the step before.
    pub(super) fn flush(&mut self) {
        self.try_flush().unwrap();
    }

    pub(super) fn try_flush(&mut self) -> Result<(), FlushError> {
        let jobs = self.driver.take_flush().into_iter().collect();
        let (all, _) = self.flusher.round(jobs)?;
        for done in all {
            self.driver
                .step(self.now, Input::Flushed(done), &mut self.effects);
        }
        Ok(())
    }

    pub(super) fn at(&mut self, tick: Tick) {
        self.now.mono = tick;
    }

    pub(super) fn tick(&mut self) {
        self.step(Input::Tick);
    }

    pub(super) fn retain(&mut self) {
        self.step(Input::Retain);
    }

    pub(super) fn delete(&mut self, before: DeleteBefore) {
        let token = Token(1 << 40);
        self.step(Input::DeleteRecords(DeleteRecords { token, before }));
    }

    pub(super) fn configure(&mut self, config: PartitionConfig) {
        let partition = Arc::new(config);
        let log = self.log;
        self.step(Input::Config(Settings { partition, log }));
    }

    /// The answers of the latest step.
    pub(super) fn answers(&mut self) -> Vec<(Token, Result<Appended, ProduceError>)> {
        let answers = self.effects.answers.drain(..);
        answers.map(|answer| (answer.token, answer.result)).collect()
    }

    /// What the log alone says of producers.
    pub(super) fn replay(&self) -> Producers {
        let mut producers = Producers::default();
        let from = self.driver.view().log_start;
        let replay = |header: &_| producers.replay(header, self.now.wall);
        self.driver.reader().for_each_header(from, replay).unwrap();
        producers
    }
}
