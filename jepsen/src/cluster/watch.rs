//! What the cluster says of itself: who leads, who is in sync.

use super::{Cluster, LOOK_EVERY, internal_address};
use crate::Result;
use quipu_client::{BrokerId, PartitionDescription, PartitionId};
use std::time::{Duration, Instant};

/// Who leads one partition.
#[derive(Clone, Debug)]
pub(crate) struct Lead {
    pub(crate) topic: String,
    pub(crate) partition: PartitionId,
    pub(crate) leader: BrokerId,
}

impl Cluster {
    /// Who leads what, as far as anybody does, of topics and of what the cluster keeps for itself.
    pub(crate) fn leads(&self) -> Result<Vec<Lead>> {
        let topics = self.ask(|admin| async move { admin.list_topics(true).await })?;
        let leads = topics.into_iter().flat_map(|topic| {
            let name = topic.name;
            topic.partitions.into_iter().filter_map(move |partition| {
                Some(Lead {
                    topic: name.clone(),
                    partition: partition.partition,
                    leader: partition.leader?,
                })
            })
        });
        Ok(leads.collect())
    }

    /// The node whose controller is active, if the cluster tells.
    pub(crate) fn active_controller(&self) -> Option<BrokerId> {
        let found = self.ask(|admin| async move { admin.controllers().await }).ok()?;
        let active = found
            .controllers
            .into_iter()
            .find(|controller| controller.active)?;
        self.ids()
            .into_iter()
            .find(|id| internal_address(*id) == active.address)
    }

    /// Waits until every partition has a leader and all its replicas in sync; whether it came to that.
    pub(crate) fn until_in_sync(&mut self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        let whole = |partition: &PartitionDescription| {
            partition.leader.is_some() && partition.in_sync_replicas.len() == partition.replicas.len()
        };
        loop {
            // It may have no words for it just now.
            let topics = self.ask(|admin| async move { admin.list_topics(true).await });
            if topics.is_ok_and(|topics| topics.iter().flat_map(|topic| &topic.partitions).all(whole)) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.look_after_nodes()?;
            std::thread::sleep(LOOK_EVERY * 5);
        }
    }
}
