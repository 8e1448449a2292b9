//! What the probes say: alive, started, ready.
//!
//! *Live*: nothing unrecoverable was announced; never a matter of quorum. *Started*: logs are open, the broker is registered
//! and unfenced. *Ready*: the same, and every own replica whose partition has a leader has been in sync since the
//! start; sticky until the drain, so that a partition without a leader cannot empty a bootstrap service.

use crate::admit::{Admission, Phase};
use crate::fatal::Fatal;
use quipu_metadata::Image;
use quipu_record::{BrokerId, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// A question about the broker's health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// Restart it if not.
    Live,
    /// Do not ask the others before.
    Started,
    /// Send clients elsewhere if not.
    Ready,
}

/// Which replicas of a broker have been in sync since it started.
#[derive(Debug)]
pub(crate) struct CatchingUp {
    broker: BrokerId,
    seen: BTreeSet<TopicPartition>,
}

impl CatchingUp {
    pub(crate) fn new(broker: BrokerId) -> Self {
        Self {
            broker,
            seen: BTreeSet::new(),
        }
    }

    /// Whether each replica whose partition has a leader has been seen in sync, by this image or one before.
    pub(crate) fn is_over(&mut self, image: &Image) -> bool {
        let mut over = true;
        for (topic, partition, state) in image.partitions() {
            if state.leader.is_none() || !state.replicas.contains(self.broker) {
                continue;
            }
            let at = TopicPartition {
                topic: topic.id,
                partition,
            };
            if state.isr.contains(self.broker) {
                self.seen.insert(at);
            } else {
                over &= self.seen.contains(&at);
            }
        }
        over
    }
}

/// Answers the probes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    admission: Arc<Admission>,
    fatal: Fatal,
    step: Arc<watch::Sender<String>>,
    ready: Arc<watch::Sender<bool>>,
}

impl Health {
    /// Of a broker that is starting.
    #[must_use]
    pub fn new(admission: Arc<Admission>, fatal: Fatal) -> Self {
        Self {
            admission,
            fatal,
            step: Arc::new(watch::Sender::new("starting".to_owned())),
            ready: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Says what the broker is doing before it is ready.
    pub fn step(&self, doing: impl Into<String>) {
        let doing = doing.into();
        tracing::info!("{doing}");
        self.step.send_replace(doing);
    }

    /// Ready from now on, until the drain.
    pub fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// The answer to a probe; if it is no, why.
    ///
    /// # Errors
    /// The answer is no.
    pub fn check(&self, probe: Probe) -> Result<(), String> {
        if let Some(reason) = self.fatal.reason() {
            return Err(format!("cannot go on: {reason}"));
        }
        let phase = self.admission.phase();
        let yes = match probe {
            Probe::Live => true,
            Probe::Started => phase != Phase::Starting,
            Probe::Ready => phase == Phase::Running && *self.ready.borrow(),
        };
        match (yes, phase) {
            (true, _) => Ok(()),
            (false, Phase::Draining) => Err("shutting down".to_owned()),
            (false, _) => Err(self.step.borrow().clone()),
        }
    }

    /// Keeps `grpc.health.v1` the same as readiness until the drain, then ends its watches.
    pub async fn report(self, reporter: HealthReporter, services: Vec<String>) {
        let mut ready = self.ready.subscribe();
        let all = || services.iter().map(String::as_str).chain([""]);
        for name in all() {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
        let drained = self.admission.drained();
        let serving = async {
            // Never closed: the sender is in `self`.
            let _ = ready.wait_for(|ready| *ready).await;
            for name in all() {
                reporter.set_service_status(name, ServingStatus::Serving).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! { () = drained => {}, () = serving => {} }
        for name in all() {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
        // A watch would hold its connection open for ever.
        let mut reporter = reporter;
        for name in all() {
            reporter.clear_service_status(name).await;
        }
    }
}
