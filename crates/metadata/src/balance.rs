//! Leadership goes back to where it belongs, a little at a time.
//!
//! The first replica of a partition is its preferred leader: partitions were placed so that these are spread evenly.
//! After a broker was away others lead what it should. It gets it back once it has been here for a while and is in sync,
//! some partitions at a time: each change of leader is a moment of waiting for somebody.

use crate::{ElectLeaders, Image, LeaderElection, Partition, Settled};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// How gently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BalanceConfig {
    /// How long a preferred leader must have been active and in sync.
    pub settle: Duration,
    /// Between two commands.
    pub pause: Duration,
    /// Partitions in one command at most.
    pub at_once: usize,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            at_once: 20,
        }
    }
}

/// What the active controller holds to bring leadership back.
#[derive(Debug)]
pub struct Balance {
    config: BalanceConfig,
    /// Since when each broker has been active, in which of its lifetimes.
    active: BTreeMap<BrokerId, (BrokerEpoch, Tick)>,
    /// Since when the preferred leader of a partition that another leads could lead it.
    could: BTreeMap<TopicPartition, Tick>,
    /// The image that these are about.
    seen: Option<MetadataVersion>,
    next: Tick,
    under_way: Option<UnderWay>,
}

/// A command is proposed.
#[derive(Debug)]
enum UnderWay {
    Proposed,
    /// Done, in a version that the image may not show yet.
    Done(MetadataVersion),
}

impl Balance {
    /// Of a controller that became the active one: whatever was before, everything settles anew.
    #[must_use]
    pub fn new(config: BalanceConfig, now: Tick) -> Self {
        Self {
            config,
            active: BTreeMap::new(),
            could: BTreeMap::new(),
            seen: None,
            next: now,
            under_way: None,
        }
    }

    /// When [`Balance::tick`] is to be called.
    #[must_use]
    pub const fn deadline(&self) -> Tick {
        self.next
    }

    /// Looks at what is out of place, and says what is to be proposed.
    pub fn tick(&mut self, image: &Image, now: Tick) -> Option<ElectLeaders> {
        if now < self.next {
            return None;
        }
        self.next = now.after(self.config.pause);
        if self.seen != Some(image.version()) {
            self.seen = Some(image.version());
            self.look(image, now);
        }
        if let Some(UnderWay::Done(version)) = self.under_way
            && version <= image.version()
        {
            self.under_way = None;
        }
        // Who leaves hands over, and who takes over has enough to do.
        let leaving = image.brokers().any(|b| !b.fenced && b.shutting_down.is_some());
        if leaving || self.under_way.is_some() {
            return None;
        }
        let settled = |since: &Tick| now.since(*since) >= self.config.settle;
        let ripe = self.could.iter().filter(|(_, since)| settled(since));
        let partitions: Vec<TopicPartition> = ripe.map(|(at, _)| *at).take(self.config.at_once).collect();
        if partitions.is_empty() {
            return None;
        }
        self.under_way = Some(UnderWay::Proposed);
        Some(ElectLeaders {
            partitions,
            kind: LeaderElection::Preferred,
        })
    }

    /// What came of what was proposed last.
    pub fn settled(&mut self, how: Settled) {
        self.under_way = match how {
            Settled::At(version) => Some(UnderWay::Done(version)),
            Settled::Failed => None,
        };
    }

    fn look(&mut self, image: &Image, now: Tick) {
        let active = image.brokers().filter(|b| b.is_active());
        let since = |id: BrokerId, epoch: BrokerEpoch| match self.active.get(&id) {
            Some((known, since)) if *known == epoch => *since,
            _ => now,
        };
        self.active = active.map(|b| (b.id, (b.epoch, since(b.id, b.epoch)))).collect();
        let could = image.displaced().filter_map(|(at, state)| {
            let broker_since = self.preferred_since(state)?;
            let known = *self.could.get(&at).unwrap_or(&now);
            Some((at, known.max(broker_since)))
        });
        self.could = could.collect();
    }

    /// Since when the preferred leader has been active; `None`: it could not lead this partition now.
    fn preferred_since(&self, state: &Partition) -> Option<Tick> {
        let preferred = state.replicas.iter().next()?;
        let in_sync = state.isr.contains(preferred);
        let (_, since) = self.active.get(&preferred).filter(|_| in_sync)?;
        Some(*since)
    }
}
