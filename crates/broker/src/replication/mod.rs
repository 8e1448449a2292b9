//! Between brokers: partitions led elsewhere are copied from their leaders, those led here are given to their followers.
//!
//! ```text
//!  partition threads ──position──▶ follower (a task for each broker that leads for us) ──request──▶ that broker
//!         ▲ └── batches checked, by thread ◀──────────────┘ ◀────────────────────────────answer──┘
//!
//!  a follower's request ──▶ leader (a task for each stream) ──positions, by thread──▶ partition threads
//!                             │ ◀──────────────────verdicts, news of changed views──────┘
//!                             └─ reads the tails, or the files; answers
//! ```
//! What follows from a position or an answer is for `quipu-replication` to say; here it is carried.
//!
//! Invariants
//! - A stream costs by what happens, not by its partitions: an idle one is not looked at.
//! - What is on its way between two brokers is bounded by [`ReplicationConfig::fetch_bytes`].
//! - A batch is checked before it comes near a partition's thread, and copied by nobody after it came off the socket.

mod dial;
mod follower;
mod isr;
mod leader;
mod offline;
mod service;
mod wire;

pub(crate) use dial::endpoint;
pub use isr::{IsrChanges, IsrUnanswered, ProposeIsr};
pub(crate) use offline::Offline;
pub use service::{Answers, Replicas, server};

use crate::data_plane::DataPlaneConfig;
use crate::partition::exchange::{Link, Proposed};
use crate::partition::thread::Threads;
use dial::Address;
use quipu_metadata::Image;
use quipu_record::{BrokerEpoch, BrokerId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How partitions are copied between brokers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicationConfig {
    /// How long a leader may wait with its answer when it has nothing.
    pub fetch_wait: Duration,
    /// Bytes of batches that may be on the way from one leader.
    pub fetch_bytes: usize,
    /// How long an in-sync replica may be behind.
    pub lag_max: Duration,
}

impl Default for ReplicationConfig {
    fn default() -> Self {
        Self {
            fetch_wait: Duration::from_millis(500),
            fetch_bytes: 8 << 20,
            lag_max: Duration::from_secs(10),
        }
    }
}

/// What the sessions with leaders have in common.
#[derive(Clone, Debug)]
struct Common {
    me: BrokerId,
    config: ReplicationConfig,
    message_bytes_max: usize,
    threads: Threads,
}

/// The tasks of this broker that speak to others.
#[derive(Debug)]
pub(crate) struct Replication {
    common: Common,
    /// The runtime that the broker was started in. Without one nothing is copied.
    runtime: Option<Handle>,
    tasks: Mutex<Tasks>,
    /// The streams of followers end with it.
    ended: watch::Sender<bool>,
    /// The replicas that cannot serve.
    pub(crate) offline: Arc<Offline>,
}

#[derive(Debug)]
struct Tasks {
    leaders: HashMap<BrokerId, Leader>,
    /// Until somebody takes the proposals to the controllers.
    proposed: Option<mpsc::UnboundedReceiver<Proposed>>,
    proposing: Option<Task>,
    stopped: bool,
}

/// The session with one leader.
#[derive(Debug)]
struct Leader {
    link: Link,
    address: watch::Sender<Option<Address>>,
    _task: Option<Task>,
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Replication {
    /// Nothing is copied yet.
    pub(crate) fn new(
        config: &DataPlaneConfig,
        threads: Threads,
        proposed: mpsc::UnboundedReceiver<Proposed>,
        offline: Arc<Offline>,
    ) -> Self {
        Self {
            common: Common {
                me: config.broker,
                config: config.replication.clone(),
                message_bytes_max: config.message_bytes_max,
                threads,
            },
            runtime: Handle::try_current().ok(),
            tasks: Mutex::new(Tasks {
                leaders: HashMap::new(),
                proposed: Some(proposed),
                proposing: None,
                stopped: false,
            }),
            ended: watch::Sender::new(false),
            offline,
        }
    }

    /// The way to the session with a leader, which begins with the first partition that follows it. `epoch` is this
    /// broker's lifetime.
    pub(crate) fn link(&self, image: &Image, leader: BrokerId, epoch: BrokerEpoch) -> Link {
        let mut tasks = self.tasks();
        if let Some(known) = tasks.leaders.get(&leader) {
            return known.link.clone();
        }
        let (link, turns) = Link::new();
        let (address, at) = watch::channel(dial::address(image, leader, epoch));
        let follower = follower::Follower::new(self.common.clone(), leader, at, turns, link.clone());
        let runtime = self.runtime.as_ref().filter(|_| !tasks.stopped);
        let task = runtime.map(|runtime| Task(runtime.spawn(follower.run())));
        let known = Leader {
            link: link.clone(),
            address,
            _task: task,
        };
        tasks.leaders.insert(leader, known);
        link
    }

    /// Brokers may be somewhere else, or in another lifetime, this one too.
    pub(crate) fn moved(&self, image: &Image, epoch: BrokerEpoch) {
        for (id, leader) in &self.tasks().leaders {
            let address = dial::address(image, *id, epoch);
            leader.address.send_if_modified(|known| {
                let differs = *known != address;
                *known = address;
                differs
            });
        }
    }

    /// Has changes of in-sync replicas proposed, in the name of this broker's lifetime `epoch`.
    pub(crate) fn propose(&self, epoch: BrokerEpoch, proposer: Arc<dyn ProposeIsr>) {
        let mut tasks = self.tasks();
        if let (Some(runtime), Some(proposed)) = (&self.runtime, tasks.proposed.take()) {
            let task = isr::run(self.common.clone(), epoch, proposer, proposed);
            tasks.proposing = Some(Task(runtime.spawn(task)));
        }
    }

    /// Completes when followers are served no more.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.subscribe();
        // Gone is more than ended.
        async move { drop(ended.wait_for(|ended| *ended).await) }
    }

    /// Serves followers no more: nothing waits for them any longer.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Copies nothing any more, and proposes nothing. Followers go on: what is appended here may wait for them.
    pub(crate) fn stop(&self) {
        let mut tasks = self.tasks();
        tasks.stopped = true;
        tasks.leaders.clear();
        tasks.proposing = None;
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
