//! One broker's session, and the streams that brokers have open.

use super::{Heartbeat, LivenessConfig};
use crate::{Broker, Image, OfflineReplicas};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick, TopicPartition};
use std::collections::BTreeMap;

/// Replicas named in one command at most: it stays far below the size that a command may have.
const OFFLINE_AT_ONCE: usize = 10_000;

/// How many streams each lifetime of a broker has open: a new one may come before the old one's end is noticed. They
/// are counted whether or not this controller is the active one.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<(BrokerId, BrokerEpoch), u32>);

impl Streams {
    pub(super) fn opened(&mut self, id: BrokerId, epoch: BrokerEpoch) {
        *self.0.entry((id, epoch)).or_default() += 1;
    }

    /// One fewer; whether it was the last.
    pub(super) fn lost(&mut self, id: BrokerId, epoch: BrokerEpoch) -> bool {
        let Some(open) = self.0.get_mut(&(id, epoch)) else {
            return false;
        };
        *open -= 1;
        let none_left = *open == 0;
        if none_left {
            self.0.remove(&(id, epoch));
        }
        none_left
    }

    /// A session that begins now.
    pub(super) fn session(&self, broker: &Broker, now: Tick) -> Session {
        let has_stream = self.0.contains_key(&(broker.id, broker.epoch));
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
    /// There is none, since then.
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

    pub(super) fn stream_lost(&mut self, now: Tick) {
        self.stream = Stream::Gone(now);
    }

    pub(super) fn has_stream(&self) -> bool {
        self.stream == Stream::Stands
    }

    /// It should have found this controller by now, as others have.
    pub(super) fn missed(&mut self, now: Tick) {
        if self.stream == Stream::NotYet {
            self.stream = Stream::Gone(now);
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
    pub(super) fn begin_anew(&mut self, now: Tick) {
        self.heard = now;
        if let Stream::Gone(since) = &mut self.stream {
            *since = now;
        }
    }

    /// Whether it counts as lost; who was told that it may go does from then on, so that nobody waits for its end.
    pub(super) fn is_over(&self, now: Tick, config: &LivenessConfig) -> bool {
        let alone = matches!(self.stream, Stream::Gone(since) if now.since(since) >= config.suspicion);
        self.may_go || alone || now.since(self.heard) >= config.session
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
