//! What is known about where topics are led. Pure.
//!
//! News comes late and out of order (an old broker's answer, a hint on an error): it is taken only where it is not older
//! than what is known, by leader epoch within a topic and by metadata version across topics of one name.

use quipu_proto::{Failure, LeaderHint, scalars, v1};
use quipu_record::{BrokerId, LeaderEpoch, MetadataVersion, PartitionId, TopicId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where one partition is led.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Route {
    pub(crate) leader: Option<BrokerId>,
    pub(crate) epoch: LeaderEpoch,
}

/// One topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    /// By index.
    pub(crate) partitions: Vec<Route>,
    pub(crate) message_bytes_max: usize,
    version: MetadataVersion,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Table {
    cluster_id: String,
    version: MetadataVersion,
    /// Answers older than this are not asked for: this client has changed something at this version.
    floor: MetadataVersion,
    topics: BTreeMap<Arc<str>, Topic>,
    addresses: BTreeMap<BrokerId, String>,
}

impl Table {
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The newest version that any broker has told.
    pub(crate) fn version(&self) -> MetadataVersion {
        self.version
    }

    /// What a request for routes must ask for.
    pub(crate) fn floor(&self) -> MetadataVersion {
        self.floor
    }

    /// This client changed the metadata at this version, and wants to see it.
    pub(crate) fn raise_floor(&mut self, version: MetadataVersion) {
        self.floor = self.floor.max(version);
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(crate) fn address(&self, broker: BrokerId) -> Option<&str> {
        self.addresses.get(&broker).map(String::as_str)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.values().map(String::as_str)
    }

    /// Forgets a topic: the next look-up asks the cluster.
    pub(crate) fn forget(&mut self, name: &str) {
        self.topics.remove(name);
    }

    /// Takes an answer of the cluster's.
    pub(crate) fn take(&mut self, answer: &v1::GetRoutingResponse) -> Result<(), Failure> {
        let version = MetadataVersion::new(answer.metadata_version);
        if !answer.cluster_id.is_empty() {
            self.cluster_id.clone_from(&answer.cluster_id);
        }
        for broker in &answer.brokers {
            let id = BrokerId::new(broker.broker_id);
            if version >= self.version || !self.addresses.contains_key(&id) {
                self.addresses.insert(id, broker.endpoint.clone());
            }
        }
        for topic in &answer.topics {
            self.take_topic(version, topic)?;
        }
        self.version = self.version.max(version);
        Ok(())
    }

    fn take_topic(&mut self, version: MetadataVersion, topic: &v1::TopicRoute) -> Result<(), Failure> {
        let known = self.topics.get_mut(topic.name.as_str());
        if topic.topic_id.is_empty() {
            if known.is_some_and(|known| version >= known.version) {
                self.topics.remove(topic.name.as_str());
            }
            return Ok(());
        }
        let id = scalars::topic_id(&topic.topic_id)?;
        let news = Topic {
            id,
            partitions: routes(&topic.partitions),
            message_bytes_max: usize::try_from(topic.max_message_bytes).unwrap_or(usize::MAX),
            version,
        };
        match known {
            Some(known) if known.id == id => known.take(news),
            Some(known) if version < known.version => {}
            _ => {
                self.topics.insert(topic.name.as_str().into(), news);
            }
        }
        Ok(())
    }

    /// Takes a broker's word about who leads a partition; says whether that was news.
    pub(crate) fn hint(
        &mut self,
        name: &str,
        id: TopicId,
        partition: PartitionId,
        hint: &LeaderHint,
    ) -> bool {
        let Some(topic) = self.topics.get_mut(name).filter(|topic| topic.id == id) else {
            return false;
        };
        let Some(route) = topic.partitions.get_mut(partition.get() as usize) else {
            return false;
        };
        let said = Route {
            leader: Some(hint.broker),
            epoch: hint.epoch,
        };
        if said.epoch < route.epoch || said == *route {
            return false;
        }
        *route = said;
        self.addresses.insert(hint.broker, hint.endpoint.clone());
        true
    }
}

impl Topic {
    /// Newer news about the same topic.
    fn take(&mut self, news: Self) {
        let newer = news.version >= self.version;
        for (index, route) in news.partitions.into_iter().enumerate() {
            match self.partitions.get_mut(index) {
                Some(known) if route.epoch > known.epoch || (route.epoch == known.epoch && newer) => {
                    *known = route
                }
                Some(_) => {}
                None => self.partitions.push(route),
            }
        }
        if newer {
            self.version = news.version;
            self.message_bytes_max = news.message_bytes_max;
        }
    }
}

fn routes(partitions: &[v1::PartitionRoute]) -> Vec<Route> {
    let mut routes: Vec<_> = partitions
        .iter()
        .map(|route| {
            let leader = route.leader.map(BrokerId::new);
            let epoch = LeaderEpoch::new(route.leader_epoch);
            (route.partition, Route { leader, epoch })
        })
        .collect();
    routes.sort_by_key(|(partition, _)| *partition);
    // Dense from 0: a hole would shift all that follow.
    routes
        .into_iter()
        .zip(0..)
        .take_while(|((partition, _), index)| partition == index)
        .map(|((_, route), _)| route)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: TopicId = TopicId::from_u128(1);
    const NEW: TopicId = TopicId::from_u128(2);

    fn answer(version: u64, id: Option<TopicId>, routes: &[(Option<u32>, u32)]) -> v1::GetRoutingResponse {
        let partitions = (0..)
            .zip(routes)
            .map(|(partition, (leader, epoch))| v1::PartitionRoute {
                partition,
                leader: *leader,
                leader_epoch: *epoch,
            });
        v1::GetRoutingResponse {
            topics: vec![v1::TopicRoute {
                name: "t".into(),
                topic_id: id.map_or(String::new(), |id| id.to_string()),
                partitions: partitions.collect(),
                max_message_bytes: 1000,
            }],
            metadata_version: version,
            ..Default::default()
        }
    }

    fn leaders(table: &Table) -> Vec<(Option<u32>, u32)> {
        let routes = table.topic("t").unwrap().partitions.iter();
        routes
            .map(|r| (r.leader.map(BrokerId::get), r.epoch.get()))
            .collect()
    }

    #[test]
    fn an_older_leader_epoch_is_not_taken() {
        let mut table = Table::default();
        table
            .take(&answer(10, Some(NEW), &[(Some(1), 5), (Some(1), 5)]))
            .unwrap();
        table
            .take(&answer(9, Some(NEW), &[(Some(2), 4), (Some(2), 6)]))
            .unwrap();
        assert_eq!(leaders(&table), [(Some(1), 5), (Some(2), 6)]);
        // The same epoch by an older broker that has not heard of the leader's end.
        table.take(&answer(8, Some(NEW), &[(None, 5)])).unwrap();
        assert_eq!(leaders(&table)[0], (Some(1), 5));
        table.take(&answer(11, Some(NEW), &[(None, 5)])).unwrap();
        assert_eq!(leaders(&table)[0], (None, 5));
    }

    #[test]
    fn a_topic_created_again_replaces_the_old_and_not_the_other_way() {
        let mut table = Table::default();
        table.take(&answer(10, Some(OLD), &[(Some(1), 5)])).unwrap();
        table.take(&answer(12, Some(NEW), &[(Some(3), 0)])).unwrap();
        table.take(&answer(11, Some(OLD), &[(Some(1), 6)])).unwrap();
        table.take(&answer(11, None, &[])).unwrap();
        assert_eq!(leaders(&table), [(Some(3), 0)]);
        table.take(&answer(13, None, &[])).unwrap();
        assert!(table.topic("t").is_none());
    }

    #[test]
    fn a_hint_is_taken_unless_older() {
        let mut table = Table::default();
        table.take(&answer(10, Some(NEW), &[(Some(1), 5)])).unwrap();
        let hint = |broker, epoch| LeaderHint {
            broker: BrokerId::new(broker),
            endpoint: format!("b{broker}:1"),
            epoch: LeaderEpoch::new(epoch),
        };
        let zero = PartitionId::new(0);
        assert!(!table.hint("t", NEW, zero, &hint(2, 4)), "older");
        assert!(!table.hint("t", OLD, zero, &hint(2, 6)), "of another topic");
        assert!(
            !table.hint("t", NEW, PartitionId::new(1), &hint(2, 6)),
            "no such partition"
        );
        assert!(table.hint("t", NEW, zero, &hint(2, 6)));
        assert!(!table.hint("t", NEW, zero, &hint(2, 6)), "known by now");
        assert_eq!(leaders(&table), [(Some(2), 6)]);
        assert_eq!(table.address(BrokerId::new(2)), Some("b2:1"));
    }

    #[test]
    fn partitions_are_dense_from_zero() {
        let mut odd = answer(1, Some(NEW), &[(Some(1), 0), (Some(1), 0), (Some(1), 0)]);
        odd.topics[0].partitions.remove(1);
        let mut table = Table::default();
        table.take(&odd).unwrap();
        assert_eq!(leaders(&table).len(), 1);
    }
}
