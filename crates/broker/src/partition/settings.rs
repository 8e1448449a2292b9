//! A topic's configs as its partitions' drivers and logs take them.

use quipu_metadata::TopicConfig;
use quipu_replication::{Durability, PartitionConfig, Settings};
use quipu_storage::{CompactionConfig, LogConfig};
use std::sync::Arc;
use std::time::Duration;

/// What a topic's configs mean for each of its partitions.
pub(crate) fn settings(
    config: &TopicConfig,
    replica_lag_max: Duration,
    direct_bytes: Option<u64>,
) -> Settings {
    let policy = config.cleanup_policy();
    let durability = match config.durability() {
        quipu_metadata::Durability::Fsync => Durability::Fsync,
        quipu_metadata::Durability::Replicated => Durability::Replicated,
    };
    let partition = PartitionConfig {
        durability,
        compacted: policy.compacts(),
        timestamp_type: config.timestamp_type(),
        timestamp_before_max: Some(Duration::from_millis(config.timestamp_before_max_ms())),
        timestamp_after_max: Some(Duration::from_millis(config.timestamp_after_max_ms())),
        max_message_bytes: config.max_message_bytes() as usize,
        flush_interval: Duration::from_millis(config.flush_ms()),
        flush_bytes: config.flush_bytes(),
        replica_lag_max,
        ..PartitionConfig::default()
    };
    let log = LogConfig {
        segment_bytes: config.segment_bytes(),
        segment_ms: config.segment_ms(),
        compaction: policy.compacts().then(|| CompactionConfig {
            min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio(),
            min_compaction_lag_ms: config.min_compaction_lag_ms(),
            delete_retention_ms: config.delete_retention_ms(),
        }),
        retention_ms: config.retention_ms().filter(|_| policy.deletes()),
        retention_bytes: config.retention_bytes().filter(|_| policy.deletes()),
        // A kill must lose nothing of the others, and what is written behind the process may go with it.
        direct_bytes: direct_bytes.filter(|_| durability == Durability::Fsync),
        ..LogConfig::default()
    };
    Settings {
        partition: Arc::new(partition),
        log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_metadata::ConfigKey;

    #[test]
    fn only_what_waits_for_a_flush_is_written_behind_the_process() {
        let direct_bytes = |durability| {
            let config = TopicConfig::from_raw(vec![(ConfigKey::Durability, durability)]);
            let settings = settings(&config, Duration::from_secs(1), Some(7));
            (settings.partition.durability, settings.log.direct_bytes)
        };
        let all = [0, 1].map(direct_bytes);
        assert!(all.contains(&(Durability::Fsync, Some(7))), "{all:?}");
        assert!(all.contains(&(Durability::Replicated, None)), "{all:?}");
    }
}
