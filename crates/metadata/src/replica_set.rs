//! A few broker ids, small: three or fewer live inside the 16 bytes of the type itself.

use quipu_record::BrokerId;
use std::fmt;

/// As many as most partitions have replicas.
const INLINE: usize = 3;

/// An ordered list of distinct brokers: replicas (preferred leader first), in-sync or eligible ones.
#[derive(Clone)]
pub struct ReplicaSet(Repr);

#[derive(Clone)]
enum Repr {
    Inline {
        len: u8,
        ids: [BrokerId; INLINE],
    },
    /// One pointer, where a slice would take two.
    Heap(Box<Box<[BrokerId]>>),
}

impl ReplicaSet {
    /// Nobody.
    pub const EMPTY: Self = Self(Repr::Inline {
        len: 0,
        ids: [BrokerId::new(0); INLINE],
    });

    /// Only this broker.
    #[must_use]
    pub fn only(broker: BrokerId) -> Self {
        Self::from_iter([broker])
    }

    /// The brokers, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[BrokerId] {
        match &self.0 {
            Repr::Inline { len, ids } => &ids[..usize::from(*len)],
            Repr::Heap(ids) => ids,
        }
    }

    /// The brokers, in order.
    pub fn iter(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.as_slice().iter().copied()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `broker` is in it.
    #[must_use]
    pub fn contains(&self, broker: BrokerId) -> bool {
        self.as_slice().contains(&broker)
    }

    /// This set without those for which `gone` is true.
    #[must_use]
    pub fn without(&self, mut gone: impl FnMut(BrokerId) -> bool) -> Self {
        self.iter().filter(|b| !gone(*b)).collect()
    }

    /// Whether both hold the same brokers, in whatever order.
    #[must_use]
    pub fn same_members(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|b| other.contains(b))
    }
}

impl FromIterator<BrokerId> for ReplicaSet {
    /// Keeps the first of equal ids.
    fn from_iter<I: IntoIterator<Item = BrokerId>>(brokers: I) -> Self {
        let mut ids = [BrokerId::new(0); INLINE];
        let mut len = 0usize;
        let mut heap: Vec<BrokerId> = Vec::new();
        for broker in brokers {
            if heap.is_empty() {
                if ids[..len].contains(&broker) {
                    continue;
                }
                if len < INLINE {
                    ids[len] = broker;
                    len += 1;
                    continue;
                }
                heap.extend_from_slice(&ids);
                heap.push(broker);
            } else if !heap.contains(&broker) {
                heap.push(broker);
            }
        }
        if heap.is_empty() {
            // At most INLINE, hence it fits.
            Self(Repr::Inline {
                len: u8::try_from(len).unwrap_or(0),
                ids,
            })
        } else {
            Self(Repr::Heap(Box::new(heap.into_boxed_slice())))
        }
    }
}

impl Default for ReplicaSet {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for ReplicaSet {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for ReplicaSet {}

impl fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(BrokerId::get)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u32]) -> ReplicaSet {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    #[test]
    fn stays_small() {
        assert_eq!(size_of::<ReplicaSet>(), 16);
    }

    #[test]
    fn keeps_order_and_drops_repeats_inline_and_on_the_heap() {
        for n in 0..12u32 {
            let ids: Vec<u32> = (0..n).rev().collect();
            let twice: Vec<u32> = ids.iter().chain(&ids).copied().collect();
            let set = set(&twice);
            assert_eq!(set.iter().map(BrokerId::get).collect::<Vec<_>>(), ids);
            assert_eq!(set.len(), ids.len());
            assert_eq!(set.is_empty(), n == 0);
        }
    }

    #[test]
    fn without_and_same_members() {
        assert_eq!(set(&[3, 1, 2]).without(|b| b.get() == 1), set(&[3, 2]));
        assert!(set(&[1, 2, 3]).same_members(&set(&[3, 2, 1])));
        assert!(!set(&[1, 2]).same_members(&set(&[1, 3])));
        assert_ne!(set(&[1, 2]), set(&[2, 1]));
    }
}
