//! What can be asked of a member of a group.

use super::{GroupConsumer, MemberEpoch, key};
use crate::consumer::Position;
use quipu_record::PartitionId;

impl GroupConsumer {
    /// What is this member's and where it stands, by topic and partition. Of what came or went since the last call of
    /// [`GroupConsumer::next`] the listener has not heard yet.
    #[must_use]
    pub fn assignment(&self) -> Vec<Position> {
        let state = self.shared.lock();
        let positions = state.core.partitions().map(|(key, partition)| Position {
            high_watermark: partition.high_watermark,
            log_start: partition.log_start,
            paused: partition.paused,
            ..Position::at(key, partition.place)
        });
        positions.collect()
    }

    /// This member's id, and how far it has followed the group.
    #[must_use]
    pub fn member(&self) -> (String, MemberEpoch) {
        let state = self.shared.lock();
        (state.core.member().to_owned(), state.core.epoch())
    }

    /// Whether the group has said that a partition is this member's since it was last out of touch with it. Until it has,
    /// the partition may be another's already: no records of it are given, and if it is gone the listener hears of that.
    #[must_use]
    pub fn confirmed(&self, topic: &str, partition: PartitionId) -> bool {
        self.shared.lock().core.confirmed(&key(topic, partition))
    }

    /// Whether a broker hosts this member at the moment.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.shared.lock().core.connected()
    }
}
