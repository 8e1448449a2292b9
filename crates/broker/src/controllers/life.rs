//! The shell around [`Lifecycle`]: one task that registers this broker, keeps its stream to the active controller, and tells
//! the rest of the broker where it stands.

use super::Controllers;
use super::link::Link;
use super::sessions::Sessions;
use crate::applied::Applied;
use crate::fatal::Fatal;
use crate::partition::clock::Clock;
use quipu_controller::ProposeError;
use quipu_metadata::{
    ClusterId, Ending, Heartbeat, Lifecycle, LifecycleConfig, LifecycleEffect, LifecycleEvent,
    LifecycleStage, RegisterBroker, RegisterBrokerError,
};
use quipu_record::{BrokerEpoch, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// One attempt at registering; the lifecycle makes the next.
const REGISTER: Duration = Duration::from_secs(10);
/// One attempt at opening a stream.
const OPEN: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(3600);

/// Where the broker stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// The stage of its life.
    pub(crate) stage: LifecycleStage,
    /// Its epoch, once it is registered.
    pub(crate) epoch: Option<BrokerEpoch>,
    /// It was asked to go, and may.
    pub(crate) may_go: bool,
}

/// Why a broker may not register.
pub(crate) type Refused = ProposeError<RegisterBrokerError>;

/// What the life is lived with.
pub(crate) struct LifeParts {
    pub(crate) controllers: Controllers,
    /// Those of this process's own controller.
    pub(crate) sessions: Option<Sessions>,
    pub(crate) cluster: ClusterId,
    pub(crate) registration: RegisterBroker,
    pub(crate) applied: Arc<Applied>,
    /// Replicas that cannot serve, all of them.
    pub(crate) offline: watch::Receiver<Arc<BTreeSet<TopicPartition>>>,
    pub(crate) fatal: Fatal,
    pub(crate) config: LifecycleConfig,
}

/// A broker's life in the cluster. Dropped, it ends as by a crash.
#[derive(Debug)]
pub(crate) struct Life {
    events: mpsc::UnboundedSender<LifecycleEvent>,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Life {
    /// Begins: the broker registers. What refuses it for good comes by the second of the two.
    pub(crate) fn begin(parts: LifeParts) -> (Self, mpsc::Receiver<Refused>) {
        let (events, heard) = mpsc::unbounded_channel();
        let (refused, refusal) = mpsc::channel(1);
        let clock = Clock::start();
        let id = parts.registration.id;
        let lifecycle = Lifecycle::new(id, parts.config, clock.tick(Instant::now()));
        let standing = watch::Sender::new(Standing {
            stage: lifecycle.stage(),
            epoch: None,
            may_go: false,
        });
        let watched = standing.subscribe();
        let living = Living {
            parts,
            lifecycle,
            clock,
            standing,
            link: None,
            opening: None,
            events: events.clone(),
            refused,
        };
        let task = tokio::spawn(living.run(heard));
        let life = Self {
            events,
            standing: watched,
            task,
        };
        (life, refusal)
    }

    /// Where it stands, from now on.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Its logs are open and its listeners listen.
    pub(crate) fn ready(&self) {
        self.tell(LifecycleEvent::Ready);
    }

    /// It shall go: waits until it may.
    pub(crate) async fn drain(&self) {
        self.tell(LifecycleEvent::Drain);
        let mut standing = self.standing();
        // A task that is gone holds nobody up.
        let _ = standing.wait_for(|standing| standing.may_go).await;
    }

    fn tell(&self, event: LifecycleEvent) {
        // The task ends with the life only.
        let _ = self.events.send(event);
    }
}

struct Living {
    parts: LifeParts,
    lifecycle: Lifecycle,
    clock: Clock,
    standing: watch::Sender<Standing>,
    link: Option<Link>,
    opening: Option<JoinHandle<Result<Link, String>>>,
    events: mpsc::UnboundedSender<LifecycleEvent>,
    refused: mpsc::Sender<Refused>,
}

impl Living {
    async fn run(mut self, mut heard: mpsc::UnboundedReceiver<LifecycleEvent>) {
        let mut images = self.parts.applied.subscribe();
        let mut offline = self.parts.offline.clone();
        offline.mark_changed();
        loop {
            let due = self.lifecycle.deadline();
            let wait = due.map_or(IDLE, |due| self.clock.until(due));
            let event = tokio::select! {
                event = heard.recv() => match event {
                    Some(event) => event,
                    None => return,
                },
                changed = images.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let image = images.borrow_and_update().clone();
                    let effects = self.lifecycle.applied(self.clock.tick(Instant::now()), &image);
                    self.carry_out(effects);
                    continue;
                }
                Ok(()) = offline.changed() => {
                    let offline = offline.borrow_and_update();
                    LifecycleEvent::Offline(offline.iter().copied().collect())
                }
                opened = opened(&mut self.opening) => self.opened(opened),
                answer = answered(&mut self.link) => match answer {
                    Some(answer) => LifecycleEvent::Answered(answer),
                    None => {
                        self.link = None;
                        LifecycleEvent::StreamLost
                    }
                },
                () = tokio::time::sleep(wait) => LifecycleEvent::Tick,
            };
            self.step(event);
        }
    }

