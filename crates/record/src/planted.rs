//! Bugs on purpose: the proof that a check can fail.
//!
//! Without the feature `test-util` the question is a constant and the bugs are not in the binary.

/// A bug that a test plants to prove that a check catches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum PlantedBug {
    /// The high watermark passes what was appended but not flushed.
    AckBeforeFlush,
    /// The high watermark passes what the leader alone holds.
    AckBeforeEveryReplica,
    /// A leader counts what a follower says in another leader epoch, and a follower takes what another leader sends.
    NoEpochCheckOnFetch,
    /// A follower takes the high watermark of a leader before its own, as it is.
    HighWatermarkFromOldLeader,
    /// A follower begins by cutting its log to its own high watermark, as before KIP-101.
    TruncateToHighWatermark,
    /// A leader proposes a follower for the in-sync replicas that has fetched, and nothing more.
    ExpandWithoutCatchingUp,
    /// A leader goes by the lowest `min.insync.replicas` that it ever knew.
    MinInsyncClampedByStaleLeader,
    /// A message of an earlier lifetime of a broker counts as one of the present.
    BrokerEpochUnchecked,
    /// Eligible leader replicas are not kept, and the last in-sync replica leads again whatever it lost: as before KIP-966.
    ElrIgnored,
    /// A change of `min.insync.replicas` forgets who was eligible to lead.
    ElrEmptiedByConfigChange,
    /// A flush syncs files but not the directories that name new ones.
    NoDirectorySync,
    /// A flush that spans a roll syncs the new segment and forgets the order, reporting the whole as flushed.
    NewSegmentSyncedFirst,
    /// Recovery believes the index instead of scanning the log.
    RecoveryTrustsIndex,
    /// A batch's checksum is not looked at.
    CrcUnchecked,
    /// A file with unsynced bytes is closed, and a write-back error with it is lost.
    DirtyDescriptorClosed,
    /// A repeated batch of an idempotent producer is appended again.
    NoProducerDedup,
    /// The Raft vote is answered before it is durable.
    VoteNotFlushed,
    /// A snapshot of the metadata forgets who is in the group.
    SnapshotWithoutMembership,
    /// A commit is taken whoever makes it, in whatever epoch.
    CommitUnfenced,
    /// A commit that was held up on its way is taken after later ones of the same member.
    LateCommitTaken,
    /// A partition goes to its next owner before the one before it has given it up.
    TwoOwners,
    /// A coordinator serves before it has read everything that its group stored.
    ServeBeforeLoaded,
    /// Compaction drops a tombstone that some replica has not flushed yet.
    TombstonePurgedEarly,
    /// Compaction goes past the high watermark.
    CompactPastHighWatermark,
    /// A leader takes itself for the only one, whoever it was heard by.
    VouchedByNobody,
    /// What was sent to a member counts as processed, and is committed for it.
    CommitUnprocessed,
}

impl PlantedBug {
    /// Every bug, for tests that go through them all.
    pub const ALL: &'static [Self] = &[
        Self::AckBeforeFlush,
        Self::AckBeforeEveryReplica,
        Self::NoEpochCheckOnFetch,
        Self::HighWatermarkFromOldLeader,
        Self::TruncateToHighWatermark,
        Self::ExpandWithoutCatchingUp,
        Self::MinInsyncClampedByStaleLeader,
        Self::BrokerEpochUnchecked,
        Self::ElrIgnored,
        Self::ElrEmptiedByConfigChange,
        Self::NoDirectorySync,
        Self::NewSegmentSyncedFirst,
        Self::RecoveryTrustsIndex,
        Self::CrcUnchecked,
        Self::DirtyDescriptorClosed,
        Self::NoProducerDedup,
        Self::VoteNotFlushed,
        Self::SnapshotWithoutMembership,
        Self::CommitUnfenced,
        Self::LateCommitTaken,
        Self::TwoOwners,
        Self::ServeBeforeLoaded,
        Self::TombstonePurgedEarly,
        Self::CompactPastHighWatermark,
        Self::VouchedByNobody,
        Self::CommitUnprocessed,
    ];

    /// Whether this bug is planted on this thread or, failing that, in this process. Constant without `test-util`.
    #[inline]
    #[must_use]
    pub fn planted(self) -> bool {
        #[cfg(feature = "test-util")]
        {
            imp::planted(self)
        }
        #[cfg(not(feature = "test-util"))]
        {
            false
        }
    }
}

#[cfg(feature = "test-util")]
mod imp {
    use super::PlantedBug;
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local!(static HERE: Cell<Option<PlantedBug>> = const { Cell::new(None) });
    static EVERYWHERE: OnceLock<PlantedBug> = OnceLock::new();

    pub(super) fn planted(bug: PlantedBug) -> bool {
        HERE.get() == Some(bug) || EVERYWHERE.get() == Some(&bug)
    }

    impl PlantedBug {
        /// Runs `body` with this bug planted on the present thread.
        pub fn plant<T>(self, body: impl FnOnce() -> T) -> T {
            struct Reset(Option<PlantedBug>);
            impl Drop for Reset {
                fn drop(&mut self) {
                    HERE.set(self.0);
                }
            }
            let _reset = Reset(HERE.replace(Some(self)));
            body()
        }

        /// The bug with this name, written as here or in small letters with hyphens.
        #[must_use]
        pub fn named(name: &str) -> Option<Self> {
            let plain = |text: &str| text.replace('-', "").to_lowercase();
            let is = |bug: &&Self| plain(&format!("{bug:?}")) == plain(name);
            Self::ALL.iter().find(is).copied()
        }

        /// Plants this bug in the whole process, once and for good.
        pub fn plant_everywhere(self) {
            let _ = EVERYWHERE.set(self);
        }
    }
}
