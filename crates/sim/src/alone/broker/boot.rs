//! A broker starts, and stops in order.

use super::Broker;
use super::process::{Process, Replica, Round};
use crate::alone::ghost::GhostBatch;
use crate::alone::invariants::{self, Opened};
use crate::alone::message::{BrokerEvent, PartitionIndex};
use crate::alone::shared::Shared;
use crate::report::{Fault, Violation};
use quipu_checker::ReadRecord;
use quipu_record::{BrokerEpoch, Offset, iter_batches};
use quipu_replication::rules::producers::Producers;
use quipu_replication::{Driver, DriverOptions, Input, LeaderRecord, Leadership, Resign, View};
use quipu_storage::test_util::{FakeDisk, Faults};
use quipu_storage::{DataDir, DataDirOptions, Disk, Flusher, OpenReport};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All that a replica holds when everything has come to rest.
pub(crate) struct FinalLog {
    pub(crate) view: View,
    pub(crate) records: Vec<ReadRecord>,
}

const ROOT: &str = "/data";

impl Broker {
    pub(super) fn boot(&mut self, shared: &mut Shared) {
        self.apply_faults();
        match self.start(shared) {
            Ok(()) => {
                shared.counts.boots += 1;
                shared.note(format_args!("broker {} is up", self.id));
                self.elect(shared);
                self.plan(shared, Duration::from_millis(500), BrokerEvent::Retain);
            }
            Err(error) => {
                // A disk that fails now may work in a while; a process that cannot start says so and is started again.
                shared.note(format_args!("broker {} does not start: {error}", self.id));
                self.die(shared, Fault::Kill);
            }
        }
    }

    fn start(&mut self, shared: &mut Shared) -> Result<(), Box<dyn Error>> {
        if self.disk.list(Path::new(ROOT)).is_err() {
            self.disk.create_dir(Path::new(ROOT))?;
            self.disk.sync_dir(Path::new("/"))?;
        }
        let (dir, _) = DataDir::open(self.disk.clone(), PathBuf::from(ROOT), DataDirOptions::default())?;
        let hints: HashMap<_, _> = dir.read_high_watermarks()?.into_iter().collect();
        let mut replicas = Vec::new();
        for (index, plan) in shared.plan.partitions.clone().into_iter().enumerate() {
            let now = shared.now();
            let (log, report) = dir.open_log(plan.partition, plan.log, now.wall)?;
            let options = DriverOptions {
                me: self.id,
                config: plan.config.clone(),
                high_watermark_hint: hints.get(&plan.partition).copied().unwrap_or_default(),
            };
            let (driver, replayed) = Driver::open(log, options, now.wall)?;
            shared.note(format_args!("p{index} opens: {replayed:?} {report:?}"));
            self.look_at(shared, index, &driver, &report)?;
            replicas.push(Replica {
                driver,
                queue: Vec::new(),
                dirty: false,
                tick: None,
            });
        }
        self.process = Some(Process {
            flusher: Flusher::new(dir.clone(), shared.plan.flush_method),
            dir,
            replicas,
            round: None,
            jobs: Vec::new(),
            drain_planned: false,
            asked: HashMap::new(),
            deleting: HashMap::new(),
            next_token: 0,
        });
        Ok(())
    }

    /// The world looks at what a restart found, with eyes that no fault touches.
    fn look_at(
        &self,
        shared: &mut Shared,
        partition: PartitionIndex,
        driver: &Driver<FakeDisk>,
        report: &OpenReport,
    ) -> Result<(), Box<dyn Error>> {
        shared.counts.cuts += u64::from(report.cut.is_some());
        let plan = &shared.plan.partitions[partition];
        if let Some(corrupt) = report.corrupt.first() {
            let what = format!("{}: {corrupt}", plan.key);
            let invariant = "recovery finds no damage below the flush mark, and none was done";
            shared.violated(Violation { invariant, what });
            return Ok(());
        }
        self.disk.set_faults(Faults::default());
        let found = contents(driver);
        self.apply_faults();
        let (found, replayed) = match found {
            Ok(found) => found,
            Err(error) => {
                let what = format!("{}: {error}", plan.key);
                let invariant = "recovery finds no damage below the flush mark, and none was done";
                shared.violated(Violation { invariant, what });
                return Ok(());
            }
        };
        let opened = Opened {
            plan,
            view: driver.view(),
            found: &found,
            producers: driver.producers(),
            replayed: &replayed,
        };
        shared.counts.checks += 1;
        if let Err(violation) = invariants::after_open(&mut shared.ghosts[partition], &opened) {
            shared.violated(violation);
        }
        Ok(())
    }

