//! Internal topics grow with the cluster: made when there were few brokers, they get replicas on those that came later.

use crate::command::Steps;
use crate::{GrowTopic, Image, Settled};
use quipu_record::{MetadataVersion, Tick};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What the active controller holds to let internal topics grow.
#[derive(Debug)]
pub struct Growth {
    /// Nothing could be done in this image.
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

impl Growth {
    /// Of a controller that became the active one.
    #[must_use]
    pub const fn new(now: Tick) -> Self {
        Self {
            seen: None,
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
        if self.seen == Some(image.version()) {
            return None;
        }
        let grows = image
            .topics()
            .filter(|topic| topic.internal)
            .find(|topic| !Steps::of(image, topic).is_empty());
        match grows {
            Some(topic) => {
                self.under_way = Some(UnderWay::Proposed);
                Some(GrowTopic { topic_id: topic.id })
            }
            None => {
                self.seen = Some(image.version());
                None
            }
        }
    }

    /// What came of what was proposed last.
    pub fn settled(&mut self, how: Settled) {
        self.under_way = match how {
            Settled::At(version) => Some(UnderWay::Done(version)),
            Settled::Failed => None,
        };
    }
}
