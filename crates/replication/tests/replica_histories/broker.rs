//! A broker with one replica on a disk that loses what was not synced.

use super::metadata::{Metadata, id};
use quipu_record::{BrokerEpoch, Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use quipu_replication::{
    Driver, DriverOptions, Effects, Followership, Input, IsrProposal, Now, PartitionConfig, Position, Resign,
    Tick,
};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{DataDir, DataDirOptions, Disk, FlushDone, FlushMethod, Flusher, LogConfig};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const WALL: Timestamp = Timestamp::new(1_767_225_600_000);

pub(crate) struct Broker {
    pub(crate) index: usize,
    pub(crate) disk: FakeDisk,
    pub(crate) process: Option<Process>,
}

pub(crate) struct Process {
    pub(crate) driver: Driver<FakeDisk>,
    flusher: Flusher<FakeDisk>,
    /// Flushes that are done, and of which the driver was not told.
    pub(crate) flushed: VecDeque<FlushDone>,
    pub(crate) life: BrokerEpoch,
    /// The metadata that it knows.
    pub(crate) known: u64,
    pub(crate) position: Option<Position>,
    pub(crate) proposal: Option<(IsrProposal, u32)>,
    pub(crate) wants_flush: bool,
}

pub(crate) struct Settings {
    pub(crate) partition: Arc<PartitionConfig>,
    pub(crate) log: LogConfig,
}

impl Broker {
    pub(crate) fn new(index: usize) -> Self {
        let disk = FakeDisk::new(index as u64);
        disk.create_dir(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        Self {
            index,
            disk,
            process: None,
        }
    }

    pub(crate) fn start(
        &mut self,
        settings: &Settings,
        life: BrokerEpoch,
        version: u64,
    ) -> Result<(), String> {
        let root = PathBuf::from("/data");
        let opened = DataDir::open(self.disk.clone(), root, DataDirOptions::default());
        let (dir, _) = opened.map_err(|error| error.to_string())?;
        let partition = TopicPartition {
            topic: TopicId::from_u128(5),
            partition: PartitionId::new(0),
        };
        let log = dir.open_log(partition, settings.log, WALL);
        let (log, report) = log.map_err(|error| error.to_string())?;
        if !report.corrupt.is_empty() {
            return Err(format!("broker {}: {:?}", self.index + 1, report.corrupt));
        }
        let options = DriverOptions {
            me: id(self.index),
            config: Arc::clone(&settings.partition),
            high_watermark_hint: Offset::ZERO,
        };
        let (driver, _) = Driver::open(log, options, WALL).map_err(|error| error.to_string())?;
        self.process = Some(Process {
            driver,
            flusher: Flusher::new(dir, FlushMethod::Fdatasync),
            flushed: VecDeque::new(),
            life,
            known: version,
            position: None,
            proposal: None,
            wants_flush: false,
        });
        Ok(())
    }

    pub(crate) fn power_cut(&mut self, seed: u64) {
        self.process = None;
        self.disk.crash(seed);
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
        self.disk.kill();
    }
}

impl Process {
    pub(crate) fn step(&mut self, now: Tick, input: Input) -> Effects {
        let now = Now {
            wall: WALL.plus_millis(i64::try_from(now.nanos() / 1_000_000).unwrap()),
            mono: now,
        };
        let mut effects = Effects::default();
        self.driver.step(now, input, &mut effects);
        if let Some(position) = effects.position {
            self.position = Some(position);
        }
        if let Some(proposal) = effects.isr_proposal.take() {
            let sent = self.proposal.take().filter(|(known, _)| *known == proposal);
            self.proposal = Some((proposal, sent.map_or(0, |(_, sent)| sent)));
        }
        if self.driver.view().following.is_none() {
            self.position = None;
        }
        if self.driver.view().leading.is_none() {
            self.proposal = None;
        }
        self.wants_flush |= effects.flush;
        effects
    }

    /// The metadata as this broker is to take it, if it is news.
    pub(crate) fn learn(&mut self, me: usize, metadata: &Metadata) -> Option<Input> {
        if metadata.version <= self.known {
            return None;
        }
        self.known = metadata.version;
        Some(match metadata.leader {
            Some(leader) if leader == me => Input::Lead(metadata.leadership()),
            Some(leader) => Input::Follow(Followership {
                leader: id(leader),
                leader_epoch: metadata.leader_epoch,
                partition_epoch: metadata.partition_epoch,
                electable: metadata.is_safe(me),
            }),
            None => Input::Resign(Resign {
                leader_epoch: metadata.leader_epoch,
            }),
        })
    }

    /// A round of the flusher. The driver is told later.
    pub(crate) fn flush(&mut self) {
        self.wants_flush = false;
        let jobs: Vec<_> = self.driver.take_flush().into_iter().collect();
        let (done, _) = self.flusher.round(jobs).unwrap();
        self.flushed.extend(done);
    }
}
