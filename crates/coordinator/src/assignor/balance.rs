//! Sharing out among members that want different topics.
//!
//! What nobody has goes to whoever wants it and has least. Then, as long as it helps, one partition moves along a chain: from
//! a member with two or more above another's load, through members that hand on one for one they get. When no such chain is
//! left no assignment is more even (an optimal semi-matching); the shortest chains are found first, and move least.

use super::uniform::Table;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Rounds over all members at most.
const ROUNDS: usize = 16;

struct Link {
    from: usize,
    topic: usize,
}

pub(super) fn share(table: &mut Table<'_, '_>) {
    let mut subscribers: Vec<Vec<usize>> = vec![Vec::new(); table.problem.topics.len()];
    for (index, taker) in table.problem.takers.iter().enumerate() {
        for topic in &taker.topics {
            subscribers[*topic].push(index);
        }
    }
    let mut topics: Vec<usize> = (0..subscribers.len()).collect();
    topics.sort_by_key(|topic| subscribers[*topic].len());
    for topic in topics {
        for number in table.partitions_of(topic) {
            if table.holder[number].is_some() {
                continue;
            }
            let near = |taker: usize| !table.is_near(number, taker);
            let least = subscribers[topic]
                .iter()
                .copied()
                .min_by_key(|taker| (table.load[*taker], near(*taker)));
            if let Some(taker) = least {
                table.give(number, taker);
            }
        }
    }
    // What each member has of each topic it wants, in the order of its topics.
    let mut has = Holdings::new(table);
    for _ in 0..ROUNDS {
        let mut order: Vec<usize> = (0..table.load.len()).collect();
        order.sort_by_key(|taker| Reverse(table.load[*taker]));
        let mut moved = false;
        for source in order {
            while let Some((links, end)) = chain(table, &has, &subscribers, source) {
                shift(table, &mut has, &links, source, end);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}

/// How many partitions of each topic each member has.
struct Holdings {
    counts: Vec<Vec<usize>>,
}

impl Holdings {
    fn new(table: &Table<'_, '_>) -> Self {
        let takers = &table.problem.takers;
        let mut counts: Vec<Vec<usize>> = takers.iter().map(|taker| vec![0; taker.topics.len()]).collect();
        for (number, holder) in table.holder.iter().enumerate() {
            let topic = table.topic_of(number);
            if let Some(taker) = holder
                && let Ok(place) = takers[*taker].topics.binary_search(&topic)
            {
                counts[*taker][place] += 1;
            }
        }
        Self { counts }
    }

    fn add(&mut self, table: &Table<'_, '_>, taker: usize, topic: usize, more: bool) {
        if let Ok(place) = table.problem.takers[taker].topics.binary_search(&topic) {
            let count = &mut self.counts[taker][place];
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
        }
    }
}

/// The shortest chain from `source` to a member whose load is two or more below.
fn chain(
    table: &Table<'_, '_>,
    has: &Holdings,
    subscribers: &[Vec<usize>],
    source: usize,
) -> Option<(Vec<Option<Link>>, usize)> {
    let least = *table.load.iter().min()?;
    if table.load[source] < least + 2 {
        return None;
    }
    let mut links: Vec<Option<Link>> = table.load.iter().map(|_| None).collect();
    let mut seen = vec![false; subscribers.len()];
    let mut queue = VecDeque::from([source]);
    while let Some(from) = queue.pop_front() {
        let topics = &table.problem.takers[from].topics;
        for (place, topic) in topics.iter().enumerate() {
            if has.counts[from][place] == 0 || std::mem::replace(&mut seen[*topic], true) {
                continue;
            }
            for taker in &subscribers[*topic] {
                if *taker == source || links[*taker].is_some() {
                    continue;
                }
                links[*taker] = Some(Link { from, topic: *topic });
                if table.load[*taker] + 2 <= table.load[source] {
                    return Some((links, *taker));
                }
                queue.push_back(*taker);
            }
        }
    }
    None
}

fn shift(table: &mut Table<'_, '_>, has: &mut Holdings, links: &[Option<Link>], source: usize, end: usize) {
    let mut taker = end;
    while taker != source {
        let Some(link) = &links[taker] else { return };
        // What came only now rather than what is kept, and what is far rather than near.
        let mine = table
            .partitions_of(link.topic)
            .filter(|number| table.holder[*number] == Some(link.from));
        let number = mine.min_by_key(|number| (table.kept[*number], table.is_near(*number, link.from)));
        let Some(number) = number else { return };
        table.give(number, taker);
        has.add(table, link.from, link.topic, false);
        has.add(table, taker, link.topic, true);
        taker = link.from;
    }
}
