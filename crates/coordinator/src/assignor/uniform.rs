//! Evenly, moving as little as possible.
//!
//! Everybody keeps what it has, as far as it still wants it. Where all want the same topics, the larger shares go to those
//! who have most already, and what is beyond a share is dealt to whoever has less: no assignment as even moves less. Where
//! they do not, see `balance`. Racks decide only between equal choices: among what has to move.

use super::{Problem, balance};
use quipu_record::{PartitionId, TopicPartition};
use std::collections::{BTreeMap, VecDeque};

/// The partitions of a problem by number, and who holds each.
pub(super) struct Table<'p, 'a> {
    pub(super) problem: &'p Problem<'a>,
    /// The number of each topic's first partition, and of one beyond the last.
    first: Vec<usize>,
    pub(super) holder: Vec<Option<usize>>,
    /// Whether the holder had it before.
    pub(super) kept: Vec<bool>,
    pub(super) load: Vec<usize>,
}

pub(super) fn solve(problem: &Problem<'_>) -> Vec<Vec<TopicPartition>> {
    let mut table = Table::new(problem);
    let wanted = &problem.takers[0].topics;
    if problem.takers.iter().all(|taker| taker.topics == *wanted) {
        table.share_equally();
    } else {
        balance::share(&mut table);
    }
    table.prefer_racks();
    table.given()
}

impl<'p, 'a> Table<'p, 'a> {
    fn new(problem: &'p Problem<'a>) -> Self {
        let mut first = vec![0];
        for shape in &problem.topics {
            let last = first[first.len() - 1];
            first.push(last + shape.partitions as usize);
        }
        let partitions = first[first.len() - 1];
        let mut table = Self {
            problem,
            first,
            holder: vec![None; partitions],
            kept: vec![false; partitions],
            load: vec![0; problem.takers.len()],
        };
        for (index, taker) in problem.takers.iter().enumerate() {
            for at in taker.current {
                let number = table.number(*at, &taker.topics);
                if let Some(number) = number.filter(|number| table.holder[*number].is_none()) {
                    table.give(number, index);
                    table.kept[number] = true;
                }
            }
        }
        table
    }

    /// The number of a partition, if it is there and among these topics.
    fn number(&self, at: TopicPartition, among: &[usize]) -> Option<usize> {
        let topic = self
            .problem
            .topics
            .binary_search_by_key(&at.topic, |shape| shape.topic);
        let topic = topic.ok().filter(|topic| among.binary_search(topic).is_ok())?;
        let there = at.partition.get() < self.problem.topics[topic].partitions;
        there.then(|| self.first[topic] + at.partition.get() as usize)
    }

    pub(super) fn topic_of(&self, number: usize) -> usize {
        self.first.partition_point(|first| *first <= number) - 1
    }

    pub(super) fn partitions_of(&self, topic: usize) -> std::ops::Range<usize> {
        self.first[topic]..self.first[topic + 1]
    }

    fn at(&self, number: usize) -> TopicPartition {
        let topic = self.topic_of(number);
        let partition = u32::try_from(number - self.first[topic]).unwrap_or(u32::MAX);
        TopicPartition {
            topic: self.problem.topics[topic].topic,
            partition: PartitionId::new(partition),
        }
    }

    pub(super) fn give(&mut self, number: usize, taker: usize) {
        if let Some(before) = self.holder[number].replace(taker) {
            self.load[before] -= 1;
        }
        self.load[taker] += 1;
        self.kept[number] = false;
    }

    fn free(&mut self, number: usize) {
        if let Some(before) = self.holder[number].take() {
            self.load[before] -= 1;
        }
        self.kept[number] = false;
    }

    /// Whether a replica of the partition is in the taker's rack.
    pub(super) fn is_near(&self, number: usize, taker: usize) -> bool {
        self.problem.takers[taker].rack.is_some_and(|rack| {
            let racks = (self.problem.racks)(self.at(number));
            racks.iter().any(|one| **one == *rack)
        })
    }

