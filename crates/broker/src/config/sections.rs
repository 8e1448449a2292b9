//! The smaller sections.

use super::parse;
use super::reader::Reader;
use quipu_metadata::{ConfigChange, FeatureLevel};
use quipu_record::BrokerId;
use quipu_storage::FlushMethod;
use std::collections::BTreeMap;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a process does in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Keeps partitions and serves clients.
    Broker,
    /// Votes on the cluster's metadata.
    Controller,
}

/// Who this broker is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerConfig {
    /// Its id, unique in the cluster; for ever that of its data directory.
    pub id: BrokerId,
    /// What it does; at least one of them.
    pub roles: Vec<Role>,
    /// Where it stands; empty: not told.
    pub rack: String,
}

impl BrokerConfig {
    /// Whether it does this.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let base = reader.int("broker.ordinal.base", 0, 0..=1_000_000);
        let ordinal = ordinal(reader).map(|ordinal| ordinal.saturating_add(base));
        let id = reader.value("broker.id", 0, |text| match (text, ordinal) {
            ("ordinal", Some(id)) => Ok(id),
            ("ordinal", None) => Err(
                "to be had: neither POD_NAME nor HOSTNAME ends in -NUMBER; set broker.id to a number"
                    .to_owned(),
            ),
            (text, _) => parse::int(text, &(0..=1_000_000))
                .map_err(|wanted| format!("{wanted}, or ordinal (of POD_NAME)")),
        });
        let roles = reader.list("broker.roles", |text| {
            parse::choice(
                text,
                &[("broker", Role::Broker), ("controller", Role::Controller)],
            )
        });
        let roles = roles.unwrap_or_else(|| vec![Role::Broker, Role::Controller]);
        if roles.is_empty() {
            let problem = "a process without a role does nothing: name broker, controller, or both";
            reader.mistake(&["broker.roles"], problem);
        }
        let rack = reader.value("broker.rack", String::new(), |text| match text.len() {
            0..=255 => Ok(text.to_owned()),
            _ => Err("a name of at most 255 bytes".to_owned()),
        });
        Self {
            id: BrokerId::new(id),
            roles,
            rack,
        }
    }
}

/// The number at the end of the pod's name, as a StatefulSet gives it.
fn ordinal(reader: &Reader) -> Option<u32> {
    let name = reader
        .variable("POD_NAME")
        .or_else(|| reader.variable("HOSTNAME"))?;
    name.rsplit_once('-')?.1.parse().ok()
}

/// The disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageConfig {
    /// How logs get to the disk.
    pub flush_method: FlushMethod,
    /// Appends of at least so many bytes go past the page cache while nobody reads files of the partition; `None`: none.
    pub direct_bytes: Option<u64>,
    /// Segment files that may be open at once.
    pub open_files: usize,
    /// Bytes that compaction reads and writes in a second, at most.
    pub cleaner_bytes_per_second: u64,
    /// Bytes of memory that compaction takes for the keys of one pass.
    pub cleaner_memory_bytes: u64,
    /// How often logs are looked at for something to compact.
    pub cleaner_backoff: Duration,
}

impl StorageConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            flush_method: reader.value("storage.flush.method", FlushMethod::Auto, |text| {
                parse::choice(
                    text,
                    &[
                        ("auto", FlushMethod::Auto),
                        ("fdatasync", FlushMethod::Fdatasync),
                        ("syncfs", FlushMethod::Syncfs),
                    ],
                )
            }),
            direct_bytes: Some(reader.bytes("storage.direct.bytes", 256 * KIB, 0..=GIB))
                .filter(|from| *from > 0),
            open_files: reader.int("storage.open.files", 2048, 64..=1_000_000),
            cleaner_bytes_per_second: reader.bytes(
                "storage.cleaner.bytes.per.second",
                32 * MIB,
                64 * KIB..=64 * GIB,
            ),
            cleaner_memory_bytes: reader.bytes("storage.cleaner.memory.bytes", 32 * MIB, 64 * KIB..=64 * GIB),
            cleaner_backoff: Duration::from_millis(reader.int(
                "storage.cleaner.backoff.ms",
                15_000,
                10..=3_600_000,
            )),
        }
    }
}

/// How many threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadsConfig {
    /// Own the partitions; 0: one for each processor.
    pub partition: usize,
    /// Read what is not in memory.
    pub read: usize,
    /// Carry the network; 0: one for each processor.
    pub network: usize,
}

impl ThreadsConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            partition: reader.int("threads.partition", 0, 0..=256),
            read: reader.int("threads.read", 4, 1..=256),
            network: reader.int("threads.network", 0, 0..=256),
        }
    }
}

/// Bounds on memory and connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitsConfig {
    /// Bytes of produced batches that wait in the broker, over all clients.
    pub queue_bytes: u64,
    /// Bytes of recent batches kept for consumers at the tail, over all partitions.
    pub tail_bytes: u64,
    /// Bytes of unanswered batches that one produce stream may have in the broker.
    pub stream_window_bytes: u64,
    /// Client connections, over all listeners.
    pub connections: usize,
    /// Streams and calls at once on one connection.
    pub streams: u32,
    /// The largest request.
    pub request_bytes: u64,
    /// Bytes that requests may hold that are being received, over all clients.
    pub receive_bytes: u64,
    /// Bytes that clients may have sent and nobody read yet, over all connections.
    pub window_bytes: u64,
}

impl LimitsConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            queue_bytes: reader.bytes("limits.queue.bytes", 64 * MIB, MIB..=64 * GIB),
            tail_bytes: reader.bytes("limits.tail.bytes", 32 * MIB, 0..=64 * GIB),
            stream_window_bytes: reader.bytes("limits.stream.window.bytes", 8 * MIB, 64 * KIB..=GIB),
            connections: reader.int("limits.connections", 4096, 1..=1_000_000),
            streams: reader.int("limits.streams", 256, 1..=65_536),
            request_bytes: reader.bytes("limits.request.bytes", 8 * MIB, MIB..=64 * MIB),
            receive_bytes: reader.bytes("limits.receive.bytes", 32 * MIB, MIB..=64 * GIB),
            window_bytes: reader.bytes("limits.window.bytes", 32 * MIB, MIB..=64 * GIB),
        }
    }
}

/// What a topic gets that its creator did not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicsConfig {
    /// Partitions.
    pub partitions: u32,
    /// Copies; 0: 3, or the number of brokers if fewer.
    pub replication_factor: u32,
    /// Configs by Kafka's names, stored with the topic as it is created.
    pub defaults: BTreeMap<String, String>,
}

impl TopicsConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let partitions = reader.int("topic.partitions", 1, 1..=10_000);
        let replication_factor = reader.int("topic.replication.factor", 0, 0..=100);
        let mut defaults = BTreeMap::new();
        for config in reader.keys_below("topic.defaults") {
            let key = format!("topic.defaults.{config}");
            if let Some(value) = reader.optional(&key, |text| Ok(text.to_owned())) {
                // Whether it fits the number of replicas is known when a topic is created.
                let change = ConfigChange {
                    set: vec![(config.clone(), value.clone())],
                    unset: Vec::new(),
                };
                for mistake in change
                    .apply(None, usize::MAX, FeatureLevel::SUPPORTED)
                    .err()
                    .into_iter()
                    .flatten()
                {
                    reader.mistake(&[&key], mistake.to_string());
                }
                defaults.insert(config, value);
            }
        }
        Self {
            partitions,
            replication_factor,
            defaults,
        }
    }
}
