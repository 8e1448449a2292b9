//! A partition thread and compaction: now and then it looks for logs with enough to clean, and hands them to the cleaner.

use super::{Worker, holds_records};
use quipu_record::TopicPartition;
use quipu_replication::{CleanEnd, Input, Now};

impl Worker {
    /// Looks at the compacted partitions, every now and then. While there are none there is no clock either.
    pub(super) fn look_for_cleaning(&mut self, now: Now) {
        if self.cleaning_at.is_none_or(|at| now.mono < at) {
            return;
        }
        let mut any = false;
        for owned in self.owned.values_mut() {
            if !owned.driver.is_compacted() || !holds_records(&owned.driver) {
                continue;
            }
            any = true;
            if let Some(job) = owned.driver.plan_cleaning(now) {
                // The cleaner ends only with the broker.
                let _ = self.parts.cleanings.send(job);
            }
        }
        self.cleaning_at = any.then(|| now.mono.after(self.parts.clean_backoff));
    }

    /// Starts the clock of cleanings, if it stands still and this partition is compacted.
    pub(super) fn wind_cleaning(&mut self, now: Now, at: TopicPartition) {
        if self.cleaning_at.is_none()
            && self
                .owned
                .get(&at)
                .is_some_and(|owned| owned.driver.is_compacted())
        {
            self.cleaning_at = Some(now.mono.after(self.parts.clean_backoff));
        }
    }

    /// A cleaning has ended.
    pub(super) fn cleaned(&mut self, now: Now, at: TopicPartition, end: CleanEnd) {
        self.step(now, at, Input::Cleaned(end));
    }
}
