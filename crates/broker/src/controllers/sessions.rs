//! The shell around [`Liveness`]: one task on each process with a controller. While that controller is the active one it
//! hears the brokers' signs of life, looks at the clock, and proposes what is called for. [`Balance`] and [`Growth`] go with it.

use crate::config::INTERNAL;
use crate::partition::clock::Clock;
use quipu_controller::{Activity, Controller, ControllerStatus};
use quipu_metadata::{
    Balance, BalanceConfig, Broker, Command, Growth, Heartbeat, HeartbeatAnswer, Liveness, LivenessConfig,
    Proposal, Request as _, Settled, Ticket,
};
use quipu_record::{BrokerEpoch, BrokerId, Tick};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// A fence or an unfencing that is not decided by then is proposed again, if it is still called for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Leadership goes back to a preferred leader that has been here for so many sessions.
const SETTLE_SESSIONS: u32 = 5;
/// An internal topic that is given a replica on a broker waits for that broker for so many sessions.
const GONE_SESSIONS: u32 = 10;
/// What is not active has nothing to look at.
const IDLE: Duration = Duration::from_secs(3600);

/// What streams tell the task. Each stream waits for its answer before it says more, so that what waits is bounded by the
/// number of brokers.
enum Event {
    Opened(BrokerId, BrokerEpoch),
    Beat(Heartbeat, oneshot::Sender<HeartbeatAnswer>),
    Lost(BrokerId, BrokerEpoch),
    /// The connection to the active controller at this internal address broke.
    Broke(String),
}

/// The brokers' sessions at this process's controller. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    events: mpsc::UnboundedSender<Event>,
    activity: watch::Receiver<Activity>,
    controller: Controller,
}

impl Sessions {
    /// Of this controller; the task that keeps them is the second of the two.
    pub(crate) fn new(
        controller: Controller,
        config: LivenessConfig,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (events, heard) = mpsc::unbounded_channel();
        let activity = controller.activity();
        let sessions = Self {
            events,
            activity: activity.clone(),
            controller: controller.clone(),
        };
        let keeper = Keeper {
            controller,
            liveness: Liveness::new(config),
            balance: None,
            growth: None,
            growth_patience: config.session * GONE_SESSIONS,
            balance_config: BalanceConfig {
                settle: config.session * SETTLE_SESSIONS,
                ..BalanceConfig::default()
            },
            clock: Clock::start(),
            settle: mpsc::unbounded_channel(),
            term: 0,
        };
        (sessions, keeper.run(heard, activity))
    }

    /// Whether brokers are to send their signs of life here.
    pub(crate) fn is_active(&self) -> bool {
        self.activity.borrow().is_active()
    }

    /// How the controller is doing: it knows who the active one is.
    pub(crate) fn status(&self) -> ControllerStatus {
        self.controller.status()
    }

    /// The connection of this process to the active controller's broke, without a word of it: it may have died.
    pub(crate) fn connection_broke(&self, address: &str) {
        // Where the task has gone, so has the controller.
        let _ = self.events.send(Event::Broke(address.to_owned()));
    }

    /// Hears one broker until its stream ends, or this controller is no longer the active one.
    pub(crate) async fn hear(self, mut beats: impl Beats, answers: mpsc::Sender<HeartbeatAnswer>) {
        let mut activity = self.activity.clone();
        let mut open: Option<Open> = None;
        loop {
            let beat = tokio::select! {
                beat = beats.next() => beat,
                _ = activity.wait_for(|activity| !activity.is_active()) => None,
                () = answers.closed() => None,
            };
            let Some(beat) = beat else { return };
            let who = (beat.id, beat.epoch);
            if open.as_ref().is_none_or(|open| open.who != who) {
                drop(open.take());
                open = Some(Open::new(&self, who));
            }
            let (answer, answered) = oneshot::channel();
            if self.events.send(Event::Beat(beat, answer)).is_err() {
                return;
            }
            // No answer: another controller is the active one.
            let Ok(answer) = answered.await else { return };
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }
}

/// Where signs of life come from.
pub(crate) trait Beats: Send {
    /// The next; `None`: there will be none.
    fn next(&mut self) -> impl Future<Output = Option<Heartbeat>> + Send;
}

impl Beats for mpsc::Receiver<Heartbeat> {
    async fn next(&mut self) -> Option<Heartbeat> {
        self.recv().await
    }
}

/// A broker's stream stands; however it ends, that is said.
struct Open {
    events: mpsc::UnboundedSender<Event>,
    who: (BrokerId, BrokerEpoch),
}

impl Open {
    fn new(sessions: &Sessions, who: (BrokerId, BrokerEpoch)) -> Self {
        let events = sessions.events.clone();
        // Where the task has gone, so has the controller.
        let _ = events.send(Event::Opened(who.0, who.1));
        Self { events, who }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Lost(self.who.0, self.who.1));
    }
}

/// Whose proposal came to an end, and how.
enum Ended {
    Liveness(Ticket, Settled),
    Balance(Settled),
    Growth(Settled),
}

struct Keeper {
    controller: Controller,
    liveness: Liveness,
    /// While this controller is the active one.
    balance: Option<Balance>,
    growth: Option<Growth>,
    growth_patience: Duration,
    balance_config: BalanceConfig,
    clock: Clock,
    settle: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    /// In which this controller last became the active one.
    term: u64,
}

