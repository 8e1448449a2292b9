//! Clusters of real processes under load, and what is done to them. What clients did and saw goes through
//! `quipu-checker`; in the end the replicas are compared as they lie on the disks.
//!
//! These are the short forms. `just kills` does each kind of kill ten times (`QUIPU_KILLS`).

mod disks;
mod kills;
mod refusals;
mod restarts;

use crate::load::{Load, Shape, read_all};
use crate::support::cluster::Cluster;
use crate::support::{PATIENCE, Result, quipu, run};
use quipu_checker::{Time, Verdict};
use quipu_client::{Admin, BrokerId, Client, ClientConfig, PartitionDescription, PartitionId};
use quipu_workload::Recorder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const TOPIC: &str = "t";
const SHAPE: Shape = Shape {
    topic: TOPIC,
    partitions: 6,
    producers: 2,
    senders_of_each: 6,
};
/// Acknowledged before anything is done to the cluster, and again before the next.
const ACKED_BETWEEN: u64 = 100;
/// An acknowledgement that the dead broker had sent, or that did not need it any more, arrives in this time.
const ON_THE_WAY: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A cluster with a topic of three replicas, and clients at work on it.
struct Bed {
    cluster: Cluster,
    /// Where clients found it.
    addresses: String,
    client: Client,
    load: Option<Load>,
    // Last: what runs on it is dropped before.
    runtime: Runtime,
}

impl Bed {
    /// Puts load on a cluster.
    fn over(cluster: Cluster) -> Result<Self> {
        let addresses = cluster.addresses();
        let partitions = SHAPE.partitions.to_string();
        let create = [
            "topic",
            "create",
            TOPIC,
            "--replication-factor",
            "3",
            "--partitions",
        ];
        quipu(&addresses, &[&create[..], &[&partitions]].concat())?;
        let runtime = Runtime::new()?;
        let config = ClientConfig::new(addresses.split(','));
        let client = runtime.block_on(Client::connect(config))?;
        let load = runtime.block_on(Load::start(&addresses, SHAPE))?;
        let bed = Self {
            cluster,
            addresses,
            client,
            load: Some(load),
            runtime,
        };
        bed.until_in_sync()?;
        Ok(bed)
    }

    /// Three brokers that are controllers as well.
    fn combined() -> Result<Self> {
        Self::over(Cluster::start(3, &std::env::temp_dir(), &[])?)
    }

    fn load(&self) -> Result<&Load> {
        self.load.as_ref().ok_or_else(|| "the load has ended".into())
    }

    fn recorder(&self) -> Result<Arc<Recorder>> {
        Ok(Arc::clone(self.load()?.recorder()))
    }

    /// When a partition acknowledged something, in order.
    fn acks_of(&self, partition: PartitionId) -> Result<Vec<Time>> {
        let site = &self.load()?.site;
        Ok(site.recorder.acks_of(&site.keys()[partition.get() as usize]))
    }

    fn admin(&self) -> Admin {
        self.client.admin()
    }

    fn partitions(&self) -> Result<Vec<PartitionDescription>> {
        Ok(self.runtime.block_on(self.admin().get_topic(TOPIC))?.partitions)
    }

