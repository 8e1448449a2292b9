//! Which brokers are alive, as the active controller sees it: it alone holds sessions, in memory, on its own clock.
//!
//! ```text
//!            heartbeat, ready                          silent for a session, or no stream for a moment
//!  fenced ──────────────────────▶ unfenced ──────────────────────────────────────────────▶ fenced
//!                                    │ wants to go                                            ▲
//!                                    ▼                                                        │
//!                              shutting down ── leads nothing, and everybody knows ── may go ─┘
//! ```
//!
//! Nothing is changed here: [`Liveness::tick`] says what shall be proposed, and the image says what came of it. What is
//! proposed is not proposed again before the caller has [settled](Liveness::settled) it and, if it was done, the image
//! shows it.
//!
//! Invariants
//! - Who heartbeats in time over a stream that stands is never fenced.
//! - Who is silent for a session, or whose stream is gone for a moment, is fenced by the next tick.
//! - A controller that slept itself does not take its own silence for everybody's.
//!
//! Elsewhere: what fencing means for partitions is [`crate::FenceBrokers`]; a broker's own side is [`crate::Lifecycle`].

mod cut_wait;
mod session;

use crate::{
    BeginShutdown, Broker, BrokerFence, Command, ElectLeaders, FenceBrokers, Image, LeaderElection,
    OfflineReplicas, Request as _, UnfenceBroker,
};
use cut_wait::CutWait;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick, TopicPartition};
use session::{Session, Streams};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LivenessConfig {
    /// A broker that is silent for so long is fenced.
    pub session: Duration,
    /// A broker whose stream was reset, and that does not come back for so long, is fenced.
    pub suspicion: Duration,
    /// A broker that wants to go may go after so long, whatever it still leads.
    pub shutdown_max: Duration,
    /// How often [`Liveness::tick`] wants to be called.
    pub tick: Duration,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self::of_session(Duration::from_secs(6))
    }
}

impl LivenessConfig {
    /// For a session of this length.
    #[must_use]
    pub fn of_session(session: Duration) -> Self {
        let second = Duration::from_secs(1);
        Self {
            session,
            suspicion: second.min(session),
            shutdown_max: Duration::from_secs(30),
            tick: (session / 10).min(second / 5),
        }
    }
}

/// A broker's sign of life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Who.
    pub id: BrokerId,
    /// In which of its lifetimes.
    pub epoch: BrokerEpoch,
    /// The version of the metadata that is in effect there.
    pub metadata_version: MetadataVersion,
    /// It does not want to serve (yet).
    pub want_fence: bool,
    /// It wants to go.
    pub want_shutdown: bool,
    /// Replicas in which it found bad bytes, all of them each time.
    pub offline: Vec<TopicPartition>,
}

/// What the active controller thinks of a broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatAnswer {
    /// It neither leads nor is in sync.
    pub fenced: bool,
    /// It may go now.
    pub should_shutdown: bool,
    /// This lifetime of it is over: another one is registered, or none.
    pub stale: bool,
}

/// Names something proposed until it is settled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

/// Something to propose.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Proposal {
    /// To be given to [`Liveness::settled`].
    pub ticket: Ticket,
    /// What.
    pub command: Command,
}

/// What came of a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is part of this version of the metadata.
    At(MetadataVersion),
    /// It failed, or nobody knows: if it is still called for, it is proposed again.
    Failed,
}

/// The active controller's view of the brokers.
#[derive(Debug)]
pub struct Liveness {
    config: LivenessConfig,
    /// `None`: another controller is the active one.
    active: Option<Active>,
    streams: Streams,
    next_ticket: u64,
}

/// What a controller holds while it is the active one.
#[derive(Debug)]
struct Active {
    sessions: BTreeMap<BrokerId, Session>,
    /// Half of the brokers have had a stream at once: this controller is where it is looked for.
    gathered: bool,
    cut_wait: CutWait,
    last_tick: Tick,
    /// A heartbeat called for something: it is not waited for the next tick.
    urgent: bool,
    under_way: BTreeMap<Ticket, UnderWay>,
}

/// What a command that is proposed is about.
#[derive(Debug)]
struct UnderWay {
    what: What,
    /// Done, in a version that the image may not show yet.
    done: Option<MetadataVersion>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Fence(Vec<BrokerFence>),
    Unfence(BrokerFence),
    Shutdown(BrokerFence),
    Offline(BrokerFence),
    CutWaitOver,
}

impl Liveness {
    /// Of a controller that is not the active one (yet).
    #[must_use]
    pub fn new(config: LivenessConfig) -> Self {
        Self {
            config,
            active: None,
            streams: Streams::default(),
            next_ticket: 0,
        }
    }

    /// This controller is the active one, and `image` holds everything that was decided before. Every broker has a full
    /// session from now; but as soon as half of them have a stream, those without one are suspected. Not before: where
    /// the last active controller fell silent, the brokers have yet to notice. Where its process ended they noticed at
    /// once, and so it is suspected since [then](Self::connection_broke).
    pub fn became_active(&mut self, image: &Image, now: Tick) {
        let sessions = image.brokers().map(|b| (b.id, self.streams.session(b, now)));
        let mut active = Active {
            sessions: sessions.collect(),
            gathered: false,
            cut_wait: CutWait::default(),
            last_tick: now,
            urgent: false,
            under_way: BTreeMap::new(),
        };
        active.gather(image, &self.streams, now, &self.config);
        self.active = Some(active);
    }

