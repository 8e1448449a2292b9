//! One broker's session, and the streams that brokers have open.

use super::{Heartbeat, LivenessConfig};
use crate::{Broker, Image, OfflineReplicas};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// Replicas named in one command at most: it stays far below the size that a command may have.
const OFFLINE_AT_ONCE: usize = 10_000;

/// The streams of brokers, whether or not this controller is the active one.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// How many each lifetime of a broker has open: a new one may come before the old one's end is noticed.
    open: BTreeMap<(BrokerId, BrokerEpoch), u32>,
    /// When the connection of this process to theirs broke, of brokers that were the active controller's.
    broke: BTreeMap<BrokerId, (BrokerEpoch, Tick)>,
}

impl Streams {
    pub(super) fn opened(&mut self, id: BrokerId, epoch: BrokerEpoch) {
        *self.open.entry((id, epoch)).or_default() += 1;
        self.broke.remove(&id);
    }

    pub(super) fn connection_broke(&mut self, id: BrokerId, epoch: BrokerEpoch, now: Tick) {
        self.broke.insert(id, (epoch, now));
    }

    /// When the connection to this lifetime broke. What lies a session back says nothing of now.
    fn broke(&self, id: BrokerId, epoch: BrokerEpoch, now: Tick, session: Duration) -> Option<Tick> {
        let (of, at) = *self.broke.get(&id)?;
        (of == epoch && now.since(at) < session).then_some(at)
    }

    /// One fewer; whether it was the last.
    pub(super) fn lost(&mut self, id: BrokerId, epoch: BrokerEpoch) -> bool {
        let Some(open) = self.open.get_mut(&(id, epoch)) else {
            return false;
        };
        *open -= 1;
        let none_left = *open == 0;
        if none_left {
            self.open.remove(&(id, epoch));
        }
        none_left
    }

    /// A session that begins now.
    pub(super) fn session(&self, broker: &Broker, now: Tick) -> Session {
        let has_stream = self.open.contains_key(&(broker.id, broker.epoch));
        Session {
            epoch: broker.epoch,
            heard: now,
            stream: if has_stream {
                Stream::Stands
            } else {
                Stream::NotYet
            },
            metadata_version: MetadataVersion::new(0),
            ready: false,
            want_fence: false,
            leaving_since: None,
            may_go: false,
            offline: Vec::new(),
        }
    }
}

/// A broker's stream of heartbeats to this controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stream {
    /// There was none yet: it may not know that this controller is the active one.
    NotYet,
    Stands,
    /// There is none: from then on it counts as lost.
    Gone(Tick),
}

/// What is known of one lifetime of a broker.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) epoch: BrokerEpoch,
    /// When it was last heard of, or the session began.
    heard: Tick,
    stream: Stream,
    /// What it said last.
    pub(super) metadata_version: MetadataVersion,
    /// It would serve.
    ready: bool,
    pub(super) want_fence: bool,
    /// Since when it wants to go.
    pub(super) leaving_since: Option<Tick>,
    /// It was told that it may go.
    pub(super) may_go: bool,
    offline: Vec<TopicPartition>,
}

impl Session {
    pub(super) fn stream_opened(&mut self, now: Tick) {
        self.heard = now;
        self.stream = Stream::Stands;
        self.may_go = false;
    }

    pub(super) fn stream_lost(&mut self, now: Tick, config: &LivenessConfig) {
        self.stream = Stream::Gone(now.after(config.suspicion));
    }

    pub(super) fn has_stream(&self) -> bool {
        self.stream == Stream::Stands
    }

    /// It should have found this controller by now, as others have. Whose connection broke was suspected from then on, had
    /// it not been the active controller's itself: what it still gets is the time to come back.
    pub(super) fn missed(&mut self, id: BrokerId, streams: &Streams, now: Tick, config: &LivenessConfig) {
        if self.stream == Stream::NotYet {
            let suspicion = config.suspicion;
            let broke = streams.broke(id, self.epoch, now, config.session);
            self.stream = Stream::Gone(match broke {
                Some(broke) => broke.after(suspicion).max(now.after(suspicion / 4)),
                None => now.after(suspicion),
            });
        }
    }

    /// When it counts as lost unless it comes back; `None`: its stream stands, or there was none yet.
    pub(super) const fn lost_at(&self) -> Option<Tick> {
        match self.stream {
            Stream::Gone(at) => Some(at),
            Stream::NotYet | Stream::Stands => None,
        }
    }

    pub(super) fn heard(&mut self, heartbeat: &Heartbeat, now: Tick) {
        self.heard = now;
        self.metadata_version = self.metadata_version.max(heartbeat.metadata_version);
        // Its own registration is in effect there: it knows what it holds.
        let knows_itself = heartbeat.metadata_version.get() >= heartbeat.epoch.get();
        self.ready = !heartbeat.want_fence && !heartbeat.want_shutdown && knows_itself;
        self.want_fence = heartbeat.want_fence;
        self.leaving_since = match self.leaving_since {
            Some(since) => Some(since),
            None => heartbeat.want_shutdown.then_some(now),
        };
        self.offline.clone_from(&heartbeat.offline);
    }

    /// The controller itself slept: nobody can be blamed for its silence.
    pub(super) fn begin_anew(&mut self, now: Tick, config: &LivenessConfig) {
        self.heard = now;
        if let Stream::Gone(at) = &mut self.stream {
            *at = now.after(config.suspicion);
        }
    }

    /// Whether it counts as lost; who was told that it may go does from then on, so that nobody waits for its end.
    pub(super) fn is_over(&self, now: Tick, config: &LivenessConfig) -> bool {
        self.may_go || self.lost_at().is_some_and(|at| at <= now) || now.since(self.heard) >= config.session
    }

    pub(super) fn wants_unfencing(&self, broker: &Broker) -> bool {
        broker.fenced && self.ready && self.has_stream()
    }

    pub(super) fn wants_to_begin_shutdown(&self, broker: &Broker) -> bool {
        self.leaving_since.is_some() && !broker.fenced && broker.shutting_down.is_none()
    }

    /// What it reported and the metadata still trusts.
    pub(super) fn offline_in(&self, image: &Image, id: BrokerId) -> Vec<TopicPartition> {
        let mut offline = self.offline.clone();
        offline.retain(|at| OfflineReplicas::matters(image, id, *at));
        offline.truncate(OFFLINE_AT_ONCE);
        offline
    }

    /// Whether something is to be proposed for it.
    pub(super) fn calls_for_something(&self, broker: &Broker, image: &Image) -> bool {
        self.wants_unfencing(broker)
            || self.wants_to_begin_shutdown(broker)
            || (self.want_fence && !broker.fenced)
            || !self.offline_in(image, broker.id).is_empty()
    }
}
