//! Partitions of a stream that other brokers lead: each leader is asked for all of them at once, again and again, and what
//! it has is delivered as if it had been read here. Credit, pauses and places stay with the stream.

use super::cursor::{Cursors, Place, There};
use super::open::PATIENCE;
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::service::forward::{self, Placed, Target};
use quipu_proto::v1::start_position::Position;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{BrokerId, ErrorCode, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How long a leader may wait with its answer when it has nothing.
const WAIT_MS: u32 = 500;
/// When to look again for a leader that is not there.
const AGAIN: Duration = Duration::from_millis(100);

/// What a stream asks of other brokers.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// Partitions that want something and are not asked for.
    wanted: BTreeSet<u32>,
    /// By leader.
    polls: BTreeMap<BrokerId, Poll>,
    answers: JoinSet<(BrokerId, u64, Placed)>,
    /// Partitions whose leader was not there, and when it is looked for again.
    later: BTreeSet<u32>,
    again: Option<Instant>,
    last: u64,
}

/// A question that is out.
#[derive(Debug)]
struct Poll {
    number: u64,
    /// What is asked for: the partitions, and how often each had been moved.
    asked: BTreeMap<u32, u32>,
    task: AbortHandle,
}

/// What there is to do for a stream.
#[derive(Debug)]
pub(super) enum News {
    /// A leader's answer; who was moved meanwhile is not in it.
    Answered(Vec<(u32, v1::PartitionData)>),
    /// Leaders may be looked for again.
    Again(BTreeSet<u32>),
}

/// Finds where to begin in a partition that another broker leads.
pub(super) async fn open(
    plane: &DataPlane,
    context: &RequestContext,
    target: &Target,
    start: Option<v1::StartPosition>,
) -> Result<(There, Offset), Failure> {
    let earliest = v1::StartPosition {
        position: Some(Position::Earliest(v1::Earliest {})),
    };
    let latest = v1::StartPosition {
        position: Some(Position::Latest(v1::Latest {})),
    };
    let query = |at| v1::OffsetQuery {
        topic: target.topic.name.to_string(),
        topic_id: Some(target.topic.id_text.clone()),
        partition: target.at.partition.get(),
        at: Some(at),
    };
    let queries = [start.unwrap_or(earliest), earliest, latest].map(query).to_vec();
    let patience = context.at_most(PATIENCE);
    let relayed = |failure| plane.relayed(failure, target, &context.listener);
    let results = forward::list_offsets(&target.peer, queries, patience)
        .await
        .map_err(relayed)?;
    let found = |place: usize| {
        let result = results.get(place).cloned().unwrap_or_default();
        match result.error {
            Some(error) => Err(relayed(Failure::from(error))),
            None => Ok(result),
        }
    };
    let begin = found(0)?;
    let there = There {
        topic: Arc::clone(&target.topic),
        at: target.at,
        leader_epoch: begin.leader_epoch,
        high_watermark: found(2)?.offset,
        log_start: found(1)?.offset,
    };
    Ok((there, scalars::offset("offset", begin.offset)?))
}

impl Remote {
    /// A partition wants what comes next in it; `moves`: how often it had been moved.
    pub(super) fn want(&mut self, key: u32, moves: u32) {
        if !self
            .polls
            .values()
            .any(|poll| poll.asked.get(&key) == Some(&moves))
        {
            self.wanted.insert(key);
        }
    }

    /// It is wanted no more.
    pub(super) fn forget(&mut self, key: u32) {
        self.wanted.remove(&key);
        self.later.remove(&key);
    }

    /// Its leader is not there: it is looked for again in a moment.
    pub(super) fn later(&mut self, key: u32) {
        self.later.insert(key);
        self.again.get_or_insert_with(|| Instant::now() + AGAIN);
    }

