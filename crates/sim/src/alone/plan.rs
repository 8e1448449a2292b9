//! What a seed decides before the world begins: the partitions, their settings, the clients, the faults that may come.

use crate::chance::Chance;
use crate::report::Fault;
use quipu_checker::Key;
use quipu_record::{BrokerId, PartitionId, TimestampType, TopicId, TopicPartition};
use quipu_replication::{Durability, PartitionConfig};
use quipu_storage::{FlushMethod, LogConfig};
use std::sync::Arc;
use std::time::Duration;

/// One partition of the world.
#[derive(Clone, Debug)]
pub(crate) struct PartitionPlan {
    pub(crate) partition: TopicPartition,
    /// Its name in the history.
    pub(crate) key: Key,
    pub(crate) config: Arc<PartitionConfig>,
    pub(crate) log: LogConfig,
    /// Whether an acknowledgement survives every fault of this world: not with `durability=replicated` on one replica
    /// where unsynced bytes may be lost.
    pub(crate) promised: bool,
}

/// One seed's world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) brokers: Vec<BrokerId>,
    pub(crate) partitions: Vec<PartitionPlan>,
    /// Faults that may come.
    pub(crate) faults: Vec<Fault>,
    /// A fault about this often.
    pub(crate) fault_every: Duration,
    /// How long clients begin new work and faults come.
    pub(crate) duration: Duration,
    pub(crate) flush_method: FlushMethod,
    /// Whether flush jobs are taken as soon as they are wanted, so that a log may have several under way, or as a round
    /// begins.
    pub(crate) takes_flushes_at_once: bool,
    pub(crate) idempotent_producers: usize,
    pub(crate) consumers: usize,
}

impl Plan {
    pub(crate) fn of(seed: u64, duration: Duration, chance: &mut Chance) -> Self {
        // In one world of four the machine never loses what was written, so that `durability=replicated` may promise.
        let lossy = !chance.one_in(4);
        let faults = Fault::ALONE
            .iter()
            .copied()
            .filter(|fault| lossy || !fault.loses_what_was_written())
            .collect();
        let count = 2 + chance.below(3);
        let topic = TopicId::from_u128(u128::from(seed) << 64 | 1);
        let partitions = (0..)
            .map(PartitionId::new)
            .take(count)
            .map(|partition| {
                let partition = TopicPartition { topic, partition };
                PartitionPlan::of(partition, lossy, chance)
            })
            .collect();
        Self {
            seed,
            brokers: vec![BrokerId::new(1)],
            partitions,
            faults,
            fault_every: Duration::from_millis(300),
            duration,
            flush_method: [FlushMethod::Auto, FlushMethod::Fdatasync, FlushMethod::Syncfs][chance.below(3)],
            takes_flushes_at_once: chance.one_in(2),
            idempotent_producers: 1 + chance.below(3),
            consumers: 1 + chance.below(2),
        }
    }
}

impl PartitionPlan {
    fn of(partition: TopicPartition, lossy: bool, chance: &mut Chance) -> Self {
        let replicated = chance.one_in(3);
        let durability = if replicated {
            Durability::Replicated
        } else {
            Durability::Fsync
        };
        let timestamp_type = if chance.one_in(4) {
            TimestampType::LogAppend
        } else {
            TimestampType::Create
        };
        let config = PartitionConfig {
            durability,
            timestamp_type,
            flush_interval: Duration::from_millis(100),
            // The world's clock jumps by hours; a record's time is not what is tried here.
            timestamp_after_max: None,
            ..PartitionConfig::default()
        };
        let retained = 8192 << chance.below(4);
        let log = LogConfig {
            segment_bytes: 1024 << chance.below(5),
            segment_ms: 2000,
            retention_ms: None,
            retention_bytes: chance.one_in(3).then_some(retained),
            compaction: None,
            index_interval_bytes: 256,
            // As in production: what is written behind its process may go with it.
            direct_bytes: chance.one_in(2).then_some(500).filter(|_| !replicated),
        };
        Self {
            partition,
            key: Key::new(&format!("log/{}", partition.partition)),
            config: Arc::new(config),
            log,
            promised: !(replicated && lossy),
        }
    }
}