    /// All want the same.
    fn share_equally(&mut self) {
        let wanted = &self.problem.takers[0].topics;
        let numbers: Vec<usize> = wanted
            .iter()
            .flat_map(|topic| self.partitions_of(*topic))
            .collect();
        let count = self.load.len();
        let (quota, more) = (numbers.len() / count, numbers.len() % count);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|taker| std::cmp::Reverse(self.load[*taker]));
        let mut share = vec![quota; count];
        for taker in order.iter().take(more) {
            share[*taker] += 1;
        }
        let mut has: Vec<Vec<usize>> = vec![Vec::new(); count];
        for number in &numbers {
            if let Some(taker) = self.holder[*number] {
                has[taker].push(*number);
            }
        }
        for (taker, mut has) in has.into_iter().enumerate() {
            let beyond = has.len().saturating_sub(share[taker]);
            if beyond > 0 {
                // Those in its rack first, to stay.
                has.sort_by_cached_key(|number| !self.is_near(*number, taker));
                has[share[taker]..].iter().for_each(|number| self.free(*number));
            }
        }
        self.deal(&numbers, &order, &share);
    }

    /// Deals what nobody has to those below their share: in the rack first, then around.
    fn deal(&mut self, numbers: &[usize], order: &[usize], share: &[usize]) {
        let mut racks: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for taker in order.iter().filter(|taker| self.load[**taker] < share[**taker]) {
            if let Some(rack) = self.problem.takers[*taker].rack {
                racks.entry(rack).or_default().push_back(*taker);
            }
        }
        let mut rest = VecDeque::new();
        for number in numbers.iter().filter(|number| self.holder[**number].is_none()) {
            rest.push_back(*number);
        }
        if !racks.is_empty() {
            for number in std::mem::take(&mut rest) {
                let near = (self.problem.racks)(self.at(number)).iter().find_map(|rack| {
                    let waiting = racks.get_mut(&**rack)?;
                    waiting.pop_front()
                });
                let Some(taker) = near else {
                    rest.push_back(number);
                    continue;
                };
                self.give(number, taker);
                if self.load[taker] < share[taker]
                    && let Some(waiting) = self.problem.takers[taker]
                        .rack
                        .and_then(|rack| racks.get_mut(rack))
                {
                    waiting.push_back(taker);
                }
            }
        }
        let open = order.iter().filter(|taker| self.load[**taker] < share[**taker]);
        let mut around: VecDeque<usize> = open.copied().collect();
        while let (Some(number), Some(taker)) = (rest.pop_front(), around.pop_front()) {
            self.give(number, taker);
            if self.load[taker] < share[taker] {
                around.push_back(taker);
            }
        }
    }

    /// Exchanges partitions that move anyway where that brings more of them into a rack.
    fn prefer_racks(&mut self) {
        if self.problem.takers.iter().all(|taker| taker.rack.is_none()) {
            return;
        }
        // What moves, by the rack of who gets it.
        let mut moving: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for number in (0..self.holder.len()).filter(|number| !self.kept[*number]) {
            let rack = self.holder[number].and_then(|taker| self.problem.takers[taker].rack);
            if let Some(rack) = rack {
                moving.entry(rack).or_default().push(number);
            }
        }
        for number in 0..self.holder.len() {
            let Some(taker) = self.holder[number] else {
                continue;
            };
            if self.kept[number] || self.is_near(number, taker) {
                continue;
            }
            let racks = (self.problem.racks)(self.at(number));
            let found = racks.iter().find_map(|rack| {
                let others = moving.get(&**rack)?.iter().rev().take(EXCHANGES_TRIED);
                others.copied().find(|other| self.gains(number, taker, *other))
            });
            if let Some((other, to)) = found.and_then(|other| Some((other, self.holder[other]?))) {
                self.give(number, to);
                self.give(other, taker);
            }
        }
    }

    /// Whether exchanging two partitions that move brings more into their racks, and each holder wants the other's.
    fn gains(&self, number: usize, taker: usize, other: usize) -> bool {
        let Some(holder) = self.holder[other].filter(|holder| *holder != taker) else {
            return false;
        };
        let wants = |taker: usize, number: usize| {
            let topic = self.topic_of(number);
            self.problem.takers[taker].topics.binary_search(&topic).is_ok()
        };
        let loses = self.is_near(other, holder) && !self.is_near(other, taker);
        !self.kept[other]
            && wants(holder, number)
            && wants(taker, other)
            && self.is_near(number, holder)
            && !loses
    }

    fn given(&self) -> Vec<Vec<TopicPartition>> {
        let mut given = vec![Vec::new(); self.load.len()];
        for (number, holder) in self.holder.iter().enumerate() {
            if let Some(taker) = holder {
                given[*taker].push(self.at(number));
            }
        }
        given
    }
}

/// Partners that are tried for one partition.
const EXCHANGES_TRIED: usize = 32;
