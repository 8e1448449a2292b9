//! Internal topics grow with the cluster: made when there were few brokers, they get replicas on those that came later.
//! A broker that is lost meanwhile is waited for as long as a restart may take, and then others take its place.

use crate::command::Steps;
use crate::{GrowTopic, Image, Settled};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What the active controller holds to let internal topics grow.
#[derive(Debug)]
pub struct Growth {
    /// Nothing could be done in this image without these brokers.
    seen: Option<(MetadataVersion, Vec<BrokerId>)>,
    /// How long a broker that is fenced is waited for.
    patience: Duration,
    /// Those that are being waited for, each life of them since when.
    away: BTreeMap<(BrokerId, Option<BrokerEpoch>), Tick>,
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

impl Growth {
    /// Of a controller that became the active one. A broker that is fenced for longer than `patience` is waited for no
    /// more.
    #[must_use]
    pub const fn new(now: Tick, patience: Duration) -> Self {
        Self {
            seen: None,
            patience,
            away: BTreeMap::new(),
            next: now,
            under_way: None,
        }
    }

    /// When [`Growth::tick`] is to be called.
    #[must_use]
    pub const fn deadline(&self) -> Tick {
        self.next
    }

    /// Looks for a topic that can grow, and says what is to be proposed.
    pub fn tick(&mut self, image: &Image, now: Tick) -> Option<GrowTopic> {
        if now < self.next {
            return None;
        }
        self.next = now.after(PAUSE);
        match self.under_way {
            Some(UnderWay::Done(version)) if version <= image.version() => self.under_way = None,
            Some(_) => return None,
            None => {}
        }
        let gone = self.gone(image, now);
        let looked_at = (image.version(), gone);
        if self.seen.as_ref() == Some(&looked_at) {
            return None;
        }
        let (_, gone) = &looked_at;
        let grows = image
            .topics()
            .filter(|topic| topic.internal)
            .find(|topic| !Steps::of(image, topic, gone).is_empty());
        match grows {
            Some(topic) => {
                self.under_way = Some(UnderWay::Proposed);
                Some(GrowTopic {
                    topic_id: topic.id,
                    gone: looked_at.1,
                })
            }
            None => {
                self.seen = Some(looked_at);
                None
            }
        }
    }

    /// The brokers with a replica being added that have been fenced for too long.
    fn gone(&mut self, image: &Image, now: Tick) -> Vec<BrokerId> {
        let internal = image.topics().filter(|topic| topic.internal);
        let adding = internal
            .flat_map(|topic| topic.partitions.iter())
            .flat_map(|(_, state)| state.adding().iter().copied());
        let before = std::mem::take(&mut self.away);
        for id in adding {
            let broker = image.broker(id);
            if broker.is_none_or(|broker| broker.fenced) {
                let life = (id, broker.map(|broker| broker.epoch));
                let since = before.get(&life).copied().unwrap_or(now);
                self.away.insert(life, since);
            }
        }
        let long = self
            .away
            .iter()
            .filter(|(_, since)| now.since(**since) >= self.patience);
        long.map(|((id, _), _)| *id).collect()
    }

    /// What came of what was proposed last.
    pub fn settled(&mut self, how: Settled) {
        self.under_way = match how {
            Settled::At(version) => Some(UnderWay::Done(version)),
            Settled::Failed => None,
        };
    }
}
