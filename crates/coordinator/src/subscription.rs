//! Which topics a member wants: names, and a pattern that whole names match.

use crate::record::Info;
use crate::state::Group;
use crate::{GroupError, Subscription, Topics};
use quipu_record::{PartitionId, TopicId};
use regex_lite::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Topics that one member may name.
const NAMES_MAX: usize = 1_000;
/// Bytes of a pattern.
const PATTERN_LEN_MAX: usize = 1_000;
/// Bytes that a compiled pattern may take.
const PATTERN_SIZE_MAX: usize = 256 * 1024;
/// Patterns that are remembered: beyond, all are forgotten and made anew.
const PATTERNS_MAX: usize = 10_000;

fn compile(pattern: &str) -> Result<Regex, GroupError> {
    if pattern.len() > PATTERN_LEN_MAX {
        return Err(GroupError::invalid("topic_pattern: more than 1,000 bytes"));
    }
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(PATTERN_SIZE_MAX)
            .build()
            .map_err(|error| GroupError::invalid(format!("topic_pattern: {error}")))
    };
    // By itself first: a stray parenthesis must not open the brackets that make it match whole names.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

/// Patterns with what they match among the topics of one version of the metadata.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    version: Option<u64>,
    names_hash: u64,
    known: BTreeMap<Arc<str>, Known>,
}

#[derive(Debug)]
struct Known {
    regex: Option<Regex>,
    matched: Option<Arc<[TopicId]>>,
}

impl Patterns {
    /// Checks a subscription.
    pub(crate) fn check(&mut self, subscription: &Subscription) -> Result<(), GroupError> {
        if subscription.topics.len() > NAMES_MAX {
            return Err(GroupError::invalid("topics: more than 1,000 names"));
        }
        for name in &subscription.topics {
            quipu_record::check_topic_name(name)
                .map_err(|error| GroupError::invalid(format!("topics: {error}")))?;
        }
        let Some(pattern) = &subscription.pattern else {
            if subscription.topics.is_empty() {
                return Err(GroupError::invalid(
                    "nothing to consume: give topics, or a topic_pattern",
                ));
            }
            return Ok(());
        };
        if !self.known.contains_key(pattern) {
            let regex = Some(compile(pattern)?);
            self.remember(pattern, regex);
        }
        Ok(())
    }

    fn remember(&mut self, pattern: &Arc<str>, regex: Option<Regex>) {
        if self.known.len() >= PATTERNS_MAX {
            self.known.clear();
        }
        let matched = None;
        self.known.insert(Arc::clone(pattern), Known { regex, matched });
    }

    /// Takes notice of the topics of the moment.
    pub(crate) fn refresh(&mut self, topics: &dyn Topics) {
        if self.version == Some(topics.version()) {
            return;
        }
        self.version = Some(topics.version());
        let mut hash = Hash::new();
        topics.each(&mut |name, topic| {
            hash.add(name.as_bytes());
            hash.add(&topic.into_bytes());
        });
        if self.names_hash != hash.0 {
            self.names_hash = hash.0;
            self.known.values_mut().for_each(|known| known.matched = None);
        }
    }

    fn matched(&mut self, pattern: &Arc<str>, topics: &dyn Topics) -> Arc<[TopicId]> {
        if !self.known.contains_key(pattern) {
            // It was checked as it came; one that an earlier version took and this one does not matches nothing.
            self.remember(pattern, compile(pattern).ok());
        }
        let Some(known) = self.known.get_mut(pattern) else {
            return Arc::new([]);
        };
        if let Some(matched) = &known.matched {
            return Arc::clone(matched);
        }
        let mut found = Vec::new();
        if let Some(regex) = &known.regex {
            topics.each(&mut |name, topic| {
                if regex.is_match(name) {
                    found.push(topic);
                }
            });
        }
        let found: Arc<[TopicId]> = found.into();
        known.matched = Some(Arc::clone(&found));
        found
    }

    /// What a member's subscription means now.
    pub(crate) fn resolve(&mut self, info: &Info, topics: &dyn Topics) -> BTreeSet<TopicId> {
        let subscription = &info.subscription;
        let named = subscription.topics.iter().filter_map(|name| topics.named(name));
        let mut found: BTreeSet<TopicId> = named.collect();
        if let Some(pattern) = &subscription.pattern {
            found.extend(self.matched(pattern, topics).iter());
        }
        found
    }

    /// A hash of everything about topics that a group's target depends on.
    pub(crate) fn hash(&mut self, group: &Group, topics: &dyn Topics) -> u64 {
        let mut all = BTreeSet::new();
        let mut last: Option<&Subscription> = None;
        for info in group.members.values().filter_map(|member| member.info.as_ref()) {
            if last != Some(&info.subscription) {
                all.extend(self.resolve(info, topics));
            }
            last = Some(&info.subscription);
        }
        let mut hash = Hash::new();
        for topic in all {
            let partitions = topics.partitions(topic).unwrap_or(0);
            hash.add(&topic.into_bytes());
            hash.add(&partitions.to_be_bytes());
            for partition in 0..partitions {
                for rack in topics.racks(topic, PartitionId::new(partition)) {
                    hash.add(rack.as_bytes());
                }
                hash.add(&[0]);
            }
        }
        hash.0
    }
}

/// FNV-1a: small, and the same for ever, as it is stored.
struct Hash(u64);

impl Hash {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
