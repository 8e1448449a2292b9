//! A broker starts, and stops in order.

use super::Broker;
use super::follow::Following;
use super::lead::Leading;
use super::process::{Process, Replica, Round};
use super::proposals::Proposals;
use crate::cluster::ghost::{Batches, GhostBatch};
use crate::cluster::message::{BrokerEvent, PartitionIndex};
use crate::cluster::plan::{HEARTBEAT, LAG_MAX};
use crate::cluster::shared::Shared;
use crate::invariants::{self, Opened};
use crate::report::{Deed, Fault};
use quipu_checker::ReadRecord;
use quipu_metadata::{
    CutPartition, FeatureLevel, Image, Incarnation, Lifecycle, LifecycleConfig, LifecycleEvent, Listener,
    RegisterBroker,
};
use quipu_record::{BrokerEpoch, Offset, TopicPartition, iter_batches};
use quipu_replication::rules::producers::Producers;
use quipu_replication::{Driver, DriverOptions, Effects, Input, PartitionConfig, Resign};
use quipu_storage::test_util::{FakeDisk, Faults};
use quipu_storage::{DataDir, DataDirOptions, Disk, Flusher, OpenReport};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const ROOT: &str = "/data";

impl Broker {
    pub(super) fn boot(&mut self, shared: &mut Shared) {
        if self.process.is_some() || self.held_down {
            return;
        }
        self.apply_faults();
        self.clock.begun = shared.chance.below(1_000_000_000) as u64;
        self.clock.pace = 980_000 + shared.chance.below(40_001) as u64;
        match self.start(shared) {
            Ok(()) => {
                shared.counts.boots += 1;
                shared.note(format_args!("b{} is up", self.me));
                self.plan(shared, Duration::from_millis(500), BrokerEvent::Retain);
                self.watch(shared);
                self.live(shared, LifecycleEvent::Ready);
                self.live(shared, LifecycleEvent::Tick);
            }
            Err(error) => {
                // A disk that fails now may work in a while; a process that cannot start says so and is started again.
                shared.note(format_args!("b{} does not start: {error}", self.me));
                self.die(shared, Fault::Kill);
            }
        }
    }