    /// Another controller is the active one, or nobody knows who.
    pub fn no_longer_active(&mut self) {
        self.active = None;
    }

    /// Whether heartbeats are to be answered here.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// A broker opened a stream for its heartbeats. Each one opened is lost some day.
    pub fn stream_opened(&mut self, id: BrokerId, epoch: BrokerEpoch, now: Tick) {
        self.streams.opened(id, epoch);
        if let Some(session) = self.session_of(id, epoch) {
            session.stream_opened(now);
        }
        if let Some(active) = &mut self.active {
            active.urgent |= !active.gathered;
        }
    }

    /// A broker's stream ended, in whatever way.
    pub fn stream_lost(&mut self, id: BrokerId, epoch: BrokerEpoch, now: Tick) {
        let (was_the_last, config) = (self.streams.lost(id, epoch), self.config);
        if was_the_last && let Some(session) = self.session_of(id, epoch) {
            session.stream_lost(now, &config);
        }
    }

    /// The connection from this process to the active controller's broke, which is this broker's too: not by a farewell, as
    /// of one that is no longer the active one.
    pub fn connection_broke(&mut self, id: BrokerId, epoch: BrokerEpoch, now: Tick) {
        self.streams.connection_broke(id, epoch, now);
    }

    fn session_of(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Option<&mut Session> {
        let session = self.active.as_mut()?.sessions.get_mut(&id);
        session.filter(|session| session.epoch == epoch)
    }

    /// A sign of life, and what is answered. `None`: another controller is the active one.
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat, image: &Image, now: Tick) -> Option<HeartbeatAnswer> {
        let active = self.active.as_mut()?;
        let Some(broker) = image.broker(heartbeat.id).filter(|b| b.epoch == heartbeat.epoch) else {
            return Some(HeartbeatAnswer {
                fenced: true,
                should_shutdown: false,
                // Else it registered later than what this image holds: it will show.
                stale: heartbeat.epoch.get() <= image.version().get(),
            });
        };
        let streams = &self.streams;
        let session = active.sessions.entry(broker.id);
        let session = session.or_insert_with(|| streams.session(broker, now));
        if session.epoch != broker.epoch {
            *session = streams.session(broker, now);
        }
        session.heard(heartbeat, now);
        active.urgent |= session.calls_for_something(broker, image);
        let should_shutdown = heartbeat.want_shutdown && active.may_go(broker, image, now, &self.config);
        if should_shutdown && let Some(session) = active.sessions.get_mut(&broker.id) {
            session.may_go = true;
            active.urgent |= !broker.fenced;
        }
        Some(HeartbeatAnswer {
            fenced: broker.fenced,
            should_shutdown,
            stale: false,
        })
    }

    /// When [`Liveness::tick`] is to be called; at once if that is past already.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let active = self.active.as_ref()?;
        if active.urgent {
            return Some(active.last_tick);
        }
        let usual = active.last_tick.after(self.config.tick);
        // Whoever waits for new leaders does not wait for the next look besides. What was due before was looked at.
        let losses = active.sessions.values().filter_map(Session::lost_at);
        losses.filter(|at| *at > active.last_tick).chain([usual]).min()
    }

    /// Looks at every broker, and says what is to be proposed.
    pub fn tick(&mut self, image: &Image, now: Tick) -> Vec<Proposal> {
        let Some(active) = &mut self.active else {
            return Vec::new();
        };
        let late = now.since(active.last_tick) > self.config.tick + self.config.session / 2;
        active.last_tick = now;
        active.urgent = false;
        active.forget_what_shows(image);
        active.follow(image, &self.streams, now);
        active.gather(image, &self.streams, now, &self.config);
        if late {
            let sessions = active.sessions.values_mut();
            sessions.for_each(|session| session.begin_anew(now, &self.config));
        }
        let wanted = active.wanted(image, now, &self.config);
        wanted
            .into_iter()
            .map(|(what, command)| {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                active.under_way.insert(ticket, UnderWay { what, done: None });
                Proposal { ticket, command }
            })
            .collect()
    }

    /// What came of a proposal. One of an earlier time as the active controller is nobody's any more.
    pub fn settled(&mut self, ticket: Ticket, how: Settled) {
        let Some(active) = &mut self.active else { return };
        match how {
            Settled::Failed => drop(active.under_way.remove(&ticket)),
            Settled::At(version) => {
                if let Some(under_way) = active.under_way.get_mut(&ticket) {
                    under_way.done = Some(version);
                }
            }
        }
    }
}

impl Active {
    /// What was done and shows in the image is under way no longer.
    fn forget_what_shows(&mut self, image: &Image) {
        let shows = |done: Option<MetadataVersion>| done.is_some_and(|done| done <= image.version());
        self.under_way.retain(|_, under_way| !shows(under_way.done));
    }

