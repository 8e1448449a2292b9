//! Where the replicas of new partitions go: round-robin over brokers ordered rack by rack, so that leaders are spread
//! evenly, each partition's replicas lie in as many racks as there are, and the followers of one broker's leaders are
//! spread too.

use crate::{Image, ReplicaSet};
use quipu_record::{BrokerId, TopicId};
use std::collections::BTreeMap;

/// A broker that may take replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seat {
    id: BrokerId,
    rack: Option<String>,
}

/// The seats of a cluster in the order in which they are filled.
pub(crate) struct Placement {
    /// Brokers that may lead now, interleaved by rack.
    active: Vec<Seat>,
    /// Registered, but not able to lead now: taken only if there are too few others, and never first.
    spare: Vec<Seat>,
}

impl Placement {
    pub(crate) fn of(image: &Image) -> Self {
        let seat = |b: &crate::Broker| Seat {
            id: b.id,
            rack: b.rack.clone(),
        };
        let (active, spare): (Vec<_>, Vec<_>) = image.brokers().partition(|b| b.is_active());
        Self {
            active: interleaved(active.into_iter().map(|b| seat(b)).collect()),
            spare: interleaved(spare.into_iter().map(|b| seat(b)).collect()),
        }
    }

    /// How many replicas a partition can have now, and how many once every registered broker is back.
    pub(crate) fn room(&self) -> usize {
        self.active.len() + self.spare.len()
    }

    /// Brokers that may lead now.
    pub(crate) fn active(&self) -> usize {
        self.active.len()
    }

    /// The replicas of the partition with this index of this topic, preferred leader first. `factor` must not be above
    /// [`Placement::room`], and somebody must be active.
    pub(crate) fn replicas(&self, topic: TopicId, index: u32, factor: usize) -> ReplicaSet {
        let n = self.active.len();
        let start = start_of(topic, n);
        let turn = usize::try_from(index).unwrap_or(0);
        let first = &self.active[(start + turn) % n];
        // Each time around, the followers begin one seat further on.
        let shift = (turn / n) % n.saturating_sub(1).max(1);
        let others = (0..n - 1).map(|i| &self.active[(start + turn + 1 + (shift + i) % (n - 1)) % n]);
        let others: Vec<&Seat> = others.chain(&self.spare).collect();
        let mut chosen = vec![first];
        // First those in racks not yet used, then anybody.
        for fresh_racks in [true, false] {
            for seat in &others {
                let taken = chosen.iter().any(|c| c.id == seat.id);
                let rack_taken = chosen.iter().any(|c| c.rack == seat.rack);
                if chosen.len() < factor && !taken && !(fresh_racks && rack_taken) {
                    chosen.push(seat);
                }
            }
        }
        chosen.iter().map(|seat| seat.id).collect()
    }
}

/// One broker of each rack in turn.
fn interleaved(seats: Vec<Seat>) -> Vec<Seat> {
    let mut racks: BTreeMap<Option<String>, Vec<Seat>> = BTreeMap::new();
    for seat in seats {
        racks.entry(seat.rack.clone()).or_default().push(seat);
    }
    let most = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .flat_map(|i| racks.values().filter_map(move |rack| rack.get(i)).cloned())
        .collect()
}

/// Topics begin at different seats, so that many small ones do not all meet on the first broker.
fn start_of(topic: TopicId, seats: usize) -> usize {
    let bits = topic.as_u128();
    let mixed = (bits ^ (bits >> 64)) % (seats.max(1) as u128);
    usize::try_from(mixed).unwrap_or(0)
}

#[cfg(test)]
mod tests;
