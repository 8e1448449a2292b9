//! A local cluster that things are done to: who leads, who is in sync; brokers killed, paused and started again.

use crate::broker_process::{BrokerProcess, BrokerSpec};
use crate::local_cluster::{LocalCluster, start_all, stop_all};
use crate::output::Failure;
use quipu_client::{Client, PartitionId};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// A broker that has come back is in sync again within this time, or never.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The processes, and what they are started with.
pub(crate) struct Brokers {
    specs: Vec<BrokerSpec>,
    running: Vec<BrokerProcess>,
}

/// A broker that leads partitions.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) broker: u32,
    pub(crate) pid: u32,
    pub(crate) partitions: BTreeSet<PartitionId>,
    /// Its process is the active controller as well.
    pub(crate) is_controller: bool,
}

impl Brokers {
    pub(crate) async fn start(directory: &Path, brokers: u32) -> Result<Self, Failure> {
        let cluster = LocalCluster {
            directory,
            brokers: Some(brokers),
            port: 0,
            log_to_file: true,
        };
        let mut specs = cluster.specs()?;
        let running = start_all(&specs).await?;
        for (spec, broker) in specs.iter_mut().zip(&running) {
            // Clients know this address, and are told no other.
            broker.client().clone_into(&mut spec.client);
        }
        Ok(Self { specs, running })
    }

    pub(crate) fn count(&self) -> usize {
        self.specs.len()
    }

    /// host:port of each, for clients.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.specs.iter().map(|spec| spec.client.clone()).collect()
    }

    /// The leader of the topic's first partition, with all that it leads.
    pub(crate) async fn leader(&self, client: &Client, topic: &str) -> Result<Leader, Failure> {
        let admin = client.admin();
        let patience = Instant::now() + PATIENCE;
        let (partitions, leader) = loop {
            let partitions = admin.get_topic(topic).await?.partitions;
            if let Some(leader) = partitions.first().and_then(|first| first.leader) {
                break (partitions, leader);
            }
            wait_until(patience, || "the first partition has no leader".to_owned()).await?;
        };
        let led = partitions
            .iter()
            .filter(|partition| partition.leader == Some(leader));
        let running = self.running.iter().map(BrokerProcess::ready);
        let pid = running
            .filter(|ready| ready.broker_id == leader.get())
            .map(|ready| ready.pid)
            .next();
        Ok(Leader {
            broker: leader.get(),
            pid: pid.ok_or_else(|| Failure::new(format_args!("broker {leader} leads, and does not run")))?,
            partitions: led.map(|partition| partition.partition).collect(),
            is_controller: admin.cluster().await?.controller == Some(leader),
        })
    }

    /// Takes the dead process from among the others.
    pub(crate) async fn bury(&mut self, broker: u32) -> Result<(), Failure> {
        if let Some(place) = self.running.iter().position(|b| b.ready().broker_id == broker) {
            let dead = self.running.remove(place).kill().await;
            dead.map_err(|error| Failure::new(format_args!("cannot end broker {broker}: {error}")))?;
        }
        Ok(())
    }

    /// Starts it again, where it was. Returns how long it took to get ready.
    pub(crate) async fn restart(&mut self, broker: u32) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let spec = self.specs.iter().find(|spec| spec.broker_id == broker);
        let spec = spec.ok_or_else(|| Failure::new(format_args!("there is no broker {broker}")))?;
        self.running.push(BrokerProcess::start(spec).await?);
        Ok(begun.elapsed())
    }

    /// Stops a broker's process where it stands, as a machine that hangs; nothing of it is lost.
    pub(crate) fn pause(&self, broker: u32) -> Result<(), Failure> {
        self.signal(broker, Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self, broker: u32) -> Result<(), Failure> {
        self.signal(broker, Signal::CONT)
    }

    fn signal(&self, broker: u32, signal: Signal) -> Result<(), Failure> {
        let running = self.running.iter().find(|b| b.ready().broker_id == broker);
        let running = running.ok_or_else(|| Failure::new(format_args!("broker {broker} does not run")))?;
        let told = running.signal(signal);
        told.map_err(|error| Failure::new(format_args!("cannot reach broker {broker}: {error}")))
    }

    /// A broker whose process has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<(u32, ExitStatus)>, Failure> {
        for broker in &mut self.running {
            if let Some(status) = broker.ended().map_err(Failure::new)? {
                return Ok(Some((broker.ready().broker_id, status)));
            }
        }
        Ok(None)
    }

    /// Waits until every partition has a leader and all its replicas in sync. Returns how long that took.
    pub(crate) async fn until_in_sync(&self, client: &Client, topic: &str) -> Result<Duration, Failure> {
        let begun = Instant::now();
        loop {
            let partitions = client.admin().get_topic(topic).await?.partitions;
            let behind = partitions.iter().find(|partition| {
                partition.leader.is_none() || partition.in_sync_replicas.len() < partition.replicas.len()
            });
            let Some(behind) = behind else {
                return Ok(begun.elapsed());
            };
            wait_until(begun + PATIENCE, || {
                format!(
                    "partition {} is not in sync again: of {:?} only {:?} are",
                    behind.partition, behind.replicas, behind.in_sync_replicas
                )
            })
            .await?;
        }
    }

    /// SIGTERM to all; all must end cleanly.
    pub(crate) async fn stop(self) -> Result<Vec<BrokerSpec>, Failure> {
        let ended = stop_all(self.running).await;
        let ended = ended.map_err(|error| Failure::new(format_args!("cannot stop the brokers: {error}")))?;
        match ended.into_iter().find(|(_, status)| !status.success()) {
            Some((broker, status)) => Err(Failure::new(format_args!(
                "broker {broker} did not stop cleanly: {status}"
            ))),
            None => Ok(self.specs),
        }
    }
}

async fn wait_until(patience: Instant, why: impl FnOnce() -> String) -> Result<(), Failure> {
    if Instant::now() > patience {
        return Err(Failure::new(why()));
    }
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}
