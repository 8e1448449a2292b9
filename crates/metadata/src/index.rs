//! What is found without going through every partition: which topics lie on a broker, how much it leads, which partitions
//! nobody leads, and which another broker leads than should.
//!
//! A function of the image's partitions, kept by [`crate::Image::replay`]. Brokers are kept by topic and not by partition:
//! an entry for each replica would be as large as the partitions themselves, and a topic's partitions lie side by side.

use crate::Partition;
use crate::chunk_map::ChunkMap;
use quipu_record::{BrokerId, TopicId, TopicPartition};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Index {
    /// How many replicas of a topic lie on a broker; never 0.
    replicas: ChunkMap<(BrokerId, TopicId), u32>,
    /// How many partitions a broker leads; never 0.
    led: ChunkMap<BrokerId, u32>,
    leaderless: ChunkMap<TopicPartition, ()>,
    /// Led by another than the first of their replicas.
    displaced: ChunkMap<TopicPartition, ()>,
}

impl Index {
    /// A partition was one thing, and is another now.
    pub(crate) fn change(
        &mut self,
        at: TopicPartition,
        before: Option<&Partition>,
        after: Option<&Partition>,
    ) {
        let replicas = |p: Option<&Partition>| p.map(|p| p.replicas.clone()).unwrap_or_default();
        let (old, new) = (replicas(before), replicas(after));
        for broker in old.iter().filter(|b| !new.contains(*b)) {
            add(&mut self.replicas, (broker, at.topic), -1);
        }
        for broker in new.iter().filter(|b| !old.contains(*b)) {
            add(&mut self.replicas, (broker, at.topic), 1);
        }
        let leader = |p: Option<&Partition>| p.and_then(|p| p.leader);
        if leader(before) != leader(after) {
            leader(before).inspect(|broker| add(&mut self.led, *broker, -1));
            leader(after).inspect(|broker| add(&mut self.led, *broker, 1));
        }
        let leaderless = |p: &Partition| p.leader.is_none();
        mark(
            &mut self.leaderless,
            at,
            before.is_some_and(leaderless),
            after.is_some_and(leaderless),
        );
        let displaced = Partition::is_displaced;
        mark(
            &mut self.displaced,
            at,
            before.is_some_and(displaced),
            after.is_some_and(displaced),
        );
    }

    /// The topics of which `broker` has replicas, by id.
    pub(crate) fn topics_on(&self, broker: BrokerId) -> impl Iterator<Item = TopicId> {
        self.replicas
            .starting_at(&(broker, TopicId::from_u128(0)))
            .map(|((on, topic), _)| (*on, *topic))
            .take_while(move |(on, _)| *on == broker)
            .map(|(_, topic)| topic)
    }

    pub(crate) fn led_by(&self, broker: BrokerId) -> usize {
        let led = self.led.get(&broker).copied().unwrap_or(0);
        usize::try_from(led).unwrap_or(usize::MAX)
    }

    pub(crate) fn leaderless(&self) -> impl Iterator<Item = TopicPartition> {
        self.leaderless.iter().map(|(at, ())| *at)
    }

    pub(crate) fn displaced(&self) -> impl Iterator<Item = TopicPartition> {
        self.displaced.iter().map(|(at, ())| *at)
    }
}

fn add<K: Ord + Clone>(counts: &mut ChunkMap<K, u32>, key: K, change: i32) {
    let count = counts
        .get(&key)
        .copied()
        .unwrap_or(0)
        .saturating_add_signed(change);
    if count == 0 {
        counts.remove(&key);
    } else {
        counts.insert(key, count);
    }
}

fn mark(marked: &mut ChunkMap<TopicPartition, ()>, at: TopicPartition, before: bool, after: bool) {
    match (before, after) {
        (false, true) => drop(marked.insert(at, ())),
        (true, false) => drop(marked.remove(&at)),
        _ => {}
    }
}
