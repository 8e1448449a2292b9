//! What makes many processes one cluster: the internal listener, who the controllers are, and how copies keep up.

use super::listeners::{ListenerConfig, Protocol};
use super::parse::HostPort;
use super::reader::Reader;
use super::sections::{BrokerConfig, Role};
use std::sync::Arc;
use std::time::Duration;

/// The listener that brokers and controllers speak to each other by. Clients never see it.
pub const INTERNAL: &str = "internal";
const INTERNAL_PORT: u16 = 4601;
const MIB: u64 = 1 << 20;
/// Heartbeats in the silence after which the active controller is replaced, at least: they come up to half as often, and
/// the lease in which it must have been answered by a majority is five eighths of the silence.
const SILENCE_HEARTBEATS: u32 = 6;

/// Who the controllers are, and how long one waits for a sign of life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllersConfig {
    /// The internal addresses of the first controllers, equal on all nodes; empty: this process alone is a cluster.
    pub voters: Vec<HostPort>,
    /// How often a broker gives a sign of life to the active controller.
    pub heartbeat: Duration,
    /// A broker that was not heard of for this long is fenced.
    pub session_timeout: Duration,
    /// How often the active controller makes itself heard by the others.
    pub raft_heartbeat: Duration,
    /// An active controller that is silent for this long is replaced; for a shorter time it never is.
    pub raft_silence: Duration,
}

impl ControllersConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let voters = reader.list("controllers.voters", |text| match text {
            "" => Ok(None),
            text => text.parse().map(Some),
        });
        let mut millis = |key: &str, default: u64, range: std::ops::RangeInclusive<u64>| {
            Duration::from_millis(reader.int(&format!("controllers.{key}"), default, range))
        };
        Self {
            heartbeat: millis("heartbeat.ms", 1000, 10..=60_000),
            session_timeout: millis("session.timeout.ms", 6000, 50..=600_000),
            raft_heartbeat: millis("raft.heartbeat.ms", 100, 10..=60_000),
            raft_silence: millis("raft.silence.ms", 800, 80..=600_000),
            voters: voters.unwrap_or_default().into_iter().flatten().collect(),
        }
    }

    /// Between which times a controller waits, once nobody who heard the active one lately is left: they all differ.
    pub(crate) fn election_timeouts(&self) -> (Duration, Duration) {
        // The longer one is the lease as well: the two of them are the silence, and the last one stands a quarter later.
        let whole_ms = u64::try_from(self.raft_silence.as_millis()).unwrap_or(u64::MAX);
        let min = Duration::from_millis(whole_ms / 8 * 3);
        (min, self.raft_silence - min)
    }

    /// What only several values together show.
    pub(super) fn check(&self, broker: &BrokerConfig, internal: &ListenerConfig, reader: &mut Reader) {
        self.check_times(reader);
        self.check_voters(reader);
        let controller = broker.has(Role::Controller);
        if self.voters.is_empty() {
            if !controller {
                let problem = "a process that is no controller itself must know where they are: set controllers.voters to \
                               the internal addresses of all controllers";
                reader.mistake(&["broker.roles", "controllers.voters"], problem);
            }
            return;
        }
        let own = internal.told();
        if own.port == 0 {
            let problem =
                "port 0 is any port, and others must know this one: set internal.bind to a port of its own";
            reader.mistake(&["internal.bind", "internal.advertised"], problem);
        } else if controller && !own.is_wildcard() && !self.voters.contains(&own) {
            let problem = format!(
                "this process is a controller, and its internal address {own} (internal.advertised, or else internal.bind) \
                 is not among controllers.voters: add it, or take controller out of broker.roles"
            );
            reader.mistake(&["controllers.voters"], problem);
        }
    }

    fn check_times(&self, reader: &mut Reader) {
        let ms = |duration: Duration| duration.as_millis();
        if self.session_timeout < self.heartbeat * 2 {
            let problem = format!(
                "a session of {} ms ends before two heartbeats of {} ms (controllers.heartbeat.ms): raise this or lower that",
                ms(self.session_timeout),
                ms(self.heartbeat)
            );
            let keys = ["controllers.session.timeout.ms", "controllers.heartbeat.ms"];
            reader.mistake(&keys, problem);
        }
        if self.raft_silence < self.raft_heartbeat * SILENCE_HEARTBEATS {
            let problem = format!(
                "a silence of {} ms is shorter than {SILENCE_HEARTBEATS} heartbeats of {} ms (controllers.raft.heartbeat.ms), \
                 and a single late one would cost an election: raise this or lower that",
                ms(self.raft_silence),
                ms(self.raft_heartbeat)
            );
            let keys = ["controllers.raft.silence.ms", "controllers.raft.heartbeat.ms"];
            reader.mistake(&keys, problem);
        }
    }

    fn check_voters(&self, reader: &mut Reader) {
        for (at, voter) in self.voters.iter().enumerate() {
            if self.voters[..at].contains(voter) {
                let problem = format!("{voter} stands there twice: name each controller once");
                reader.mistake(&["controllers.voters"], problem);
            }
            if voter.port == 0 || voter.is_wildcard() {
                let problem =
                    format!("nobody can connect to {voter}: name the address that others reach it by");
                reader.mistake(&["controllers.voters"], problem);
            }
        }
    }
}

/// How copies of partitions keep up with their leaders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicationConfig {
    /// A copy that has not caught up for this long is no longer in sync.
    pub lag_max: Duration,
    /// How long a leader may let a copy wait when there is nothing new.
    pub fetch_wait: Duration,
    /// Bytes of batches in one answer to a copy.
    pub fetch_bytes: u64,
}

impl ReplicationConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let lag_max = reader.int("replication.lag.max.ms", 10_000, 100..=3_600_000);
        let fetch_wait = reader.int("replication.fetch.wait.ms", 500, 10..=60_000);
        Self {
            lag_max: Duration::from_millis(lag_max),
            fetch_wait: Duration::from_millis(fetch_wait),
            fetch_bytes: reader.bytes("replication.fetch.bytes", 8 * MIB, 64 << 10..=256 * MIB),
        }
    }

    pub(super) fn check(&self, reader: &mut Reader) {
        if self.fetch_wait >= self.lag_max {
            let problem = format!(
                "a copy may wait {} ms (replication.fetch.wait.ms), and would no longer count as in sync after {}: raise this \
                 or lower that",
                self.fetch_wait.as_millis(),
                self.lag_max.as_millis()
            );
            reader.mistake(&["replication.lag.max.ms", "replication.fetch.wait.ms"], problem);
        }
    }
}

pub(super) fn read_internal(reader: &mut Reader) -> ListenerConfig {
    let loopback = HostPort::loopback(INTERNAL_PORT);
    ListenerConfig {
        name: Arc::from(INTERNAL),
        bind: reader.value("internal.bind", loopback, str::parse),
        advertised: reader.optional("internal.advertised", str::parse),
        protocol: Protocol::Grpc,
    }
}