    fn start(&mut self, shared: &mut Shared) -> Result<(), Box<dyn Error>> {
        if self.disk.list(Path::new(ROOT)).is_err() {
            self.disk.create_dir(Path::new(ROOT))?;
            self.disk.sync_dir(Path::new("/"))?;
        }
        let (dir, boot) = DataDir::open(self.disk.clone(), PathBuf::from(ROOT), DataDirOptions::default())?;
        let mut registration = self.registration(shared, boot.clean_shutdown);
        let hints: HashMap<_, _> = dir.read_high_watermarks()?.into_iter().collect();
        let mut replicas = BTreeMap::new();
        for partition in boot.logs {
            let Some(index) = shared.plan.place(partition) else {
                continue;
            };
            let hint = hints.get(&partition).copied().unwrap_or_default();
            let (replica, report) = self.open(shared, &dir, index, hint)?;
            if let Some(cut) = &report.cut {
                shared.counts.cuts += 1;
                shared.deed(Deed::CutRegistered);
                registration.cut.push(CutPartition {
                    at: partition,
                    last_epoch: replica.driver.log().last_epoch(),
                    log_end: cut.log_end,
                });
            }
            if !report.corrupt.is_empty() {
                registration.damaged.push(partition);
            }
            self.note_losses(shared, index, &registration);
            replicas.insert(index, replica);
        }
        let lifecycle = LifecycleConfig {
            heartbeat: HEARTBEAT,
            answer_max: Duration::from_secs(1),
            drain_max: Duration::from_secs(3),
            drain_alone_max: Duration::from_millis(1500),
            ..LifecycleConfig::default()
        };
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
            image: Image::default(),
            lifecycle: Lifecycle::new(self.id, lifecycle, self.now(shared).mono),
            told: false,
            registration,
            calling: None,
            beat: None,
            following: Following::new(shared.plan.brokers.len()),
            leading: Leading::new(shared.plan.brokers.len()),
            proposals: Proposals::default(),
            replicate_planned: false,
            effects: Effects::default(),
        });
        Ok(())
    }

    fn registration(&self, shared: &mut Shared, clean_epoch: Option<BrokerEpoch>) -> RegisterBroker {
        RegisterBroker {
            id: self.id,
            incarnation: Incarnation::from_u128(u128::from(shared.chance.seed())),
            cluster_id: None,
            directory: self.directory,
            listeners: vec![Listener {
                name: "internal".to_owned(),
                advertised: format!("broker-{}:4601", self.id),
                protocol: "grpc".to_owned(),
            }],
            rack: None,
            version: String::new(),
            feature_level: FeatureLevel::SUPPORTED,
            clean_epoch,
            page_cache_kept: !self.lost_power,
            cut: Vec::new(),
            damaged: Vec::new(),
        }
    }

    /// The world takes note of what this start may lack: the registration must say so.
    fn note_losses(&self, shared: &mut Shared, partition: PartitionIndex, registration: &RegisterBroker) {
        let fsync = shared.plan.is_fsync(partition);
        let at = shared.plan.partitions[partition].partition;
        let damaged = registration.damaged.contains(&at);
        let unsynced = !fsync && !registration.page_cache_kept && registration.clean_epoch.is_none();
        let ghost = &mut shared.ghosts[partition];
        if damaged || unsynced {
            ghost.destroyed += 1;
            let mirror = &mut ghost.replicas[self.me];
            mirror.lossy = true;
            mirror.repairing |= damaged;
        }
    }

    /// Opens a replica, from what is on the disk or from nothing.
    pub(super) fn open(
        &self,
        shared: &mut Shared,
        dir: &DataDir<FakeDisk>,
        partition: PartitionIndex,
        hint: Offset,
    ) -> Result<(Replica, OpenReport), Box<dyn Error>> {
        let now = self.now(shared);
        let plan = shared.plan.topic_of(partition);
        let at = shared.plan.partitions[partition].partition;
        let config = PartitionConfig {
            replica_lag_max: LAG_MAX,
            ..PartitionConfig::clone(&plan.config)
        };
        let (log, report) = dir.open_log(at, plan.log, now.wall)?;
        let options = DriverOptions {
            me: self.id,
            config: Arc::new(config),
            high_watermark_hint: hint,
        };
        let (driver, replayed) = Driver::open(log, options, now.wall)?;
        shared.note(format_args!(
            "b{} p{partition} opens: {replayed:?} {report:?}",
            self.me
        ));
        self.look_at(shared, partition, &driver, &report)?;
        let replica = Replica {
            driver,
            queue: Vec::new(),
            dirty: false,
            tick: None,
            min_insync: 0,
            heard: (None, Vec::new()),
        };
        Ok((replica, report))
    }

    /// The world looks at what a restart found, with eyes that no fault touches.
    fn look_at(
        &self,
        shared: &mut Shared,
        partition: PartitionIndex,
        driver: &Driver<FakeDisk>,
        report: &OpenReport,
    ) -> Result<(), Box<dyn Error>> {
        self.disk.set_faults(Faults::default());
        let found = contents(driver);
        self.apply_faults();
        let view = driver.view();
        let mirror = &mut shared.ghosts[partition].replicas[self.me];
        mirror.open = true;
        mirror.leading = None;
        // What cannot be read again was compared before.
        let compared = std::mem::take(&mut mirror.matched);
        mirror.log_start = view.log_start;
        mirror.log_end = view.log_end;
        mirror.flushed = mirror.flushed.min(view.log_end).max(view.flushed);
        mirror.marked = mirror.marked.min(view.flushed);
        mirror.high_watermark = view.high_watermark;
        let (found, replayed) = match found {
            Ok(found) => found,
            // Damage below the mark, that recovery need not have seen.
            Err(error) if !report.corrupt.is_empty() || mirror.flipped => {
                mirror.log.split_off(&view.log_end);
                mirror.matched = compared.min(view.log_end);
                shared.note(format_args!("b{} p{partition} is damaged: {error}", self.me));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        mirror.log = found;
        let opened = Opened {
            broker: self.me,
            partition,
            producers: driver.producers(),
            replayed: &replayed,
        };
        if report.corrupt.is_empty() {
            invariants::after_open(shared, &opened);
        }
        Ok(())
    }

    /// SIGTERM has done its work: store what a start would have to replay, flush everything, say that all is well.
    pub(super) fn go(&mut self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        let epoch = process.lifecycle.epoch();
        let all: Vec<_> = process.replicas.keys().copied().collect();
        for partition in all {
            let epoch = self.epoch_of(partition);
            if let Some(leader_epoch) = epoch {
                self.step(shared, partition, Input::Resign(Resign { leader_epoch }));
            }
        }
        if let Some(process) = self.process.take()
            && let Some(epoch) = epoch
            && let Err(error) = finish(process, epoch)
        {
            shared.note(format_args!("b{} does not stop in order: {error}", self.me));
        }
        self.die(shared, Fault::CleanStop);
    }

    /// The epoch that a replica leads or follows in.
    fn epoch_of(&self, partition: PartitionIndex) -> Option<quipu_record::LeaderEpoch> {
        let view = self.process.as_ref()?.replicas.get(&partition)?.driver.view();
        let leading = view.leading.map(|leading| leading.epoch);
        leading.or(view.following.map(|following| following.epoch))
    }

    /// All that one partition holds, for the end of the story.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn final_log(&self, partition: PartitionIndex) -> Result<Option<FinalLog>, Box<dyn Error>> {
        let Some(replica) = self
            .process
            .as_ref()
            .and_then(|process| process.replicas.get(&partition))
        else {
            return Ok(None);
        };
        let view = replica.driver.view();
        let mut records = Vec::new();
        for_each_batch(&replica.driver, |batch| {
            crate::payload::read(&batch, &mut records).map_err(Into::into)
        })?;
        records.retain(|record| record.offset >= view.log_start);
        Ok(Some(FinalLog {
            log_start: view.log_start,
            leader_epoch: view.leading.map(|leading| leading.epoch),
            records,
        }))
    }

    /// The image in effect, once it has one.
    pub(crate) fn image(&self) -> Option<&Image> {
        self.process.as_ref().map(|process| &process.image)
    }
}