    /// Whose controller is active, once it is another than this one.
    fn active_controller(&self, not: Option<usize>) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.runtime.block_on(self.admin().controllers());
            let active = found.as_ref().ok().and_then(|found| {
                let active = found.controllers.iter().find(|controller| controller.active)?;
                self.cluster.id_at(&active.address)
            });
            if let Some(active) = active.filter(|active| Some(*active) != not) {
                return Ok(active);
            }
            if Instant::now() > deadline {
                return Err(format!("no controller is active: {found:?}").into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until something holds of the topic's partitions.
    fn until(&self, what: &str, holds: impl Fn(&[PartitionDescription]) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let partitions = self.partitions()?;
            if holds(&partitions) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("it did not come to hold that {what}: {partitions:#?}").into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until every partition has a leader and all its replicas in sync.
    fn until_in_sync(&self) -> Result<()> {
        self.until("all replicas are in sync", |partitions| {
            partitions
                .iter()
                .all(|partition| partition.leader.is_some() && partition.in_sync_replicas.len() == 3)
        })
    }

    /// Ends the load, reads everything, stops the brokers and compares what they hold: what the checker says.
    fn verdict(mut self) -> Result<Verdict> {
        self.until_in_sync()?;
        let load = self.load.take().ok_or("the load has ended")?;
        // By clients of its own: they know nothing from before.
        let (site, stored) = self.runtime.block_on(async {
            let site = load.stop().await?;
            let stored = read_all(&site).await?;
            Ok::<_, Box<dyn std::error::Error>>((site, stored))
        })?;
        let verdict = site.recorder.verdict();
        println!("{verdict}");
        assert!(verdict.is_clean() && verdict.unchecked.is_empty(), "{verdict}");
        assert!(stored >= verdict.counts.acked as u64, "{verdict}");
        let checked = run(&self.addresses, &["cluster", "check"], b"")?;
        println!("{}", checked.stdout.trim_end());
        let compared = replicas_are_equal(self.cluster)?;
        println!("{compared} batches are equal on three disks");
        Ok(verdict)
    }
}

/// Stops all brokers and compares the replicas of each partition from their segment files: same offsets, epochs and
/// checksums. Returns how many batches that were.
fn replicas_are_equal(mut cluster: Cluster) -> Result<usize> {
    cluster.terminate_all()?;
    let mut first: BTreeMap<String, (usize, Vec<Value>)> = BTreeMap::new();
    let mut compared = 0;
    for id in 1..=cluster.len() {
        let logs = cluster.home(id)?.data_dir().join("logs");
        // A controller that is no broker keeps none.
        if !logs.exists() || std::fs::read_dir(&logs)?.next().is_none() {
            continue;
        }
        for (partition, batches) in batches_of(&logs)? {
            match first.get(&partition) {
                None => {
                    compared += batches.len();
                    first.insert(partition, (id, batches));
                }
                Some((other, expected)) => {
                    let differs = expected.iter().zip(&batches).find(|(a, b)| a != b);
                    assert_eq!(differs, None, "{partition} on brokers {other} and {id}");
                    assert_eq!(
                        expected.len(),
                        batches.len(),
                        "{partition} on brokers {other} and {id}"
                    );
                }
            }
        }
    }
    assert!(compared > 0, "there was nothing to compare");
    Ok(compared)
}

/// By partition: offset, epoch and checksum of each batch.
fn batches_of(logs: &Path) -> Result<BTreeMap<String, Vec<Value>>> {
    let path = logs.display().to_string();
    let dumped = quipu("", &["log", "dump", &path, "--headers", "-o", "json"])?;
    let mut by_partition: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in dumped.lines() {
        let batch: Value = serde_json::from_str(line)?;
        let file = Path::new(batch["file"].as_str().ok_or("no file")?).strip_prefix(logs)?;
        let partition = file.parent().ok_or("no partition")?.display().to_string();
        let place = serde_json::json!([batch["base_offset"], batch["leader_epoch"], batch["crc"]]);
        by_partition.entry(partition).or_default().push(place);
    }
    Ok(by_partition)
}

/// From the kill to the next acknowledgement on the partition that waited longest. If none had to wait, the longest time
/// between two acknowledgements.
fn until_acknowledged(bed: &Bed, partitions: &[PartitionId], killed: Instant) -> Result<Duration> {
    let recorder = bed.recorder()?;
    let (killed, on_the_way) = (recorder.time_of(killed), recorder.time_of(killed + ON_THE_WAY));
    let deadline = Instant::now() + PATIENCE;
    let mut worst = Duration::ZERO;
    for partition in partitions {
        loop {
            let acks = bed.acks_of(*partition)?;
            if acks.last().is_some_and(|last| *last > on_the_way) {
                worst = worst.max(pause(&acks, killed));
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("partition {partition} acknowledges nothing any more").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(worst)
}

/// The longest gap between the kill and the first acknowledgement that is certainly from after it; counted from the kill
/// if it is a gap worth the name.
fn pause(acks: &[Time], killed: Time) -> Duration {
    let after = acks.iter().filter(|ack| **ack > killed);
    let mut times = vec![killed];
    for ack in after {
        times.push(*ack);
        if between(killed, *ack) > ON_THE_WAY {
            break;
        }
    }
    let gaps = times.windows(2).map(|pair| (between(pair[0], pair[1]), pair[1]));
    match gaps.max_by_key(|(gap, _)| *gap) {
        Some((gap, end)) if gap >= ON_THE_WAY => between(killed, end),
        Some((gap, _)) => gap,
        None => Duration::ZERO,
    }
}

fn between(earlier: Time, later: Time) -> Duration {
    Duration::from_nanos(later.0.saturating_sub(earlier.0))
}

/// The longest time in which a partition acknowledged nothing, between two moments.
fn longest_gap(acks: &[Time], from: Time, to: Time) -> Duration {
    let within = acks.iter().copied().filter(|ack| (from..to).contains(ack));
    let times: Vec<Time> = std::iter::once(from).chain(within).chain([to]).collect();
    let gaps = times.windows(2).map(|pair| between(pair[0], pair[1]));
    gaps.max().unwrap_or_default()
}

/// The id that the helper knows a broker by.
fn member(broker: BrokerId) -> usize {
    broker.get() as usize
}

/// Some times, told.
struct Times(&'static str, Vec<Duration>);

impl Times {
    fn print(mut self) {
        self.1.sort();
        let (Some(worst), count) = (self.1.last(), self.1.len()) else {
            return;
        };
        println!(
            "{}: {count}, median {:.3} s, worst {:.3} s",
            self.0,
            self.1[count / 2].as_secs_f64(),
            worst.as_secs_f64()
        );
    }
}