    /// The metadata makes this broker the leader of everything, in new epochs.
    pub(crate) fn elect(&mut self, shared: &mut Shared) {
        for record in &mut shared.metadata {
            record.elect();
        }
        self.follow_metadata(shared);
    }

    /// The broker is told of the metadata as it is.
    pub(crate) fn follow_metadata(&mut self, shared: &mut Shared) {
        for partition in 0..shared.plan.partitions.len() {
            let record = shared.metadata[partition];
            let leadership = Leadership {
                record: LeaderRecord {
                    leader_epoch: record.leader_epoch,
                    partition_epoch: record.partition_epoch,
                    replicas: vec![self.id],
                    growing: false,
                    isr: vec![self.id],
                    min_insync: record.min_insync,
                },
                eligible: Vec::new(),
            };
            self.step(shared, partition, Input::Lead(leadership));
        }
    }

    /// Nobody leads for a moment.
    pub(crate) fn resign(&mut self, shared: &mut Shared) {
        for partition in 0..shared.plan.partitions.len() {
            shared.metadata[partition].elect();
            let leader_epoch = shared.metadata[partition].leader_epoch;
            self.step(shared, partition, Input::Resign(Resign { leader_epoch }));
        }
    }

    /// SIGTERM: resign, store what a start would have to replay, flush everything, say that all is well.
    pub(crate) fn stop(&mut self, shared: &mut Shared) {
        self.resign(shared);
        if let Some(process) = self.process.take()
            && let Err(error) = finish(process, self.life)
        {
            shared.note(format_args!("broker {} does not stop in order: {error}", self.id));
        }
        self.die(shared, Fault::CleanStop);
    }

    /// All that one partition holds, for the end of the story.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn final_log(&self, partition: PartitionIndex) -> Result<Option<FinalLog>, Box<dyn Error>> {
        let Some(process) = &self.process else {
            return Ok(None);
        };
        let driver = &process.replicas[partition].driver;
        let view = driver.view();
        let mut records = Vec::new();
        for_each_batch(driver, |batch| {
            crate::payload::read(&batch, &mut records).map_err(Into::into)
        })?;
        records.retain(|record| record.offset >= view.log_start);
        Ok(Some(FinalLog { view, records }))
    }
}

/// Everything in order: no unsynced byte is left, and the marker says so.
fn finish(mut process: Process, life: u64) -> Result<(), Box<dyn Error>> {
    match process.round.take() {
        Some(Round::SyncsLate(jobs)) => {
            process.flusher.round(jobs)?;
        }
        Some(Round::Synced(done)) => {
            done?;
        }
        None => {}
    }
    for replica in &mut process.replicas {
        replica.driver.store_producers()?;
    }
    let mut jobs = std::mem::take(&mut process.jobs);
    let dirty = process.replicas.iter_mut();
    jobs.extend(dirty.filter_map(|replica| replica.driver.take_flush()));
    process.flusher.round(jobs)?;
    drop(process.replicas);
    process
        .dir
        .shut_down(process.flusher, BrokerEpoch::new(life + 1))?;
    Ok(())
}

/// The log's batches, and what they alone say of producers.
fn contents(driver: &Driver<FakeDisk>) -> Result<(BTreeMap<Offset, GhostBatch>, Producers), Box<dyn Error>> {
    let mut found = BTreeMap::new();
    let mut replayed = Producers::default();
    for_each_batch(driver, |batch| {
        found.insert(batch.base_offset(), GhostBatch::of(batch.header()));
        replayed.replay(batch.header(), quipu_record::Timestamp::default());
        Ok(())
    })?;
    Ok((found, replayed))
}

fn for_each_batch(
    driver: &Driver<FakeDisk>,
    mut each: impl FnMut(quipu_record::StoredBatch) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let view = driver.view();
    let (reader, mut at) = (driver.reader(), view.log_start);
    while at < view.log_end {
        let read = reader.read(at, view.log_end, 1 << 20)?;
        if read.next <= at {
            return Err(format!("a read at {at} of a log to {} came to nothing", view.log_end).into());
        }
        for batch in iter_batches(read.bytes) {
            each(batch?)?;
        }
        at = read.next;
    }
    Ok(())
}