/// All that a replica holds when everything has come to rest.
pub(crate) struct FinalLog {
    pub(crate) log_start: Offset,
    pub(crate) leader_epoch: Option<quipu_record::LeaderEpoch>,
    pub(crate) records: Vec<ReadRecord>,
}

/// Everything in order: no unsynced byte is left, and the marker says so.
fn finish(mut process: Process, epoch: BrokerEpoch) -> Result<(), Box<dyn Error>> {
    match process.round.take() {
        Some(Round::SyncsLate(jobs)) => {
            process.flusher.round(jobs)?;
        }
        Some(Round::Synced(done)) => {
            done?;
        }
        None => {}
    }
    for replica in process.replicas.values_mut() {
        replica.driver.store_producers()?;
    }
    let mut jobs = std::mem::take(&mut process.jobs);
    let dirty = process.replicas.values_mut();
    jobs.extend(dirty.filter_map(|replica| replica.driver.take_flush()));
    process.flusher.round(jobs)?;
    drop(process.replicas);
    process.dir.shut_down(process.flusher, epoch)?;
    Ok(())
}

/// The log's batches, and what they alone say of producers.
fn contents(driver: &Driver<FakeDisk>) -> Result<(Batches, Producers), Box<dyn Error>> {
    let mut found = Batches::new();
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

/// A bit of one segment flips, in a batch that was flushed. Says whether there was one.
pub(super) fn flip_bit(
    disk: &FakeDisk,
    shared: &mut Shared,
    partition: TopicPartition,
    mark: Offset,
) -> bool {
    let dir = format!("/{}/", partition.partition);
    let topic = partition.topic.to_string();
    let logs = disk.files().into_iter().filter(|path| {
        let text = path.to_string_lossy();
        text.contains(&topic) && text.contains(&dir) && text.ends_with(".log")
    });
    let base = |path: &Path| {
        let stem = path.file_stem()?.to_string_lossy().into_owned();
        stem.parse::<u64>().ok()
    };
    let mut logs: Vec<(u64, PathBuf)> = logs.filter_map(|path| Some((base(&path)?, path))).collect();
    logs.sort();
    // Only a segment that lies below the mark as a whole: a bit above it would be a torn tail.
    let next = |at: usize| logs.get(at + 1).map(|(base, _)| *base);
    let below: Vec<&PathBuf> = (0..logs.len())
        .filter(|at| next(*at).is_some_and(|next| next <= mark.get()))
        .map(|at| &logs[at].1)
        .collect();
    if below.is_empty() {
        return false;
    }
    let path = below[shared.chance.below(below.len())];
    let place = shared.chance.seed();
    disk.damage(path, |bytes| {
        if !bytes.is_empty() {
            let at = usize::try_from(place % bytes.len() as u64).unwrap_or(0);
            bytes[at] ^= 1 << (place >> 32 & 7);
        }
    })
    .is_ok()
}
