//! What a seed decides before the world begins: brokers, topics and their settings, clients, the faults that may come.

use crate::chance::Chance;
use crate::report::Fault;
use quipu_checker::Key;
use quipu_metadata::CreateTopic;
use quipu_record::{BrokerId, PartitionId, TopicId, TopicPartition};
use quipu_replication::{Durability, PartitionConfig};
use quipu_storage::{FlushMethod, LogConfig};
use std::sync::Arc;
use std::time::Duration;

/// A story that a share of the seeds follows, beside what chance brings: each leads straight to where a rule matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Story {
    /// Only chance.
    None,
    /// `min.insync.replicas` is raised while the leader does not hear of it, a follower is cut off, the leader shrinks
    /// the in-sync replicas and learns of that from the answer.
    MinRaisedUnseen,
    /// Followers leave one after the other until the leader stands alone; then it loses its power, and they come back.
    LastReplicaStanding,
    /// A follower is proposed for the in-sync replicas, and restarts with less than it had before that is decided.
    RestartWhileProposed,
    /// Leaders die while followers catch up and messages come late.
    LeadersInARow,
    /// A follower hears nothing of its leader, and the controllers hear both.
    LaggingFollower,
    /// A leader is cut off from the controllers and one follower; the others go on without it.
    StaleLeader,
}

impl Story {
    const ALL: [Self; 6] = [
        Self::LaggingFollower,
        Self::MinRaisedUnseen,
        Self::LastReplicaStanding,
        Self::RestartWhileProposed,
        Self::LeadersInARow,
        Self::StaleLeader,
    ];
}

impl Story {
    /// Whether it needs the network as it makes it.
    const fn cuts_the_network(self) -> bool {
        matches!(
            self,
            Self::MinRaisedUnseen | Self::LaggingFollower | Self::StaleLeader
        )
    }
}

/// One topic of the world.
#[derive(Clone, Debug)]
pub(crate) struct TopicPlan {
    pub(crate) id: TopicId,
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) replicas: usize,
    pub(crate) min_insync: u8,
    pub(crate) config: Arc<PartitionConfig>,
    pub(crate) log: LogConfig,
    /// When it is created.
    pub(crate) at: Duration,
    /// The cluster's own: made with one replica, it grows to three by itself.
    pub(crate) grows: bool,
}

/// One partition of the world.
#[derive(Clone, Debug)]
pub(crate) struct PartitionPlan {
    pub(crate) partition: TopicPartition,
    /// Its name in the history.
    pub(crate) key: Key,
    /// Its topic's place in the plan.
    pub(crate) topic: usize,
}

/// One seed's world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) brokers: Vec<BrokerId>,
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) partitions: Vec<PartitionPlan>,
    /// Faults that may come.
    pub(crate) faults: Vec<Fault>,
    /// A fault about this often.
    pub(crate) fault_every: Duration,
    /// How long clients begin new work and faults come.
    pub(crate) duration: Duration,
    pub(crate) flush_method: FlushMethod,
    pub(crate) idempotent_producers: usize,
    pub(crate) consumers: usize,
    pub(crate) story: Story,
    /// Controllers are real ones.
    pub(crate) real: bool,
}

/// Heartbeats of brokers.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(300);
/// A broker that is silent for so long is fenced.
pub(crate) const SESSION: Duration = Duration::from_secs(2);
/// A broker that was given a replica and is fenced is hardly waited for: most that are fenced come back.
pub(crate) const GONE_AFTER: Duration = Duration::ZERO;
/// A follower that is behind for so long leaves the in-sync replicas.
pub(crate) const LAG_MAX: Duration = Duration::from_secs(3);

