//! What an earlier life left here that is not this broker's any more: of topics that were deleted, and replicas that were
//! given to others while it was away, since they were being added to a partition that then grew without them. It is deleted
//! as the broker starts: with the first metadata of its own registration, never by older, never by later metadata.
//!
//! - Older metadata, which the logs may have been opened by, need not show yet what this broker was given since.
//! - Later metadata comes late. By the time that it says that a replica was taken away, the replica may have been given back,
//!   and be in sync by what was said of its log before. At the first no such word is out: nothing that an earlier life said
//!   counts once this one is registered, and this one has said nothing yet.

use super::DataPlane;
use super::assign::OpenPlaneError;
use quipu_metadata::{Image, Partition};
use quipu_record::TopicPartition;
use std::collections::BTreeSet;

impl DataPlane {
    /// Deletes what is not this broker's by `image`, the first of its registration that is put into effect. No replica here
    /// has been told yet to follow or to lead. `found`: what the data directory had of, open or not.
    pub(super) fn depart(&self, image: &Image, found: &[TopicPartition]) -> Result<(), OpenPlaneError> {
        let known = self.topics.all();
        let hosted = known.iter().flat_map(|topic| topic.replicas().to_vec());
        let hosted: BTreeSet<_> = hosted.flatten().map(|replica| replica.at).collect();
        let (open, closed): (Vec<_>, Vec<_>) = hosted
            .iter()
            .chain(found)
            .filter(|at| self.is_of_others(image, **at))
            .partition(|at| hosted.contains(at));
        let open: BTreeSet<_> = open.into_iter().copied().collect();
        if !open.is_empty() {
            tracing::info!(partitions = ?open, "deleting replicas that are other brokers' now");
            for topic in known {
                let mut replicas = topic.replicas().to_vec();
                for place in &mut replicas {
                    place.take_if(|replica| open.contains(&replica.at));
                }
                topic.set_replicas(replicas);
            }
            self.delete_logs(open.into_iter())?;
        }
        for at in closed {
            tracing::info!(partition = %at, "deleting what is left of a replica that is not this broker's");
            self.dir.delete_partition(*at)?;
        }
        Ok(())
    }

    /// Whether the topic is gone, or others have the partition: one leads it, who holds all that was committed, and another
    /// one is in sync. Otherwise what is here may be the only other copy of anything, and is kept.
    fn is_of_others(&self, image: &Image, at: TopicPartition) -> bool {
        let of_others = |state: &Partition| {
            let enough = usize::from(state.min_insync).max(2);
            let whole = state.leader.is_some() && state.isr.len() >= enough;
            whole && !state.replicas.contains(self.config.broker)
        };
        // All that an earlier life knew of is in this image, or was deleted.
        image.topic(at.topic).is_none() || image.partition(at).is_some_and(of_others)
    }
}
