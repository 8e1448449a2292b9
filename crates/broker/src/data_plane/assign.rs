//! From metadata to replicas: which logs are open here, who leads, with which settings. The image says what should be;
//! what differs is changed, so that a repeated or summarised delta does no harm.

use super::{CutLog, DamagedLog, DataPlane, OpenSummary};
use crate::partition::clock;
use crate::partition::replica::Replica;
use crate::partition::settings::settings;
use crate::partition::thread::{Adopted, Command};
use crate::partition::topics::{Topic, TopicInfo};
use quipu_metadata::{Delta, Image, Partition, Record};
use quipu_record::{BrokerEpoch, BrokerId, Offset, PartitionId, TopicId, TopicPartition};
use quipu_replication::{
    Driver, DriverOpenError, DriverOptions, Followership, LeaderRecord, Leadership, Resign, Settings,
};
use quipu_storage::{DataDirError, OpenError, OpenReport, RealDisk};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use thiserror::Error;

/// Threads that open logs at the same time.
const OPENERS: usize = 4;
/// Logs that are worth a thread of their own to open.
const LOGS_PER_OPENER: usize = 16;

/// Why logs were not opened. The disk failed: the broker cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenPlaneError {
    /// A log.
    #[error("partition {at}: {source}")]
    Log {
        /// Which partition's.
        at: TopicPartition,
        /// Why.
        source: OpenError,
    },
    /// What a log says of producers.
    #[error("partition {at}: {source}")]
    Replay {
        /// Which partition's.
        at: TopicPartition,
        /// Why.
        source: DriverOpenError,
    },
    /// The data directory.
    #[error("{0}")]
    Directory(#[from] DataDirError),
}

/// What was made of the metadata so far.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// This process's registration. Leadership of an earlier one is not taken up.
    registered: Option<BrokerEpoch>,
    /// Metadata of this process's registration has been put into effect: each replica knows whom it follows.
    told: bool,
    /// What the data directory had as it was opened, until it is known what of it is to stay.
    found: Vec<TopicPartition>,
    /// High watermarks as an earlier life wrote them down.
    hints: HashMap<TopicPartition, Offset>,
    /// Each topic's settings as its partitions have them.
    settings: HashMap<TopicId, Settings>,
}

/// A log to open.
struct Wanted {
    at: TopicPartition,
    topic: Arc<TopicInfo>,
    settings: Settings,
    hint: Offset,
}

struct OpenedReplica {
    adopted: Adopted,
    report: OpenReport,
}

impl DataPlane {
    /// Opens the log of every partition that `image` gives this broker, in parallel; `found` are those that the data
    /// directory has something of. Nothing leads yet, and nothing is deleted: the image may be an old one. Blocks.
    ///
    /// # Errors
    /// [`OpenPlaneError`]: the disk failed. Damage is in the summary.
    pub fn open(&self, image: &Arc<Image>, found: &[TopicPartition]) -> Result<OpenSummary, OpenPlaneError> {
        let hints = self.dir.read_high_watermarks()?.into_iter().collect();
        self.assignment().hints = hints;
        let summary = self.reconcile(image, &image.topics().map(|topic| topic.id).collect(), None)?;
        let mut assignment = self.assignment();
        assignment.hints = HashMap::new();
        assignment.found = found.to_vec();
        Ok(summary)
    }

    /// The broker is registered under this epoch: from now on metadata of it makes replicas lead.
    pub fn registered(&self, epoch: BrokerEpoch) {
        let mut assignment = self.assignment();
        assignment.registered = Some(epoch);
        assignment.told = false;
    }

