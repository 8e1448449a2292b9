//! The clients at work, for as long as was asked for.

use super::plan::Plan;
use crate::output::{Failure, progress_of};
use indicatif::ProgressBar;
use quipu_checker::{Key, Op};
use quipu_client::{ClientConfig, NewTopic, Offset};
use quipu_workload::{Chance, Pace, Recorder, Site, Tasks, WorkloadError, poll_to_the_end, workloads};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A client that is asked to stop ends the call that it is in: retries and all.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Reading everything once more. The checker has limits of its own.
const READ_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whether to end before the time is over.
#[derive(Clone)]
pub(super) struct StopEarly(watch::Receiver<bool>);

/// Asks for it.
pub(super) struct Early(watch::Sender<bool>);

impl StopEarly {
    pub(super) fn new() -> (Early, Self) {
        let (sender, receiver) = watch::channel(false);
        (Early(sender), Self(receiver))
    }

    fn asked(&self) -> bool {
        *self.0.borrow()
    }
}

impl Early {
    pub(super) fn ask(&self) {
        self.0.send_replace(true);
    }
}

/// How long there is: the plan's time, or until somebody cannot wait.
#[derive(Clone)]
pub(super) struct Clock {
    begun: Instant,
    total: Duration,
    stop: StopEarly,
    bar: ProgressBar,
}

impl Clock {
    pub(super) fn left(&self) -> Duration {
        if self.stop.asked() {
            return Duration::ZERO;
        }
        self.total.saturating_sub(self.begun.elapsed())
    }

    /// Waits so long, or until the time is over. Whether there is any left.
    pub(super) async fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.left().is_zero() {
            tokio::time::sleep(LOOK_EVERY.min(until - Instant::now())).await;
        }
        !self.left().is_zero()
    }

    /// What goes on, beside the progress bar.
    pub(super) fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

/// Clients at work.
pub(super) struct Load {
    pub(super) recorder: Arc<Recorder>,
    site: Site,
    pub(super) clock: Clock,
    tasks: Tasks,
}

impl Load {
    /// Creates the topic, and sets clients to work on it.
    pub(super) async fn start(
        plan: &Plan,
        config: ClientConfig,
        topic: NewTopic,
        stop: StopEarly,
    ) -> Result<Self, Failure> {
        let recorder = Recorder::new();
        let pace = Pace {
            records_per_second: plan.rate,
            ..Pace::default()
        };
        let site = Site::new(&recorder, config, &plan.topic, plan.partitions).with_pace(pace);
        site.create_topic(topic, READY_WITHIN).await.map_err(failed)?;
        let mut tasks = Tasks::new();
        let mut chance = Chance::new(plan.seed);
        for name in &plan.workloads {
            let chance = chance.fork();
            if let Some(workload) = workloads::named(name) {
                workload.spawn(&site, chance, &mut tasks);
            }
        }
        let clock = Clock {
            begun: Instant::now(),
            total: Duration::from_secs(plan.seconds),
            stop,
            bar: progress_of(plan.seconds, "s"),
        };
        Ok(Self {
            recorder,
            site,
            clock,
            tasks,
        })
    }

    /// Lets them work until the time is over, and tells how far they are.
    pub(super) async fn work(&self) {
        while !self.clock.left().is_zero() {
            tokio::time::sleep(LOOK_EVERY).await;
            self.clock.bar.set_position(self.clock.begun.elapsed().as_secs());
        }
        self.clock.bar.finish_and_clear();
    }

    /// Stops the clients, and reads everything to its end with new ones. What went wrong in that does not undo what was
    /// done before.
    pub(super) async fn finish(self) -> Worked {
        let stopped = self.tasks.stop(STOP_WITHIN).await;
        let mut incomplete: Vec<String> = stopped.err().iter().map(ToString::to_string).collect();
        incomplete.extend(
            self.recorder
                .tell(Op::FinalPolls)
                .err()
                .map(|error| error.to_string()),
        );
        let read = poll_to_the_end(&self.site, READ_WITHIN).await;
        incomplete.extend(read.as_ref().err().map(ToString::to_string));
        Worked {
            ends: read.map(|polled| polled.ends).unwrap_or_default(),
            recorder: self.recorder,
            incomplete,
        }
    }
}

/// What the clients leave.
pub(super) struct Worked {
    pub(super) recorder: Arc<Recorder>,
    /// Where each partition ends.
    pub(super) ends: BTreeMap<Key, Offset>,
    /// Why they did not come to their end.
    pub(super) incomplete: Vec<String>,
}

/// Each partition has a leader within this time, or never.
const READY_WITHIN: Duration = Duration::from_secs(60);

fn failed(error: WorkloadError) -> Failure {
    match error {
        WorkloadError::Connect(error) => error.into(),
        WorkloadError::Call(error) => error.into(),
        other => Failure::new(other),
    }
}

/// Tells the history something that no client did.
pub(super) fn told(recorder: &Recorder, op: Op) -> Result<(), Failure> {
    recorder.tell(op).map(drop).map_err(Failure::new)
}
