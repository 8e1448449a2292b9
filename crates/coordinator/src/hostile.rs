//! What must hold of the readers in this crate for any bytes at all. Each body takes bytes as an enemy chose them and
//! panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as property tests.

use crate::record::Record;
use crate::{Coordinator, Effects, GroupConfig, Input, Request, RequestToken, Topics};
use quipu_record::{PartitionId, Tick, Timestamp, TopicId};
use std::sync::Arc;

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[("group_records", group_records)];

/// Stored records in a row, each a key and a value after their lengths in two bytes (a value of 65,535 bytes is none): what
/// is read is what is written again, and a coordinator that replayed it goes on.
pub fn group_records(mut data: &[u8]) {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    while let Some((key, rest)) = chunk(data) {
        let Some((value, rest)) = chunk(rest) else { break };
        data = rest;
        let Ok(record) = Record::decode(key.unwrap_or_default(), value) else {
            continue;
        };
        let encoded = record.encode();
        assert_eq!(
            (&encoded.key[..], encoded.value.as_deref()),
            (key.unwrap_or_default(), value)
        );
        let replayed = coordinator.replay(&encoded.key, encoded.value.as_deref());
        assert!(replayed.is_ok(), "what is read is replayed");
    }
    let mut copy = Coordinator::new(GroupConfig::default());
    coordinator.records(&mut |record| {
        let replayed = copy.replay(&record.key, record.value.as_deref());
        assert!(replayed.is_ok(), "a coordinator's own records make it again");
    });
    let (mut one, mut two) = (Vec::new(), Vec::new());
    coordinator.records(&mut |record| one.push(record));
    copy.records(&mut |record| two.push(record));
    assert_eq!(one, two);
    goes_on(coordinator);
}

fn goes_on(mut coordinator: Coordinator) {
    let wall = Timestamp::new(1_000);
    coordinator.loaded(Tick::default(), wall);
    let mut effects = Effects::default();
    let list = Input::Request(RequestToken::new(1), Request::List);
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    for (hours, input) in [
        (0, Input::TopicsChanged),
        (0, list),
        (1, Input::Tick),
        (2, Input::Tick),
    ] {
        let now = Tick::default().after(day * hours);
        coordinator.step(input, now, wall, &NoTopics, &mut effects);
    }
}

fn chunk(data: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (len, rest) = data.split_first_chunk()?;
    let len = u16::from_be_bytes(*len);
    if len == u16::MAX {
        return Some((None, rest));
    }
    let (bytes, rest) = rest.split_at(usize::from(len).min(rest.len()));
    Some((Some(bytes), rest))
}

struct NoTopics;

impl Topics for NoTopics {
    fn named(&self, _: &str) -> Option<TopicId> {
        None
    }

    fn name(&self, _: TopicId) -> Option<Arc<str>> {
        None
    }

    fn partitions(&self, _: TopicId) -> Option<u32> {
        None
    }

    fn racks(&self, _: TopicId, _: PartitionId) -> &[Arc<str>] {
        &[]
    }

    fn each(&self, _: &mut dyn FnMut(&str, TopicId)) {}

    fn version(&self) -> u64 {
        u64::MAX
    }
}