    /// Does what a change of the metadata asks; `image` is the one after it. On return it is in effect. Blocks.
    pub fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        let mut topics = HashSet::new();
        let mut partitions = HashSet::new();
        let mut brokers = HashSet::new();
        for record in &delta.records {
            match record {
                Record::Topic { id, .. } | Record::TopicConfig { id, .. } | Record::TopicDeleted { id } => {
                    topics.insert(*id);
                }
                Record::Partition { at, .. } => {
                    topics.insert(at.topic);
                    partitions.insert(*at);
                }
                Record::Broker(broker) => drop(brokers.insert(broker.id)),
                Record::BrokerState { id, .. } => drop(brokers.insert(*id)),
                _ => {}
            }
        }
        if !brokers.is_empty() {
            for at in self.led_with(image, &brokers) {
                topics.insert(at.topic);
                partitions.insert(at);
            }
        }
        self.must(self.reconcile(image, &topics, Some(&partitions)));
    }

    /// Does what a whole image asks, whatever was known before. On return it is in effect. Blocks.
    pub fn reset(&self, image: &Arc<Image>) {
        let mut topics: HashSet<_> = image.topics().map(|topic| topic.id).collect();
        topics.extend(self.topics.all().iter().map(|topic| topic.info.id));
        self.must(self.reconcile(image, &topics, None));
    }

    /// The partitions led here of which one of `brokers` has a replica: whether it may be in sync may have changed.
    fn led_with(&self, image: &Image, brokers: &HashSet<BrokerId>) -> Vec<TopicPartition> {
        let me = self.config.broker;
        let mut led = Vec::new();
        for topic in image.topics() {
            let partitions = topic.partitions.iter();
            let concerned = partitions.filter(|(_, state)| {
                state.leader == Some(me) && state.replicas.iter().any(|replica| brokers.contains(&replica))
            });
            led.extend(concerned.map(|(partition, _)| at(topic.id, partition)));
        }
        led
    }

    fn must(&self, result: Result<OpenSummary, OpenPlaneError>) {
        if let Err(error) = result {
            self.fatal.announce(error);
        }
    }

    /// Makes `topics` as `image` has them. Of partitions that were known before, only those in `led` (all, if `None`)
    /// are told who leads them.
    fn reconcile(
        &self,
        image: &Arc<Image>,
        topics: &HashSet<TopicId>,
        led: Option<&HashSet<TopicPartition>>,
    ) -> Result<OpenSummary, OpenPlaneError> {
        let mut assignment = self.assignment();
        self.image.store(Arc::clone(image));
        let mut wanted = Vec::new();
        for id in topics {
            match image.topic(*id) {
                Some(topic) => self.learn(&mut assignment, topic, &mut wanted),
                None => {
                    assignment.settings.remove(id);
                    self.forget(*id)?;
                }
            }
        }
        let opened = self.open_logs(wanted)?;
        let summary = summarise(&opened);
        let fresh: HashSet<_> = opened.iter().map(|opened| opened.adopted.replica.at).collect();
        self.host(image, topics, opened);
        let me = image.broker(self.config.broker).map(|broker| broker.epoch);
        let current = assignment.registered.filter(|epoch| Some(*epoch) == me);
        if current.is_some() && !assignment.told {
            self.depart(image, &std::mem::take(&mut assignment.found))?;
        }
        if let Some(epoch) = current {
            self.replication.moved(image, epoch);
        }
        if current.is_some() && !assignment.told {
            assignment.told = true;
            let all = image.topics().map(|topic| topic.id).collect();
            self.tell_leadership(image, &all, |_| true, current);
        } else {
            let led = |at: &TopicPartition| led.is_none_or(|led| led.contains(at)) || fresh.contains(at);
            self.tell_leadership(image, topics, led, current);
        }
        self.await_threads();
        Ok(summary)
    }

    /// Notes a topic and its settings; the logs of it that are to be opened go to `wanted`.
    fn learn(&self, assignment: &mut Assignment, topic: &quipu_metadata::Topic, wanted: &mut Vec<Wanted>) {
        let settings = settings(
            &topic.config,
            self.config.replication.lag_max,
            self.config.direct_bytes,
        );
        let max_message_bytes = settings.partition.max_message_bytes;
        let known = self.topics.get(topic.id).unwrap_or_else(|| {
            let metrics = self.metrics.topic(&topic.name);
            let info = TopicInfo::new(topic, metrics, max_message_bytes);
            let known = Arc::new(Topic::new(info));
            self.topics.insert(Arc::clone(&known));
            known
        });
        known.info.set_max_message_bytes(max_message_bytes);
        let before = assignment.settings.insert(topic.id, settings.clone());
        let changed = before.is_some_and(|before| before != settings);
        for (partition, state) in topic.partitions.iter() {
            let at = TopicPartition {
                topic: topic.id,
                partition,
            };
            match known.replica(partition).flatten() {
                Some(_) if changed => {
                    let command = Command::Config(at, settings.clone());
                    self.threads.owner(at).command(command);
                }
                Some(_) => {}
                None if state.replicas.contains(self.config.broker) => wanted.push(Wanted {
                    at,
                    topic: Arc::clone(&known.info),
                    settings: settings.clone(),
                    hint: assignment.hints.get(&at).copied().unwrap_or(Offset::ZERO),
                }),
                None => {}
            }
        }
    }

    /// Takes a deleted topic away: who waits hears of it, the logs go.
    fn forget(&self, id: TopicId) -> Result<(), OpenPlaneError> {
        let Some(topic) = self.topics.remove(id) else {
            return Ok(());
        };
        let replicas = topic.replicas();
        topic.set_replicas(Vec::new());
        self.delete_logs(replicas.iter().flatten().map(|replica| replica.at))?;
        let name = &topic.info.name;
        if self.topics.named(name).is_none() {
            self.metrics.forget_topic(name);
        }
        Ok(())
    }

    /// Closes the logs of these partitions, and deletes them.
    pub(super) fn delete_logs(
        &self,
        partitions: impl Iterator<Item = TopicPartition>,
    ) -> Result<(), OpenPlaneError> {
        let (log, logs) = crossbeam_channel::unbounded();
        self.threads
            .command_all(partitions.map(|at| (at, Command::Abandon(at, log.clone()))));
        drop(log);
        for log in logs {
            self.replication.offline.remove(log.partition());
            self.dir.delete_log(log)?;
        }
        Ok(())
    }

    fn open_logs(&self, wanted: Vec<Wanted>) -> Result<Vec<OpenedReplica>, OpenPlaneError> {
        let openers = OPENERS.min(wanted.len() / LOGS_PER_OPENER);
        if openers <= 1 {
            return wanted.into_iter().map(|wanted| self.open_log(wanted)).collect();
        }
        let next = AtomicUsize::new(0);
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|w| std::sync::Mutex::new(Some(w)))
            .collect();
        let take = || loop {
            let slot = wanted.get(next.fetch_add(1, Ordering::Relaxed))?;
            if let Some(wanted) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Some(wanted);
            }
        };
        let open_some = || {
            std::iter::from_fn(take)
                .map(|wanted| self.open_log(wanted))
                .collect()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..openers).map(|_| scope.spawn(open_some)).collect();
            let mut all = Vec::with_capacity(wanted.len());
            for thread in threads {
                let opened: Result<Vec<_>, OpenPlaneError> = match thread.join() {
                    Ok(opened) => opened,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                all.extend(opened?);
            }
            Ok(all)
        })
    }

    fn open_log(&self, wanted: Wanted) -> Result<OpenedReplica, OpenPlaneError> {
        let at = wanted.at;
        let wall = clock::wall();
        let (log, report) = self
            .dir
            .open_log(at, wanted.settings.log, wall)
            .map_err(|source| OpenPlaneError::Log { at, source })?;
        let options = DriverOptions {
            me: self.config.broker,
            config: wanted.settings.partition,
            high_watermark_hint: wanted.hint,
        };
        let (driver, replayed) = Driver::<RealDisk>::open(log, options, wall)
            .map_err(|source| OpenPlaneError::Replay { at, source })?;
        if replayed.batches > 0 || replayed.bad_snapshot.is_some() {
            tracing::debug!(partition = %at, ?replayed, "producers rebuilt from the log");
        }
        let thread = Arc::clone(self.threads.owner(at));
        let replica = Replica::new(at, wanted.topic, thread, driver.reader(), driver.view());
        let adopted = Adopted {
            replica: Arc::new(replica),
            driver,
        };
        Ok(OpenedReplica { adopted, report })
    }

    /// Gives opened replicas to their threads, and makes them known under their topics.
    fn host(&self, image: &Image, topics: &HashSet<TopicId>, opened: Vec<OpenedReplica>) {
        let mut fresh: HashMap<TopicId, Vec<Arc<Replica>>> = HashMap::new();
        for OpenedReplica { adopted, .. } in &opened {
            let replica = Arc::clone(&adopted.replica);
            fresh.entry(replica.at.topic).or_default().push(replica);
        }
        let adopt = opened.into_iter().map(|opened| {
            let at = opened.adopted.replica.at;
            (at, Command::Adopt(Box::new(opened.adopted)))
        });
        self.threads.command_all(adopt);
        for id in topics {
            let (Some(topic), Some(known)) = (image.topic(*id), self.topics.get(*id)) else {
                continue;
            };
            let mut replicas = known.replicas().to_vec();
            replicas.resize(topic.partitions.len(), None);
            for replica in fresh.remove(id).unwrap_or_default() {
                let at = replica.at.partition.get() as usize;
                replicas[at] = Some(replica);
            }
            known.set_replicas(replicas);
        }
    }

    fn tell_leadership(
        &self,
        image: &Image,
        topics: &HashSet<TopicId>,
        led: impl Fn(&TopicPartition) -> bool,
        registered: Option<BrokerEpoch>,
    ) {
        let me = self.config.broker;
        let mut commands = Vec::new();
        for topic in topics.iter().filter_map(|id| image.topic(*id)) {
            for (partition, state) in topic.partitions.iter() {
                let at = at(topic.id, partition);
                if !led(&at) {
                    continue;
                }
                let leader_epoch = state.leader_epoch;
                let resign = Command::Resign(at, Resign { leader_epoch });
                if !state.replicas.contains(me) {
                    // It was taken away. What is here of it stays until the next start: by now it may have been given
                    // back, and be in sync, by metadata that has not come here yet.
                    if self.topics.replica(at).is_some() {
                        commands.push((at, resign));
                    }
                    continue;
                }
                let command = match (state.leader, registered) {
                    (Some(leader), None) if leader == me => continue,
                    (Some(leader), Some(_)) if leader == me => Command::Lead(at, leadership(image, state)),
                    (Some(leader), Some(epoch)) => {
                        let link = self.replication.link(image, leader, epoch);
                        Command::Follow(at, followership(me, leader, state), link)
                    }
                    (Some(_), None) | (None, _) => resign,
                };
                commands.push((at, command));
            }
        }
        self.threads.command_all(commands.into_iter());
    }

    /// Waits until every thread has done what it was told.
    fn await_threads(&self) {
        let (done, all_done) = crossbeam_channel::unbounded();
        self.threads.tell_all(|| Command::Barrier(done.clone()));
        drop(done);
        // Ends when each has answered, or has ended without.
        all_done.iter().for_each(drop);
    }

    fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(topic: TopicId, partition: PartitionId) -> TopicPartition {
    TopicPartition { topic, partition }
}