    fn step(&mut self, event: LifecycleEvent) {
        let effects = self.lifecycle.step(self.clock.tick(Instant::now()), event);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<LifecycleEffect>) {
        let mut may_go = false;
        for effect in effects {
            match effect {
                LifecycleEffect::Register => self.register(),
                LifecycleEffect::OpenStream => self.open(),
                LifecycleEffect::Heartbeat(beat) => self.beat(beat),
                LifecycleEffect::Serve => {
                    tracing::info!("this broker is unfenced: it may lead and be in sync")
                }
                LifecycleEffect::Fenced => {
                    tracing::warn!(
                        "this broker is fenced: others lead what it led, until it is heard of again"
                    );
                }
                LifecycleEffect::Go => may_go = true,
                LifecycleEffect::End(Ending::Stale) => self.stale(),
                // Whoever starts the broker hears why.
                LifecycleEffect::End(Ending::Refused) => {}
            }
        }
        let (stage, epoch) = (self.lifecycle.stage(), self.lifecycle.epoch());
        self.standing.send_if_modified(|standing| {
            let before = *standing;
            *standing = Standing {
                stage,
                epoch,
                may_go: before.may_go || may_go,
            };
            *standing != before
        });
    }

    fn stale(&self) {
        let id = self.parts.registration.id;
        self.parts.fatal.announce(format!(
            "another process has registered as broker {id}, and this one must not go on: run one process for each broker \
             (is the same data directory, or the same broker.id, in use twice?)"
        ));
    }

    fn register(&self) {
        let (controllers, events) = (self.parts.controllers.clone(), self.events.clone());
        let registration = self.parts.registration.clone();
        let refused = self.refused.clone();
        tokio::spawn(async move {
            let event = match controllers.propose_within(registration, REGISTER).await {
                Ok(registered) => LifecycleEvent::Registered(registered.outcome.epoch),
                Err(ProposeError::Refused(
                    RegisterBrokerError::AtOnce { .. } | RegisterBrokerError::NoCluster,
                )) => LifecycleEvent::RegisterFailed,
                Err(error @ ProposeError::Refused(_)) => {
                    // Only whoever starts the broker listens.
                    let _ = refused.try_send(error);
                    LifecycleEvent::RegisterRefused
                }
                Err(ProposeError::Unavailable(error)) => {
                    tracing::info!(%error, "waiting for the controllers to register this broker");
                    LifecycleEvent::RegisterFailed
                }
            };
            let _ = events.send(event);
        });
    }

    fn open(&mut self) {
        self.link = None;
        let (controllers, sessions) = (self.parts.controllers.clone(), self.parts.sessions.clone());
        let cluster = self.parts.cluster;
        let opening = async move {
            let opening = controllers.link(sessions.as_ref(), cluster);
            tokio::time::timeout(OPEN, opening)
                .await
                .unwrap_or_else(|_| Err("the active controller does not answer in time".to_owned()))
        };
        if let Some(before) = self.opening.replace(tokio::spawn(opening)) {
            before.abort();
        }
    }

    fn opened(&mut self, opened: Result<Link, String>) -> LifecycleEvent {
        self.opening = None;
        match opened {
            Ok(link) => {
                self.link = Some(link);
                LifecycleEvent::StreamOpened
            }
            Err(why) => {
                tracing::debug!(why, "no stream to the active controller");
                LifecycleEvent::StreamLost
            }
        }
    }

    fn beat(&self, beat: Heartbeat) {
        if let Some(link) = &self.link {
            link.send(beat);
        }
    }
}

/// Waits for the stream that is being opened, if one is.
async fn opened(opening: &mut Option<JoinHandle<Result<Link, String>>>) -> Result<Link, String> {
    match opening {
        Some(task) => task.await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}

/// Waits for the next answer, if a stream stands.
async fn answered(link: &mut Option<Link>) -> Option<quipu_metadata::HeartbeatAnswer> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