    /// Asks for what is wanted, `bytes_max` of each leader. Returns those that this broker leads by now.
    pub(super) fn ask(
        &mut self,
        plane: &Arc<DataPlane>,
        listener: &Arc<str>,
        cursors: &mut Cursors,
        bytes_max: usize,
    ) -> Vec<u32> {
        let mut here = Vec::new();
        let mut leaders = BTreeMap::<BrokerId, Vec<u32>>::new();
        for key in std::mem::take(&mut self.wanted) {
            let place = &cursors.get(key).place;
            match plane.elsewhere(place.at()) {
                Some(peer) => leaders.entry(peer.broker).or_default().push(key),
                None if plane
                    .topics
                    .replica(place.at())
                    .is_some_and(|r| r.view().leading.is_some()) =>
                {
                    here.push(key);
                }
                None => self.later(key),
            }
        }
        for (leader, keys) in leaders {
            self.poll(plane, listener, cursors, bytes_max, leader, keys);
        }
        here
    }

    /// Asks a leader for these, and for what it was asked before: that question is withdrawn.
    fn poll(
        &mut self,
        plane: &Arc<DataPlane>,
        listener: &Arc<str>,
        cursors: &mut Cursors,
        bytes_max: usize,
        leader: BrokerId,
        mut keys: Vec<u32>,
    ) {
        if let Some(before) = self.polls.remove(&leader) {
            before.task.abort();
            keys.extend(before.asked.into_keys());
            keys.sort_unstable();
            keys.dedup();
        }
        let mut parts = Vec::with_capacity(keys.len());
        let mut asked = BTreeMap::new();
        for key in keys {
            let cursor = cursors.get(key);
            let (Place::There(there), true) = (&cursor.place, cursor.is_active()) else {
                continue;
            };
            let Some(peer) = plane.elsewhere(there.at) else {
                self.later(key);
                continue;
            };
            let target = Target {
                peer,
                at: there.at,
                topic: Arc::clone(&there.topic),
            };
            let part = v1::FetchPartition {
                topic: there.topic.name.to_string(),
                topic_id: Some(there.topic.id_text.clone()),
                partition: there.at.partition.get(),
                offset: cursor.next.get(),
                leader_epoch: None,
                max_bytes: u32::try_from(bytes_max).unwrap_or(u32::MAX),
            };
            asked.insert(key, cursor.moves);
            parts.push((key as usize, target, part));
        }
        if parts.is_empty() {
            return;
        }
        self.last += 1;
        let number = self.last;
        let like = v1::FetchRequest {
            min_bytes: 1,
            max_wait_ms: WAIT_MS,
            format: v1::Format::Encoded.into(),
            max_bytes: u32::try_from(bytes_max).unwrap_or(u32::MAX),
            ..v1::FetchRequest::default()
        };
        let (plane, listener) = (Arc::clone(plane), Arc::clone(listener));
        let task = self.answers.spawn(async move {
            let data = forward::fetch_from(&plane, &listener, parts, like).await;
            (leader, number, data)
        });
        self.polls.insert(leader, Poll { number, asked, task });
    }

    /// Waits for something to do. Cancel safe.
    pub(super) async fn next(&mut self, cursors: &mut Cursors) -> News {
        loop {
            let again = self.again;
            let time = async {
                match again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let answered = tokio::select! {
                Some(answered) = self.answers.join_next() => answered,
                () = time => {
                    self.again = None;
                    return News::Again(std::mem::take(&mut self.later));
                }
                else => std::future::pending().await,
            };
            // What was withdrawn ends as an error.
            let Ok((leader, number, data)) = answered else {
                continue;
            };
            if self.polls.get(&leader).is_none_or(|poll| poll.number != number) {
                continue;
            }
            let Some(poll) = self.polls.remove(&leader) else {
                continue;
            };
            let data = data.into_iter().filter_map(|(key, data)| {
                let key = u32::try_from(key).ok()?;
                let cursor = cursors.get(key);
                let same = poll.asked.get(&key) == Some(&cursor.moves) && cursor.is_active();
                same.then_some((key, data))
            });
            return News::Answered(data.collect());
        }
    }
}

/// Whether another leader, or the same a moment later, may say otherwise.
pub(super) fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeader
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::ShuttingDown
            | ErrorCode::NotReady
    )
}
