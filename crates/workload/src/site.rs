//! Where a workload works, and how hard.

use crate::error::WorkloadError;
use crate::recorder::Recorder;
use crate::tasks::Stop;
use quipu_checker::Key;
use quipu_client::{CallError, Client, ClientConfig, ErrorCode, NewTopic, PartitionId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between one attempt at something that every client needs and the next.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How hard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Records sent a second, by all producers together, while the cluster takes them.
    pub records_per_second: u32,
    /// Reads a second by each reader, at most.
    pub polls_per_second: u32,
    /// Other calls a second (the ends of logs, commits, topics), by all clients of a workload together.
    pub calls_per_second: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            records_per_second: 2_000,
            polls_per_second: 10,
            calls_per_second: 20,
        }
    }
}

impl Pace {
    /// The pause of one of `count` that together do something so often.
    pub(crate) fn pause(per_second: u32, count: u32) -> Duration {
        Duration::from_secs(1) * count / per_second.max(1)
    }
}

/// Where a workload works, and how hard.
#[derive(Clone, Debug)]
pub struct Site {
    /// What records it.
    pub recorder: Arc<Recorder>,
    /// How clients reach the cluster: each has connections of its own.
    pub config: ClientConfig,
    /// The topic of all records. (The workload `topics` makes others, with this name and a number.)
    pub topic: Arc<str>,
    /// How hard.
    pub pace: Pace,
    keys: Arc<[Key]>,
}

impl Site {
    /// A topic with so many partitions; [`Site::create_topic`] creates it.
    #[must_use]
    pub fn new(recorder: &Arc<Recorder>, config: ClientConfig, topic: &str, partitions: u32) -> Self {
        let keys = (0..partitions).map(|partition| Key::new(&format!("{topic}/{partition}")));
        Self {
            recorder: Arc::clone(recorder),
            config,
            topic: topic.into(),
            pace: Pace::default(),
            keys: keys.collect(),
        }
    }

    /// The same, so hard.
    #[must_use]
    pub const fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The partitions, as the history names them.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.keys.len()).unwrap_or(u32::MAX)
    }

    /// The partitions, with their names in the history.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Key)> {
        (0..).map(PartitionId::new).zip(self.keys.iter())
    }

    /// The partition of this name.
    pub(crate) fn partition_of(&self, key: &Key) -> Option<PartitionId> {
        let mut partitions = self.partitions();
        partitions
            .find(|(_, one)| *one == key)
            .map(|(partition, _)| partition)
    }

    /// The partition's name in the history.
    pub(crate) fn key(&self, partition: PartitionId) -> Key {
        self.keys[partition.get() as usize].clone()
    }

    /// Creates the topic, and waits until each partition has a leader and all its replicas in sync.
    ///
    /// # Errors
    /// It could not be created, or is not in sync within that time.
    pub async fn create_topic(&self, topic: NewTopic, within: Duration) -> Result<(), WorkloadError> {
        let admin = Client::connect(self.config.clone()).await?.admin();
        let topic = NewTopic {
            name: self.topic.to_string(),
            partitions: Some(self.partition_count()),
            ..topic
        };
        let deadline = Instant::now() + within;
        loop {
            let created = admin.create_topic(topic.clone()).await;
            match created {
                Ok(_) => break,
                // An attempt before it was not answered.
                Err(CallError::Rejected(failure)) if failure.code == ErrorCode::TopicAlreadyExists => break,
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
        loop {
            let described = admin.get_topic(&self.topic).await;
            let ready = described.as_ref().is_ok_and(|topic| {
                let mut partitions = topic.partitions.iter();
                partitions.all(|one| one.leader.is_some() && one.in_sync_replicas.len() == one.replicas.len())
            });
            match described {
                Ok(_) if ready => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                // Then it begins with what there is.
                Ok(_) if Instant::now() > deadline => return Ok(()),
                _ => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// A client of its own; `None`: it was asked to stop before the cluster answered.
    pub(crate) async fn client(&self, stop: &mut Stop) -> Option<Client> {
        loop {
            match Client::connect(self.config.clone()).await {
                Ok(client) => return Some(client),
                Err(error) => tracing::debug!(%error, "will try again"),
            }
            if !stop.pause(AGAIN_AFTER).await {
                return None;
            }
        }
    }
}
