//! Configuration: a TOML file, overridden by `QUIPU_*` in the environment, overridden by flags; checked as a whole, and
//! every mistake named at once with where it was made and what to do. `docs/quipu.toml` lists every key with its default
//! (a test holds it to that).
//!
//! `storage.flush.method` in the file is `QUIPU_STORAGE_FLUSH_METHOD` in the environment, and the key itself as a flag.
//! Each section is read by the type that it becomes; nothing here is global.

mod cluster;
mod listeners;
mod mistake;
mod parse;
mod reader;
mod sections;
mod sources;

pub use cluster::{ControllersConfig, INTERNAL, ReplicationConfig};
pub use listeners::{HttpConfig, ListenerConfig, Protocol};
pub use mistake::{ConfigError, Mistake, Origin};
pub use parse::HostPort;
pub use reader::Reader;
pub use sections::{BrokerConfig, LimitsConfig, Role, StorageConfig, ThreadsConfig, TopicsConfig};
pub use sources::Sources;

use crate::logging;
use quipu_metadata::ClusterId;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything a broker is told before it starts.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The cluster that the data must belong to; absent: whatever the data directory says, or a new one.
    pub cluster_id: Option<ClusterId>,
    /// Who this broker is.
    pub broker: BrokerConfig,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Where brokers and controllers connect to each other.
    pub internal: ListenerConfig,
    /// Who the controllers are.
    pub controllers: ControllersConfig,
    /// How copies keep up.
    pub replication: ReplicationConfig,
    /// Probes and metrics.
    pub http: HttpConfig,
    /// What is logged, and how.
    pub log: logging::Config,
    /// The disk.
    pub storage: StorageConfig,
    /// How many threads.
    pub threads: ThreadsConfig,
    /// Bounds on memory and connections.
    pub limits: LimitsConfig,
    /// What a topic gets that its creator did not say.
    pub topics: TopicsConfig,
    /// How long a drain may take before what is left is cut off.
    pub drain_timeout: Duration,
}

impl Config {
    /// Reads and checks all of it.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(sources);
        let config = Self::read(&mut reader);
        config.check(&mut reader);
        reader.finish()?;
        Ok(config)
    }

    /// The defaults over a data directory, with any free port everywhere: for tests and throw-away brokers, which
    /// learn the addresses from the broker.
    #[must_use]
    pub fn ephemeral(data_dir: &Path) -> Self {
        let mut config = Self::read(&mut Reader::new(&Sources::default()));
        config.data_dir = data_dir.to_owned();
        for listener in &mut config.listeners {
            listener.bind.port = 0;
        }
        config.internal.bind.port = 0;
        config.http.bind = Some(HostPort::loopback(0));
        config
    }

    fn read(reader: &mut Reader) -> Self {
        Self {
            cluster_id: reader.optional("cluster.id", |text| {
                ClusterId::parse(text).ok_or_else(|| "a hyphenated UUID".to_owned())
            }),
            broker: BrokerConfig::read(reader),
            data_dir: reader.path("data.dir", "quipu-data"),
            listeners: listeners::read(reader),
            internal: cluster::read_internal(reader),
            controllers: ControllersConfig::read(reader),
            replication: ReplicationConfig::read(reader),
            http: HttpConfig::read(reader),
            log: logging::Config::read(reader),
            storage: StorageConfig::read(reader),
            threads: ThreadsConfig::read(reader),
            limits: LimitsConfig::read(reader),
            topics: TopicsConfig::read(reader),
            drain_timeout: Duration::from_millis(reader.int("shutdown.drain.ms", 30_000, 0..=3_600_000)),
        }
    }

    /// What only several values together show.
    fn check(&self, reader: &mut Reader) {
        listeners::check(&self.listeners, &self.internal, &self.http, reader);
        self.controllers.check(&self.broker, &self.internal, reader);
        self.replication.check(reader);
        let LimitsConfig {
            queue_bytes,
            stream_window_bytes,
            ..
        } = self.limits;
        if stream_window_bytes > queue_bytes {
            reader.mistake(
                &["limits.queue.bytes", "limits.stream.window.bytes"],
                format!(
                    "one stream may have {stream_window_bytes} bytes waiting (limits.stream.window.bytes), more than \
                     all may together ({queue_bytes}, limits.queue.bytes); raise this or lower that"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
