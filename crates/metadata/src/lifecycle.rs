//! A broker's own life, from its first registration to its last breath.
//!
//! ```text
//!  Registering ──registered──▶ CatchingUp ──own registration in effect, and ready──▶ Fenced ──unfenced──▶ Serving
//!                                                                                      ◀──fenced again──────┘
//!  any of them ──asked to go──▶ Draining ──may go, or waited for long enough──▶ Over: flush, and say that it was clean
//!  any of them ──another lifetime is registered, or refused for good──▶ Over: end at once
//! ```
//!
//! Time and news come in, effects come out in the order in which they are to be carried out; the shell has the streams.
//! While no controller can be reached a broker goes on as it was: it leads what it led and its followers follow.
//!
//! Invariants
//! - A broker asks to be unfenced only once its own registration is in effect here, and it is ready.
//! - Nothing comes after [`LifecycleEffect::Go`] or [`LifecycleEffect::End`].
//!
//! Elsewhere: the controller's side is [`crate::Liveness`].

use crate::{Heartbeat, HeartbeatAnswer, Image};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick, TopicPartition};
use std::time::Duration;

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifecycleConfig {
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// The same while something is waited for.
    pub heartbeat_in_a_hurry: Duration,
    /// Before the first repetition of what failed; doubled each time.
    pub retry_min: Duration,
    /// Before any repetition. Well below the second after which a broker without a stream is fenced, and the quarter of one
    /// that is left to whose connection broke before.
    pub retry_max: Duration,
    /// A stream that answers nothing for so long is given up.
    pub answer_max: Duration,
    /// A broker that was asked to go does so after this, whatever a controller says.
    pub drain_max: Duration,
    /// The same while no controller can be reached.
    pub drain_alone_max: Duration,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            heartbeat_in_a_hurry: Duration::from_millis(100),
            retry_min: Duration::from_millis(25),
            retry_max: Duration::from_millis(100),
            answer_max: Duration::from_secs(3),
            drain_max: Duration::from_secs(35),
            drain_alone_max: Duration::from_secs(5),
        }
    }
}

/// Where a broker is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LifecycleStage {
    /// It has no epoch yet.
    Registering,
    /// It waits for its own registration to be in effect here, or is not ready yet.
    CatchingUp,
    /// It waits to be unfenced.
    Fenced,
    /// It may lead and be in sync.
    Serving,
    /// It wants to go, and hands over what it can.
    Draining,
    /// It has nothing more to do than to end.
    Over,
}

/// What a broker learns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LifecycleEvent {
    /// Time went by: see [`Lifecycle::deadline`].
    Tick,
    /// It is registered.
    Registered(BrokerEpoch),
    /// Its registration did not reach a controller, or the outcome is unknown, or it may succeed later.
    RegisterFailed,
    /// Its registration was refused, and always will be.
    RegisterRefused,
    /// Its stream to the active controller stands.
    StreamOpened,
    /// The stream ended, or could not be opened.
    StreamLost,
    /// A heartbeat was answered.
    Answered(HeartbeatAnswer),
    /// A version of the metadata is in effect here.
    Applied {
        /// Which one.
        version: MetadataVersion,
        /// The epoch that the metadata has for this broker, and whether it is fenced; `None`: it is not registered.
        registered: Option<(BrokerEpoch, bool)>,
    },
    /// Its logs are open and its listeners listen.
    Ready,
    /// Replicas with bad bytes, all of them.
    Offline(Vec<TopicPartition>),
    /// It was asked to go.
    Drain,
}

/// What the shell is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LifecycleEffect {
    /// Propose the registration: the same each time, for it is known by its incarnation.
    Register,
    /// Open a stream of heartbeats to the active controller, wherever that is now; what was open before is given up.
    OpenStream,
    /// Send this.
    Heartbeat(Heartbeat),
    /// It may lead and be in sync from now on.
    Serve,
    /// It was fenced: others lead what it led. It goes on trying.
    Fenced,
    /// Stop serving, flush everything, write down that it was clean, and end.
    Go,
    /// End at once: it is trusted no longer.
    End(Ending),
}

/// Why a broker ends without having been asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Another process of it is registered.
    Stale,
    /// It may not register.
    Refused,
}

/// A broker's life.
#[derive(Debug)]
pub struct Lifecycle {
    config: LifecycleConfig,
    id: BrokerId,
    stage: LifecycleStage,
    epoch: Option<BrokerEpoch>,
    applied: MetadataVersion,
    ready: bool,
    offline: Vec<TopicPartition>,
    drain_since: Option<Tick>,
    stream: Stream,
    /// What is done again when: a registration, or opening a stream.
    retry: Retry,
}

