//! What there is to say of the groups coordinated here, for metrics: gathered now and then while somebody scrapes, since
//! the lag of a group is known to other brokers.

use super::{Groups, Inner, ShardState};
use crate::data_plane::DataPlane;
use crate::partition::topics::Topic;
use crate::service::forward;
use quipu_coordinator::{GroupId, GroupState, OffsetsQuery, Request, Response};
use quipu_proto::v1;
use quipu_proto::v1::start_position::Position;
use quipu_record::{Offset, TopicPartition};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Series of lag at most; what is beyond is counted and left out.
const LAGS_MAX: usize = 10_000;
/// Figures are gathered at most so often.
const PAUSE: Duration = Duration::from_secs(5);
/// What takes longer is left out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Groups that are asked for at once.
const AT_ONCE: usize = 256;

/// The groups coordinated here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Figures {
    /// How many are in each state.
    pub(crate) groups: BTreeMap<&'static str, u64>,
    /// Members of all of them.
    pub(crate) members: u64,
    /// Groups whose offsets expire soon.
    pub(crate) expiring: u64,
    /// Of each group and partition.
    pub(crate) lags: Vec<Lag>,
    /// Lags that are left out.
    pub(crate) left_out: u64,
}

/// How far a group is behind in a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lag {
    /// The group.
    pub(crate) group: GroupId,
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The partition.
    pub(crate) at: TopicPartition,
    /// Records that it has not processed.
    pub(crate) records: u64,
}

/// The figures as they were last, and the wish for newer ones.
#[derive(Debug, Default)]
pub(super) struct Latest {
    figures: Mutex<Arc<Figures>>,
    wanted: Notify,
}

impl Latest {
    /// The last figures. Newer ones will be there the next time.
    pub(super) fn take(&self) -> Arc<Figures> {
        self.wanted.notify_one();
        Arc::clone(&self.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, figures: Figures) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(figures);
    }
}

/// The task that gathers.
#[derive(Debug)]
pub(super) struct Gathering(AbortHandle);

impl Gathering {
    /// Gathers whenever somebody wants to know, for as long as there are groups at all.
    pub(super) fn start(groups: Weak<Inner>, latest: Arc<Latest>) -> Self {
        let gathering = async move {
            loop {
                latest.wanted.notified().await;
                let Some(inner) = groups.upgrade() else { return };
                let figures = Groups { inner }.gather().await;
                latest.put(figures);
                tokio::time::sleep(PAUSE).await;
            }
        };
        Self(tokio::spawn(gathering).abort_handle())
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is committed, by partition.
type Committed = HashMap<TopicPartition, Vec<(GroupId, Offset)>>;

impl Groups {
    async fn gather(&self) -> Figures {
        let until = Instant::now() + PATIENCE;
        let mut figures = Figures::default();
        for state in ["empty", "assigning", "reconciling", "stable"] {
            figures.groups.insert(state, 0);
        }
        // What is loading is not there yet.
        let active = self
            .states()
            .into_iter()
            .filter(|(_, state)| matches!(state, ShardState::Active(_)));
        if active.count() == 0 {
            return figures;
        }
        let groups = self.list_here(until).await.unwrap_or_default();
        for summary in &groups {
            *figures.groups.entry(state_name(summary.state)).or_default() += 1;
            figures.members += summary.members as u64;
        }
        let names = groups.into_iter().map(|summary| summary.group).collect();
        let committed = self.committed(names, until).await;
        figures.expiring = self.expiring_here().await.len() as u64;
        let ends = ends(self.plane(), committed.keys().copied()).await;
        for (at, groups) in committed {
            let (Some(topic), Some(end)) = (self.plane().topics.get(at.topic), ends.get(&at)) else {
                continue;
            };
            figures.add(&topic, at, *end, groups);
        }
        figures
            .lags
            .sort_by(|a, b| (&a.group, &a.topic, a.at).cmp(&(&b.group, &b.topic, b.at)));
        figures
    }

    /// What groups have committed. Asked many at a time, since one round of followers vouches for all of them.
    async fn committed(&self, names: Vec<GroupId>, until: Instant) -> Committed {
        let mut committed = Committed::new();
        for names in names.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for group in names.iter().cloned() {
                let groups = self.clone();
                asked.spawn(async move {
                    let query = OffsetsQuery {
                        group: group.clone(),
                        partitions: None,
                    };
                    let offsets = groups.ask_here(&group, Request::Offsets(query), until).await;
                    (group, offsets)
                });
            }
            while let Some(answered) = asked.join_next().await {
                // What failed is left out.
                if let Ok((group, Ok(Response::Offsets(offsets)))) = answered {
                    for (at, one) in offsets {
                        let one = one.map(|one| (group.clone(), one.offset));
                        committed.entry(at).or_default().extend(one);
                    }
                }
            }
        }
        committed
    }
}

impl Figures {
    fn add(&mut self, topic: &Topic, at: TopicPartition, end: u64, groups: Vec<(GroupId, Offset)>) {
        for (group, offset) in groups {
            if self.lags.len() == LAGS_MAX {
                self.left_out += 1;
                continue;
            }
            self.lags.push(Lag {
                group,
                topic: Arc::clone(&topic.info.name),
                at,
                records: end.saturating_sub(offset.get()),
            });
        }
    }
}

fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "empty",
        GroupState::Assigning => "assigning",
        GroupState::Reconciling => "reconciling",
        GroupState::Stable => "stable",
    }
}

/// High watermarks: of what is led here as last published, else as the leader says.
async fn ends(plane: &DataPlane, all: impl Iterator<Item = TopicPartition>) -> HashMap<TopicPartition, u64> {
    let mut ends = HashMap::new();
    let mut elsewhere: BTreeMap<_, (forward::Peer, Vec<TopicPartition>)> = BTreeMap::new();
    for at in all {
        if let Some(peer) = plane.elsewhere(at) {
            let (_, asked) = elsewhere.entry(peer.broker).or_insert_with(|| (peer, Vec::new()));
            asked.push(at);
        } else if let Some(view) = plane.view(at)
            && view.leading.is_some()
        {
            ends.insert(at, view.high_watermark.get());
        }
    }
    for (peer, asked) in elsewhere.into_values() {
        let queries = asked.iter().filter_map(|at| query(plane, *at)).collect();
        let Ok(Ok(results)) =
            tokio::time::timeout(PATIENCE, forward::list_offsets(&peer, queries, PATIENCE)).await
        else {
            continue;
        };
        let found = results.into_iter().filter(|result| result.error.is_none());
        for found in found {
            let at = asked
                .iter()
                .find(|at| at.partition.get() == found.partition && at.topic.to_string() == found.topic_id);
            if let Some(at) = at {
                ends.insert(*at, found.offset);
            }
        }
    }
    ends
}

fn query(plane: &DataPlane, at: TopicPartition) -> Option<v1::OffsetQuery> {
    let topic = plane.topics.get(at.topic)?;
    Some(v1::OffsetQuery {
        topic: topic.info.name.to_string(),
        topic_id: Some(topic.info.id_text.clone()),
        partition: at.partition.get(),
        at: Some(v1::StartPosition {
            position: Some(Position::Latest(v1::Latest {})),
        }),
    })
}