    /// A session for each lifetime that is registered.
    fn follow(&mut self, image: &Image, streams: &Streams, now: Tick) {
        for broker in image.brokers() {
            let known = self.sessions.get(&broker.id).map(|s| s.epoch);
            if known != Some(broker.epoch) {
                self.sessions.insert(broker.id, streams.session(broker, now));
            }
        }
    }

    /// Once half of the unfenced brokers have a stream, the others should have one too.
    fn gather(&mut self, image: &Image, streams: &Streams, now: Tick, config: &LivenessConfig) {
        if !self.gathered {
            let unfenced = image.brokers().filter(|b| !b.fenced);
            let (all, here) = unfenced.fold((0, 0), |(all, here), broker| {
                let stands = self.sessions.get(&broker.id).is_some_and(Session::has_stream);
                (all + 1, here + usize::from(stands))
            });
            self.gathered = here > 0 && here * 2 >= all;
        }
        if self.gathered {
            let sessions = self.sessions.iter_mut();
            sessions.for_each(|(id, session)| session.missed(*id, streams, now, config));
        }
    }

    fn is_under_way(&self, what: impl Fn(&What) -> bool) -> bool {
        self.under_way.values().any(|under_way| what(&under_way.what))
    }

    /// What is called for and not under way.
    fn wanted(&mut self, image: &Image, now: Tick, config: &LivenessConfig) -> Vec<(What, Command)> {
        let mut wanted = Vec::new();
        let mut fences = Vec::new();
        for broker in image.brokers() {
            let Some(session) = self.sessions.get(&broker.id) else {
                continue;
            };
            let this = BrokerFence {
                id: broker.id,
                epoch: broker.epoch,
            };
            let gone = session.is_over(now, config);
            if !broker.fenced && (gone || session.want_fence) {
                if !self.is_under_way(|w| matches!(w, What::Fence(all) if all.contains(&this))) {
                    fences.push(this);
                }
                continue;
            }
            if gone {
                continue;
            }
            wanted.extend(self.wanted_for(broker, session, this, image));
        }
        if !fences.is_empty() {
            let brokers = fences.clone();
            wanted.push((What::Fence(fences), FenceBrokers { brokers }.into_command()));
        }
        let over = self.cut_wait.over(image, now, config.session);
        if !over.is_empty() && !self.is_under_way(|w| *w == What::CutWaitOver) {
            let command = ElectLeaders {
                partitions: over,
                kind: LeaderElection::CutWaitOver,
            };
            wanted.push((What::CutWaitOver, command.into_command()));
        }
        wanted
    }

    /// What a broker that lives calls for.
    fn wanted_for(
        &self,
        broker: &Broker,
        session: &Session,
        this: BrokerFence,
        image: &Image,
    ) -> Vec<(What, Command)> {
        let mut wanted = Vec::new();
        let BrokerFence { id, epoch } = this;
        if session.wants_unfencing(broker) {
            wanted.push((What::Unfence(this), UnfenceBroker { id, epoch }.into_command()));
        }
        if session.wants_to_begin_shutdown(broker) {
            wanted.push((What::Shutdown(this), BeginShutdown { id, epoch }.into_command()));
        }
        let partitions = session.offline_in(image, id);
        if !partitions.is_empty() {
            let command = OfflineReplicas {
                id,
                epoch,
                partitions,
            };
            wanted.push((What::Offline(this), command.into_command()));
        }
        wanted.retain(|(what, _)| !self.is_under_way(|under_way| under_way == what));
        wanted
    }

    /// Whether a broker that wants to go may.
    fn may_go(&self, broker: &Broker, image: &Image, now: Tick, config: &LivenessConfig) -> bool {
        if broker.fenced {
            return true;
        }
        let Some(session) = self.sessions.get(&broker.id) else {
            return false;
        };
        let waited = session
            .leaving_since
            .map_or(Duration::ZERO, |since| now.since(since));
        if waited >= config.shutdown_max {
            return true;
        }
        let Some(since) = broker.shutting_down else {
            return false;
        };
        // Everybody who lives goes by a metadata in which it leads nothing.
        let knows = |other: &Broker| {
            let session = self.sessions.get(&other.id).filter(|s| s.epoch == other.epoch);
            session.is_none_or(|s| s.is_over(now, config) || s.metadata_version >= since)
        };
        !may_hand_over(broker.id, image)
            && image
                .brokers()
                .filter(|other| !other.fenced)
                .all(|other| knows(other))
    }
}

/// Whether it leads something that another replica, which is here, may take over once it has caught up.
fn may_hand_over(broker: BrokerId, image: &Image) -> bool {
    if image.led_by(broker) == 0 {
        return false;
    }
    let may_lead = |other: BrokerId| image.broker(other).is_some_and(|b| b.is_active());
    let mut led = image
        .partitions_near(&[broker])
        .filter(|(_, _, state)| state.leader == Some(broker));
    led.any(|(_, _, state)| state.replicas.iter().any(|b| b != broker && may_lead(b)))
}