/// The stream of heartbeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stream {
    /// There is none, or it is being opened, since then.
    Closed { since: Tick },
    Open {
        /// When the next heartbeat is due.
        next: Tick,
        /// Since when a heartbeat is unanswered.
        unanswered: Option<Tick>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Retry {
    /// When; `None`: an attempt is under way, or there is nothing to do.
    at: Option<Tick>,
    wait: Duration,
}

impl Lifecycle {
    /// A broker that was just started. Its first [`LifecycleEvent::Tick`] registers it.
    #[must_use]
    pub fn new(id: BrokerId, config: LifecycleConfig, now: Tick) -> Self {
        Self {
            id,
            stage: LifecycleStage::Registering,
            epoch: None,
            applied: MetadataVersion::new(0),
            ready: false,
            offline: Vec::new(),
            drain_since: None,
            stream: Stream::Closed { since: now },
            retry: Retry {
                at: Some(now),
                wait: config.retry_min,
            },
            config,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn stage(&self) -> LifecycleStage {
        self.stage
    }

    /// Its epoch, once it is registered.
    #[must_use]
    pub const fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }

    /// Tells it what `image`, which is in effect here now, says of it.
    pub fn applied(&mut self, now: Tick, image: &Image) -> Vec<LifecycleEffect> {
        let registered = image.broker(self.id).map(|b| (b.epoch, b.fenced));
        let version = image.version();
        self.step(now, LifecycleEvent::Applied { version, registered })
    }

    /// When [`LifecycleEvent::Tick`] is due; `None`: something else must happen first.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        if self.stage == LifecycleStage::Over {
            return None;
        }
        let stream = match self.stream {
            Stream::Closed { .. } => None,
            Stream::Open { next, unanswered } => {
                let given_up = unanswered.map(|since| since.after(self.config.answer_max));
                Some(given_up.map_or(next, |given_up| given_up.min(next)))
            }
        };
        [self.retry.at, stream, self.drained_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is to be done now that this is known.
    #[must_use]
    pub fn step(&mut self, now: Tick, event: LifecycleEvent) -> Vec<LifecycleEffect> {
        let mut effects = Vec::new();
        if self.stage == LifecycleStage::Over {
            return effects;
        }
        match event {
            LifecycleEvent::Tick => {}
            LifecycleEvent::Registered(epoch) => self.registered(epoch, now),
            LifecycleEvent::RegisterFailed => self.retry_later(now),
            LifecycleEvent::RegisterRefused => return self.end(Ending::Refused),
            LifecycleEvent::StreamOpened => {
                self.retry.at = None;
                self.stream = Stream::Open {
                    next: now,
                    unanswered: None,
                };
            }
            LifecycleEvent::StreamLost => self.stream_lost(now),
            LifecycleEvent::Answered(answer) => {
                if answer.stale {
                    return self.end(Ending::Stale);
                }
                if answer.should_shutdown && self.stage == LifecycleStage::Draining {
                    return self.go();
                }
                self.answered(now);
            }
            LifecycleEvent::Applied { version, registered } => {
                if self.is_stale(version, registered) {
                    return self.end(Ending::Stale);
                }
                self.applied_version(version, registered, now, &mut effects);
            }
            LifecycleEvent::Ready => {
                self.ready = true;
                self.catch_up(now);
            }
            LifecycleEvent::Offline(offline) => {
                if self.offline != offline {
                    self.offline = offline;
                    self.heartbeat_soon(now);
                }
            }
            LifecycleEvent::Drain => {
                if self.stage == LifecycleStage::Registering {
                    return self.go();
                }
                self.stage = LifecycleStage::Draining;
                self.drain_since.get_or_insert(now);
                self.heartbeat_soon(now);
            }
        }
        if self.drained_at().is_some_and(|at| at <= now) {
            return self.go();
        }
        self.due(now, &mut effects);
        effects
    }

    fn registered(&mut self, epoch: BrokerEpoch, now: Tick) {
        if self.stage != LifecycleStage::Registering {
            return;
        }
        self.epoch = Some(epoch);
        self.stage = LifecycleStage::CatchingUp;
        self.stream = Stream::Closed { since: now };
        self.retry = Retry {
            at: Some(now),
            wait: self.config.retry_min,
        };
        self.catch_up(now);
    }

    fn retry_later(&mut self, now: Tick) {
        self.retry.at = Some(now.after(self.retry.wait));
        self.retry.wait = (self.retry.wait * 2).min(self.config.retry_max);
    }

    fn stream_lost(&mut self, now: Tick) {
        if self.epoch.is_none() {
            return;
        }
        if !matches!(self.stream, Stream::Closed { .. }) {
            self.stream = Stream::Closed { since: now };
        }
        self.retry_later(now);
    }

    /// Whether the metadata says that this lifetime of it is over.
    fn is_stale(&self, version: MetadataVersion, registered: Option<(BrokerEpoch, bool)>) -> bool {
        let Some(epoch) = self.epoch.filter(|epoch| epoch.get() <= version.get()) else {
            return false;
        };
        registered.is_none_or(|(registered, _)| registered != epoch)
    }

    fn applied_version(
        &mut self,
        version: MetadataVersion,
        registered: Option<(BrokerEpoch, bool)>,
        now: Tick,
        effects: &mut Vec<LifecycleEffect>,
    ) {
        self.applied = self.applied.max(version);
        self.catch_up(now);
        // Before its own registration is in effect, what is said of it is about a lifetime before this one.
        if let Some((_, fenced)) = registered.filter(|(epoch, _)| Some(*epoch) == self.epoch) {
            self.stands(fenced, now, effects);
        }
    }

    /// Whether it is fenced, as the metadata in effect here has it.
    fn stands(&mut self, fenced: bool, now: Tick, effects: &mut Vec<LifecycleEffect>) {
        match (self.stage, fenced) {
            (LifecycleStage::CatchingUp | LifecycleStage::Fenced, false) => {
                self.stage = LifecycleStage::Serving;
                effects.push(LifecycleEffect::Serve);
            }
            (LifecycleStage::Serving, true) => {
                self.stage = LifecycleStage::Fenced;
                effects.push(LifecycleEffect::Fenced);
                self.heartbeat_soon(now);
            }
            _ => {}
        }
    }

    fn answered(&mut self, now: Tick) {
        self.retry.wait = self.config.retry_min;
        let wait = self.heartbeat_wait();
        if let Stream::Open { next, unanswered } = &mut self.stream {
            *unanswered = None;
            *next = (*next).min(now.after(wait));
        }
    }

    fn catch_up(&mut self, now: Tick) {
        let knows_itself = self.epoch.is_some_and(|epoch| self.applied.get() >= epoch.get());
        if self.stage == LifecycleStage::CatchingUp && knows_itself && self.ready {
            self.stage = LifecycleStage::Fenced;
            self.heartbeat_soon(now);
        }
    }

    fn heartbeat_wait(&self) -> Duration {
        match self.stage {
            LifecycleStage::Serving => self.config.heartbeat,
            _ => self.config.heartbeat_in_a_hurry.min(self.config.heartbeat),
        }
    }

    fn heartbeat_soon(&mut self, now: Tick) {
        if let Stream::Open { next, .. } = &mut self.stream {
            *next = now;
        }
    }

    /// When it goes, whatever a controller says.
    fn drained_at(&self) -> Option<Tick> {
        let since = self.drain_since?;
        let at_last = since.after(self.config.drain_max);
        Some(match self.stream {
            Stream::Open { .. } => at_last,
            Stream::Closed { since: closed } => {
                at_last.min(since.max(closed).after(self.config.drain_alone_max))
            }
        })
    }

    /// Does what is due.
    fn due(&mut self, now: Tick, effects: &mut Vec<LifecycleEffect>) {
        if self.retry.at.is_some_and(|at| at <= now) {
            self.retry.at = None;
            effects.push(match self.epoch {
                None => LifecycleEffect::Register,
                Some(_) => LifecycleEffect::OpenStream,
            });
        }
        let wait = self.heartbeat_wait();
        let (Some(epoch), Stream::Open { next, unanswered }) = (self.epoch, &mut self.stream) else {
            return;
        };
        if unanswered.is_some_and(|since| since.after(self.config.answer_max) <= now) {
            self.stream = Stream::Closed { since: now };
            self.retry.at = None;
            effects.push(LifecycleEffect::OpenStream);
            return;
        }
        if *next <= now {
            *next = now.after(wait);
            unanswered.get_or_insert(now);
            effects.push(LifecycleEffect::Heartbeat(Heartbeat {
                id: self.id,
                epoch,
                metadata_version: self.applied,
                want_fence: self.stage == LifecycleStage::CatchingUp,
                want_shutdown: self.stage == LifecycleStage::Draining,
                offline: self.offline.clone(),
            }));
        }
    }

    fn go(&mut self) -> Vec<LifecycleEffect> {
        self.stage = LifecycleStage::Over;
        vec![LifecycleEffect::Go]
    }

    fn end(&mut self, why: Ending) -> Vec<LifecycleEffect> {
        self.stage = LifecycleStage::Over;
        vec![LifecycleEffect::End(why)]
    }
}
