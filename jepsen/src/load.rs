//! The clients of a run: some reach the nodes as they are, others through the proxies.

use crate::Result;
use crate::chance::Chance;
use crate::cli::Plan;
use crate::cluster::{Cluster, PATIENCE};
use quipu_checker::{Fault, Op, Phase, Time};
use quipu_client::{ClientConfig, NewTopic};
use quipu_workload::{Pace, Polled, Recorder, Site, Tasks, poll_to_the_end, workloads};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What everybody writes to and reads.
pub(crate) const TOPIC: &str = "jepsen";
/// Clients of a cluster whose nodes come and go are told to wait less than they would by default.
const CONNECT: Duration = Duration::from_millis(1000);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long clients may take to end what they are in.
const CLIENTS_END: Duration = Duration::from_secs(60);

/// Clients at work, and what they record.
pub(crate) struct Load {
    pub(crate) recorder: Arc<Recorder>,
    site: Site,
    tasks: Option<Tasks>,
}

impl Load {
    /// Creates the topic, and sets everybody to work.
    pub(crate) fn start(
        plan: &Plan,
        cluster: &Cluster,
        chance: &mut Chance,
        runtime: &Handle,
    ) -> Result<Self> {
        let recorder = Recorder::new();
        let pace = Pace {
            // Both sites have all the workloads.
            records_per_second: plan.rate / 2,
            ..Pace::default()
        };
        let site = |addresses: Vec<String>| {
            Site::new(&recorder, config(addresses), TOPIC, plan.partitions).with_pace(pace)
        };
        let direct = site(cluster.addresses());
        let proxied = site(cluster.proxied_addresses());
        runtime.block_on(direct.create_topic(NewTopic::default(), PATIENCE))?;
        let mut tasks = Tasks::new();
        let _inside = runtime.enter();
        for name in &plan.workloads {
            let workload = workloads::named(name).ok_or_else(|| format!("there is no workload {name:?}"))?;
            workload.spawn(&direct, chance.fork(), &mut tasks);
            workload.spawn(&proxied, chance.fork(), &mut tasks);
        }
        Ok(Self {
            recorder,
            site: direct,
            tasks: Some(tasks),
        })
    }

    /// One end of a fault.
    pub(crate) fn fault(&self, kind: &str, phase: Phase, what: &str) -> Result<Time> {
        let fault = Fault::of(kind, phase, what.to_owned());
        Ok(self.recorder.tell(Op::Fault(fault))?)
    }

    /// All is whole, until the next fault.
    pub(crate) fn healed(&self, what: &str) -> Result<Time> {
        let what = what.to_owned();
        Ok(self.recorder.tell(Op::Healed { what })?)
    }

    /// From a moment until every partition had acknowledged something, if it came to that.
    pub(crate) fn back_after(&self, moment: Time) -> Option<Duration> {
        let back = self.recorder.first_ack_of_all_after(self.site.keys(), moment)?;
        Some(Duration::from_nanos(back.0.saturating_sub(moment.0)))
    }

    /// Sees whether the clients are all at work.
    pub(crate) fn look_after_clients(&mut self, cluster: &mut Cluster) {
        if let Some(error) = self.tasks.as_mut().and_then(Tasks::broken) {
            cluster.incident(format!("a client ended by itself: {error}"));
        }
    }

    /// Ends all clients, then reads everything to its end. What goes wrong with that is an incident.
    pub(crate) fn end(&mut self, runtime: &Handle, cluster: &mut Cluster) -> Result<Polled> {
        if let Some(tasks) = self.tasks.take()
            && let Err(error) = runtime.block_on(tasks.stop(CLIENTS_END))
        {
            cluster.incident(format!("clients: {error}"));
        }
        self.recorder.tell(Op::FinalPolls)?;
        match runtime.block_on(poll_to_the_end(&self.site, cluster.patience())) {
            Ok(polled) => Ok(polled),
            Err(error) => {
                cluster.incident(format!("reading to the end: {error}"));
                Ok(Polled::default())
            }
        }
    }
}

fn config(addresses: Vec<String>) -> ClientConfig {
    ClientConfig {
        connect_timeout: CONNECT,
        backoff_max: BACKOFF_MAX,
        keep_alive_interval: KEEP_ALIVE,
        keep_alive_timeout: KEEP_ALIVE,
        ..ClientConfig::new(addresses)
    }
}
