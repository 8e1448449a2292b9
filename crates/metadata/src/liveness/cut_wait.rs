//! Partitions whose only candidates are replicas that recovery cut: they wait for the other candidates, but for no longer
//! than a session.

use crate::{Image, Partition};
use quipu_record::{MetadataVersion, Tick, TopicPartition};
use std::collections::BTreeMap;

/// Named in one command at most: it stays far below the size that a command may have.
const AT_ONCE: usize = 10_000;

/// Who waits, and since when.
#[derive(Debug, Default)]
pub(super) struct CutWait {
    /// The image that was looked at.
    seen: Option<MetadataVersion>,
    since: BTreeMap<TopicPartition, Tick>,
}

impl CutWait {
    /// Those that have waited for long enough.
    pub(super) fn over(
        &mut self,
        image: &Image,
        now: Tick,
        wait: std::time::Duration,
    ) -> Vec<TopicPartition> {
        if self.seen != Some(image.version()) {
            self.seen = Some(image.version());
            let waiting = image.leaderless().filter(|(_, state)| waits(state, image));
            let since = |at| *self.since.get(&at).unwrap_or(&now);
            self.since = waiting.map(|(at, _)| (at, since(at))).collect();
        }
        let over = self.since.iter().filter(|(_, since)| now.since(**since) >= wait);
        over.map(|(at, _)| *at).take(AT_ONCE).collect()
    }
}

/// Whether one that was cut is here and could lead.
fn waits(state: &Partition, image: &Image) -> bool {
    let here = |broker| image.broker(broker).is_some_and(|b| b.is_active());
    state
        .cut()
        .iter()
        .any(|cut| state.is_safe(cut.broker) && here(cut.broker))
}
