//! What is done to the brokers of a local cluster: one thing after another, drawn from the seed.

use super::load::{Clock, told};
use super::plan::FaultKind;
use crate::brokers::Brokers;
use crate::output::Failure;
use quipu_checker::{Fault, Op, Phase};
use quipu_client::Client;
use quipu_workload::{Chance, Recorder};
use std::time::Duration;

/// From one fault to the next: a fraction of the time there is, between these.
const SLOT_MIN: Duration = Duration::from_millis(700);
const SLOT_MAX: Duration = Duration::from_secs(12);
const SLOTS: u32 = 6;

/// What is done, to whom, and who takes note.
pub(super) struct Faults<'a> {
    pub(super) brokers: &'a mut Brokers,
    pub(super) kinds: &'a [FaultKind],
    pub(super) topic: &'a str,
    pub(super) recorder: &'a Recorder,
    pub(super) client: &'a Client,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
}

impl Faults<'_> {
    /// One after another until the time is over; each is healed before the next one begins, and at the end all are.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        if self.kinds.is_empty() {
            return Ok(());
        }
        let slot = (self.clock.left() / SLOTS).clamp(SLOT_MIN, SLOT_MAX);
        // Nothing is broken at first: what goes wrong then is nobody's fault but the cluster's.
        let mut goes_on = self.clock.pause(slot / 2).await;
        let mut number = self.chance.below(self.kinds.len() as u64);
        while goes_on && self.clock.left() > slot / 2 {
            // In turn: each kind comes, however short the time is.
            let kinds = self.kinds.len() as u64;
            let kind = usize::try_from(number % kinds).unwrap_or(0);
            number += 1;
            let hold = self.chance.between(slot / 5, slot * 9 / 20);
            self.one(self.kinds[kind], hold).await?;
            let rest = slot.saturating_sub(hold).max(slot / 3);
            goes_on = self.clock.pause(rest).await;
        }
        Ok(())
    }

    async fn one(&mut self, kind: FaultKind, hold: Duration) -> Result<(), Failure> {
        let count = self.brokers.count() as u64;
        let broker = u32::try_from(self.chance.below(count)).unwrap_or(0);
        let what = self.describe(broker).await;
        self.clock.say(format!("{} {what}", kind.name()));
        self.tell(kind, Phase::Begin, &what)?;
        match kind {
            FaultKind::Kill => self.brokers.bury(broker).await?,
            FaultKind::Pause => self.brokers.pause(broker)?,
            FaultKind::None => {}
        }
        self.clock.pause(hold).await;
        match kind {
            FaultKind::Kill => drop(self.brokers.restart(broker).await?),
            FaultKind::Pause => self.brokers.resume(broker)?,
            FaultKind::None => {}
        }
        self.tell(kind, Phase::End, &what)?;
        self.clock.say(String::new());
        told(
            self.recorder,
            Op::Healed {
                what: "every broker runs".to_owned(),
            },
        )?;
        match self.brokers.ended()? {
            Some((broker, status)) => Err(Failure::new(format_args!(
                "broker {broker} ended by itself, with {status}"
            ))),
            None => Ok(()),
        }
    }

    fn tell(&self, kind: FaultKind, phase: Phase, what: &str) -> Result<(), Failure> {
        told(
            self.recorder,
            Op::Fault(Fault::of(kind.name(), phase, what.to_owned())),
        )
    }

    /// The broker, and what it leads as far as anybody knows.
    async fn describe(&self, broker: u32) -> String {
        let admin = self.client.admin();
        let Ok(topic) = admin.get_topic(self.topic).await else {
            return format!("broker {broker}");
        };
        let led = topic.partitions.iter();
        let led = led.filter(|partition| partition.leader.is_some_and(|leader| leader.get() == broker));
        let led: Vec<String> = led.map(|partition| partition.partition.to_string()).collect();
        match led.as_slice() {
            [] => format!("broker {broker}, leads none"),
            _ => format!("broker {broker}, leads {}", led.join(" ")),
        }
    }
}
