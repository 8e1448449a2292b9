//! What can be looked up of the data plane, for metrics.

use super::DataPlane;

/// A look at the data plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Replicas on this broker.
    pub replicas: usize,
    /// Of these, led here.
    pub leading: usize,
    /// Bytes of produced batches that wait in the broker.
    pub queued_bytes: usize,
    /// Bytes of log over all replicas.
    pub log_bytes: u64,
}

impl DataPlane {
    /// Looks at everything once; costs a walk over the partitions.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            queued_bytes: self.budget.in_use(),
            ..Stats::default()
        };
        for topic in self.topics.all() {
            for replica in topic.replicas().iter().flatten() {
                let view = replica.view();
                stats.replicas += 1;
                stats.leading += usize::from(view.leading.is_some());
                stats.log_bytes += replica.reader.size_bytes();
            }
        }
        stats
    }
}