impl Keeper {
    async fn run(
        mut self,
        mut heard: mpsc::UnboundedReceiver<Event>,
        mut activity: watch::Receiver<Activity>,
    ) {
        self.turn(*activity.borrow_and_update());
        loop {
            let due = [
                self.liveness.deadline(),
                self.balance.as_ref().map(Balance::deadline),
                self.growth.as_ref().map(Growth::deadline),
            ];
            let due = due.into_iter().flatten().min();
            let wait = due.map_or(IDLE, |due| self.clock.until(due));
            tokio::select! {
                changed = activity.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = *activity.borrow_and_update();
                    self.turn(now);
                }
                event = heard.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                Some(ended) = self.settle.1.recv() => self.ended(ended),
                () = tokio::time::sleep(wait) => self.tick(),
            }
        }
    }

    fn now(&self) -> Tick {
        self.clock.tick(Instant::now())
    }

    /// This controller became the active one, or is so no longer.
    fn turn(&mut self, activity: Activity) {
        if !activity.is_active() {
            if self.liveness.is_active() {
                tracing::info!("the active controller is elsewhere now");
            }
            self.liveness.no_longer_active();
            self.balance = None;
            self.growth = None;
        } else if !self.liveness.is_active() || self.term != activity.term {
            tracing::info!(term = activity.term, "this controller is the active one");
            self.term = activity.term;
            let now = self.now();
            self.liveness.became_active(&self.controller.image(), now);
            self.balance = Some(Balance::new(self.balance_config, now));
            self.growth = Some(Growth::new(now, self.growth_patience));
        }
    }

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Liveness(ticket, how) => self.liveness.settled(ticket, how),
            Ended::Balance(how) => {
                if let Some(balance) = &mut self.balance {
                    balance.settled(how);
                }
            }
            Ended::Growth(how) => {
                if let Some(growth) = &mut self.growth {
                    growth.settled(how);
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Opened(id, epoch) => self.liveness.stream_opened(id, epoch, now),
            Event::Lost(id, epoch) => self.liveness.stream_lost(id, epoch, now),
            Event::Broke(address) => {
                let image = self.controller.image();
                let there = |broker: &Broker| {
                    let mut listeners = broker.listeners.iter();
                    listeners.any(|listener| listener.name == INTERNAL && listener.advertised == address)
                };
                // None: it is no broker's.
                if let Some(broker) = image.brokers().find(|broker| there(broker)) {
                    self.liveness.connection_broke(broker.id, broker.epoch, now);
                }
            }
            Event::Beat(beat, answer) => {
                if let Some(told) = self.liveness.heartbeat(&beat, &self.controller.image(), now) {
                    // The stream may have ended meanwhile.
                    let _ = answer.send(told);
                }
            }
        }
    }

    fn tick(&mut self) {
        let (image, now) = (self.controller.image(), self.now());
        if self.liveness.deadline().is_some_and(|due| due <= now) {
            for Proposal { ticket, command } in self.liveness.tick(&image, now) {
                self.propose(command, move |how| Ended::Liveness(ticket, how));
            }
        }
        let moved = self
            .balance
            .as_mut()
            .and_then(|balance| balance.tick(&image, now));
        if let Some(elections) = moved {
            self.propose(elections.into_command(), Ended::Balance);
        }
        let grows = self.growth.as_mut().and_then(|growth| growth.tick(&image, now));
        if let Some(grow) = grows {
            self.propose(grow.into_command(), Ended::Growth);
        }
    }

    /// What is proposed must not hold up the clock.
    fn propose(&self, command: Command, ended: impl FnOnce(Settled) -> Ended + Send + 'static) {
        tell(&command);
        let (controller, settle) = (self.controller.clone(), self.settle.0.clone());
        tokio::spawn(async move {
            let how = match tokio::time::timeout(PATIENCE, controller.propose_command(command)).await {
                Ok(Ok(committed)) => Settled::At(committed.version),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "what a broker's state calls for is not decided yet");
                    Settled::Failed
                }
                Err(_) => Settled::Failed,
            };
            // The task may have ended meanwhile.
            let _ = settle.send(ended(how));
        });
    }
}

/// For whoever reads the log after an incident.
fn tell(command: &Command) {
    match command {
        Command::FenceBrokers(fence) => {
            let brokers: Vec<_> = fence.brokers.iter().map(|broker| broker.id.get()).collect();
            tracing::warn!(?brokers, "brokers are fenced: they were not heard of, or want it");
        }
        Command::UnfenceBroker(unfence) => tracing::info!(broker = %unfence.id, "a broker is unfenced"),
        Command::ElectLeaders(elect) => {
            tracing::info!(kind = ?elect.kind, partitions = elect.partitions.len(), "leaders are elected");
        }
        Command::GrowTopic(grow) => {
            tracing::info!(topic = %grow.topic_id, gone = ?grow.gone, "an internal topic gets other replicas");
        }
        Command::BeginShutdown(begin) => tracing::info!(broker = %begin.id, "a broker wants to go"),
        command => tracing::info!(command = command.name(), "proposed"),
    }
}