impl Plan {
    pub(crate) fn of(seed: u64, real: bool, duration: Duration, chance: &mut Chance) -> Self {
        // In one world of four the machines never lose what was written.
        let lossy = !chance.one_in(4);
        let brokers = if chance.one_in(6) { 5 } else { 3 };
        let topics: Vec<TopicPlan> = (0..2 + chance.below(2))
            .map(|index| TopicPlan::of(seed, index, brokers, duration, chance))
            .collect();
        let partitions = topics.iter().enumerate().flat_map(|(at, topic)| topic.plans(at));
        let story = if chance.one_in(2) {
            Story::ALL[chance.below(Story::ALL.len())]
        } else {
            Story::None
        };
        let spoils = |fault: &Fault| {
            (!lossy && fault.loses_what_was_written())
                || (story.cuts_the_network() && fault.is_a_cut())
                || (story == Story::LaggingFollower && fault.moves_leaders())
        };
        let faults = Fault::CLUSTER
            .iter()
            .copied()
            .filter(|fault| !spoils(fault))
            .collect();
        Self {
            seed,
            brokers: (1..).map(BrokerId::new).take(brokers).collect(),
            partitions: partitions.collect(),
            topics,
            faults,
            fault_every: Duration::from_millis(180 + 20 * chance.below(4) as u64),
            duration,
            flush_method: [FlushMethod::Auto, FlushMethod::Fdatasync, FlushMethod::Syncfs][chance.below(3)],
            idempotent_producers: 1 + chance.below(2),
            consumers: 1 + chance.below(2),
            story,
            real,
        }
    }

    /// A partition's place.
    pub(crate) fn place(&self, partition: TopicPartition) -> Option<usize> {
        (self.partitions.iter()).position(|plan| plan.partition == partition)
    }

    /// A broker's place.
    pub(crate) fn broker(&self, id: BrokerId) -> Option<usize> {
        self.brokers.iter().position(|broker| *broker == id)
    }

    /// The topic of a partition.
    pub(crate) fn topic_of(&self, partition: usize) -> &TopicPlan {
        &self.topics[self.partitions[partition].topic]
    }

    /// Whether an acknowledgement on this partition means "flushed".
    pub(crate) fn is_fsync(&self, partition: usize) -> bool {
        self.topic_of(partition).config.durability == Durability::Fsync
    }
}

impl TopicPlan {
    fn of(seed: u64, index: usize, brokers: usize, duration: Duration, chance: &mut Chance) -> Self {
        // Not by chance, and not the one that stories are about: all else in a seed's world is as it would be without.
        let grows = index > 0 && seed.is_multiple_of(3);
        let durability = match chance.one_in(3) && !grows {
            true => Durability::Replicated,
            false => Durability::Fsync,
        };
        let config = PartitionConfig {
            durability,
            flush_interval: Duration::from_millis(200),
            // The world's clocks jump by hours; a record's time is not what is tried here.
            timestamp_after_max: None,
            ..PartitionConfig::default()
        };
        let retained = 8192 << chance.below(4);
        let most = if brokers == 5 && chance.one_in(3) { 5 } else { 3 };
        let partitions = if chance.one_in(2) { 1 } else { 2 };
        let min_insync = if chance.one_in(4) { 1 } else { 2 };
        Self {
            id: TopicId::from_u128(u128::from(seed) << 64 | (index as u128 + 1)),
            name: format!("topic-{index}"),
            partitions,
            replicas: if grows { 1 } else { most },
            min_insync: if grows { 1 } else { min_insync },
            config: Arc::new(config),
            log: LogConfig {
                segment_bytes: 2048 << chance.below(4),
                segment_ms: 2000,
                retention_ms: None,
                retention_bytes: chance.one_in(3).then_some(retained),
                compaction: None,
                index_interval_bytes: 512,
                // As in production: what is written behind its process may go with it.
                direct_bytes: chance
                    .one_in(2)
                    .then_some(500)
                    .filter(|_| durability == Durability::Fsync),
            },
            at: if index == 0 {
                Duration::from_millis(1)
            } else {
                chance.between(Duration::from_millis(1), duration / 4)
            },
            grows,
        }
    }

    fn plans(&self, topic: usize) -> impl Iterator<Item = PartitionPlan> + use<> {
        let (id, name) = (self.id, self.name.clone());
        (0..self.partitions).map(move |partition| PartitionPlan {
            partition: TopicPartition {
                topic: id,
                partition: PartitionId::new(partition),
            },
            key: Key::new(&format!("{name}/{partition}")),
            topic,
        })
    }

    /// The command that creates it.
    pub(crate) fn creation(&self) -> CreateTopic {
        let durability = match self.config.durability {
            Durability::Fsync => "fsync",
            Durability::Replicated => "replicated",
        };
        CreateTopic {
            name: self.name.clone(),
            topic_id: self.id,
            partitions: self.partitions,
            replication_factor: u16::try_from(self.replicas).ok(),
            configs: vec![
                ("durability".to_owned(), durability.to_owned()),
                ("min.insync.replicas".to_owned(), self.min_insync.to_string()),
            ],
            internal: self.grows,
        }
    }
}
