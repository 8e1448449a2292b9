//! Epochs: counters that only grow, each fencing off what came before it.

use crate::newtype::int_newtype;

int_newtype! {
    /// Counts the leaders of one partition; every batch carries the epoch it was appended in (KIP-101).
    LeaderEpoch(u32)
}
int_newtype! {
    /// Counts every change of one partition's record in the metadata; the token of compare-and-set (KIP-497).
    PartitionEpoch(u64)
}
int_newtype! {
    /// One lifetime of a broker process: the Raft log index of its registration (KIP-903).
    BrokerEpoch(u64)
}
int_newtype! {
    /// How much of the metadata log an image holds: the applied Raft log index.
    MetadataVersion(u64)
}

impl LeaderEpoch {
    /// The epoch of a partition's first leader.
    pub const FIRST: Self = Self::new(0);

    /// The next epoch.
    ///
    /// # Panics
    /// Never in practice: 2^31 leader changes of one partition. The wire's epoch is a signed 32-bit integer.
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.get() < i32::MAX as u32, "leader epoch exhausted");
        Self::new(self.get() + 1)
    }
}

impl PartitionEpoch {
    /// The epoch of a partition as it is created.
    pub const FIRST: Self = Self::new(0);

    /// The next epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.get() + 1)
    }
}