fn leadership(image: &Image, state: &Partition) -> Leadership {
    let eligible = state.replicas.iter().filter_map(|replica| {
        let broker = image.broker(replica).filter(|broker| broker.is_active())?;
        Some((replica, broker.epoch))
    });
    Leadership {
        record: leader_record(state),
        eligible: eligible.collect(),
    }
}

/// A partition's record as its leader needs it.
pub(crate) fn leader_record(state: &Partition) -> LeaderRecord {
    LeaderRecord {
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        isr: state.isr.iter().collect(),
        min_insync: u32::from(state.min_insync),
        replicas: state.replicas.iter().collect(),
        growing: !state.adding().is_empty(),
    }
}

fn followership(me: BrokerId, leader: BrokerId, state: &Partition) -> Followership {
    Followership {
        leader,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        electable: state.is_safe(me),
    }
}

fn summarise(opened: &[OpenedReplica]) -> OpenSummary {
    let mut summary = OpenSummary::default();
    for OpenedReplica { adopted, report } in opened {
        let at = adopted.replica.at;
        let log = adopted.driver.log();
        summary.logs += 1;
        summary.scanned += report.scanned;
        for repair in &report.repaired {
            tracing::info!(partition = %at, file = %repair.file.display(), what = repair.what, "made anew");
        }
        if let Some(cut) = &report.cut {
            tracing::warn!(partition = %at, bytes = cut.bytes, log_end = %cut.log_end, at = %cut.at, "torn tail cut");
            summary.cut.push(CutLog {
                at,
                last_epoch: log.last_epoch(),
                log_end: log.log_end(),
                cut: cut.clone(),
            });
        }
        if !report.corrupt.is_empty() {
            for corruption in &report.corrupt {
                tracing::error!(partition = %at, %corruption, "stored bytes are bad; they are not served");
            }
            summary.damaged.push(DamagedLog {
                at,
                corrupt: report.corrupt.clone(),
            });
        }
    }
    summary
}
