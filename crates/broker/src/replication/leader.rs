//! The leader's end of one stream: what the follower named, what it was told, what it wants next.
//!
//! A partition stands in line while there may be something to say about it. It gets there by the follower's word (its
//! position was judged), or by news (the view changed); it leaves the line when it has been looked at. Data goes out once:
//! until the follower has taken an answer in, what it says about a partition in that answer is how far it has flushed.

use super::wire;
use crate::data_plane::DataPlane;
use crate::partition::exchange::Verdicts;
use crate::partition::replica::Replica;
use crate::partition::watch::{News, Watch};
use crate::service::read;
use quipu_proto::{EncodedBatches, Failure, internal};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, TopicPartition};
use quipu_replication::rules::fetch_session::{LeaderPart, News as Told};
use quipu_replication::{FetchToken, FollowerFetch, Position, Tick, Verdict};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Answers whose moments are remembered: more than a follower leaves unanswered requests.
const ANSWERED_MAX: usize = 16;

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Its number.
    pub(super) epoch: u64,
    /// Bytes of batches that the answer may have.
    pub(super) max_bytes: usize,
    /// When it is answered whatever there is.
    pub(super) until: tokio::time::Instant,
}

impl Asked {
    /// The answer that says nothing.
    pub(super) fn nothing(self) -> internal::ReplicateResponse {
        internal::ReplicateResponse {
            session_epoch: self.epoch,
            ..internal::ReplicateResponse::default()
        }
    }
}

/// One partition of a session.
#[derive(Debug)]
struct Part {
    at: TopicPartition,
    /// What this broker has of it, and the session's watch on that.
    here: Option<(Arc<Replica>, Arc<Watch>)>,
    /// Where the follower stands, and what it was told.
    told: LeaderPart,
    /// The leadership under which the position was judged last.
    judged_in: Option<LeaderEpoch>,
    say: Say,
    in_line: bool,
}

/// What there is to say about a partition.
#[derive(Clone, Copy, Debug)]
enum Say {
    /// Nothing, before its position was judged, or after the follower was told off.
    Nothing,
    /// Whatever is new.
    News,
    /// Something that the follower must act upon.
    Verdict(Verdict),
}

/// One stream's state.
#[derive(Debug)]
pub(super) struct Session {
    plane: Arc<DataPlane>,
    broker: BrokerId,
    broker_epoch: BrokerEpoch,
    pub(super) news: Arc<News>,
    /// By key; `None` where the follower forgot one.
    parts: Vec<Option<Part>>,
    free: Vec<u32>,
    keys: HashMap<TopicPartition, u32>,
    line: VecDeque<u32>,
    /// Partitions of which nothing is here (yet).
    missing: Vec<u32>,
    /// Batches on the way: the request they answer, and of which partition they are.
    on_the_way: VecDeque<(u64, u32)>,
    /// Partitions whose log start has passed the follower's place since it was judged.
    overtaken: Vec<u32>,
    last: u64,
    /// When answers were given, by request, that the follower has not said to have.
    answered: VecDeque<(u64, Tick)>,
}

impl Session {
    pub(super) fn new(plane: Arc<DataPlane>, broker: BrokerId, broker_epoch: BrokerEpoch) -> Self {
        let now = plane.clock.tick(Instant::now());
        Self {
            plane,
            broker,
            broker_epoch,
            news: News::new(broker, broker_epoch, now),
            parts: Vec::new(),
            free: Vec::new(),
            keys: HashMap::new(),
            line: VecDeque::new(),
            missing: Vec::new(),
            on_the_way: VecDeque::new(),
            overtaken: Vec::new(),
            last: 0,
            answered: VecDeque::new(),
        }
    }

    /// Takes in a request; on return its positions have been judged. `None`: it is not the session's next.
    pub(super) async fn take(
        &mut self,
        request: internal::ReplicateRequest,
    ) -> Result<Option<Asked>, Failure> {
        let next = request.session_epoch == self.last + 1;
        let same = request.broker_id == self.broker.get() && request.broker_epoch == self.broker_epoch.get();
        if !next || !same {
            return Ok(None);
        }
        self.last = request.session_epoch;
        for gone in &request.forget {
            self.forget(wire::partition(&gone.topic_id, gone.partition)?);
        }
        let mut judge = Vec::with_capacity(request.positions.len());
        for position in &request.positions {
            let (at, position) = wire::position(position)?;
            judge.push(self.set(at, position));
        }
        self.taken(request.taken);
        judge.append(&mut self.found());
        self.judge(judge).await;
        // After the positions, so that nobody is said to stand where it stood before them.
        let begun = self.begun(request.answered);
        self.news.hear(self.plane.clock.tick(Instant::now()), begun);
        let wait = std::time::Duration::from_millis(request.max_wait_ms.into());
        Ok(Some(Asked {
            epoch: request.session_epoch,
            max_bytes: request.max_bytes as usize,
            until: tokio::time::Instant::now() + wait.min(self.plane.config.replication.fetch_wait),
        }))
    }

    /// A request is about to be answered.
    pub(super) fn answering(&mut self, epoch: u64) {
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        let now = self.plane.clock.tick(Instant::now());
        self.answered.push_back((epoch, now));
    }

    /// A moment before which a request was certainly not begun: when the last answer was given that had come to the
    /// follower by then. `None`: none had.
    fn begun(&mut self, answered: u64) -> Option<Tick> {
        let mut begun = None;
        while let Some((epoch, at)) = self.answered.front().copied()
            && epoch <= answered
        {
            begun = Some(at);
            self.answered.pop_front();
        }
        begun
    }

    /// Notes a position; returns the partition's key.
    fn set(&mut self, at: TopicPartition, position: Position) -> u32 {
        if let Some(key) = self.keys.get(&at).copied() {
            if let Some(part) = self.part(key) {
                part.told.stands(position);
                if let Some((_, watch)) = &part.here {
                    watch.set_leader_epoch(position.leader_epoch);
                }
            }
            return key;
        }
        let key = self.free.pop().unwrap_or_else(|| {
            self.parts.push(None);
            u32::try_from(self.parts.len() - 1).unwrap_or(u32::MAX)
        });
        self.keys.insert(at, key);
        let here = self.watch(key, at, position.leader_epoch);
        if here.is_none() {
            self.missing.push(key);
        }
        self.parts[key as usize] = Some(Part {
            at,
            here,
            told: LeaderPart::new(position),
            judged_in: None,
            say: Say::Nothing,
            in_line: false,
        });
        key
    }

    fn watch(&self, key: u32, at: TopicPartition, epoch: LeaderEpoch) -> Option<(Arc<Replica>, Arc<Watch>)> {
        let replica = self.plane.topics.replica(at)?;
        let watch = Watch::begin(&replica.watches, &self.news, key, epoch);
        Some((replica, watch))
    }

    fn forget(&mut self, at: TopicPartition) {
        let Some(key) = self.keys.remove(&at) else {
            return;
        };
        if let Some(Part {
            here: Some((replica, watch)),
            ..
        }) = self.parts[key as usize].take()
        {
            watch.end(&replica.watches);
        }
        self.line.retain(|other| *other != key);
        self.missing.retain(|other| *other != key);
        self.on_the_way.retain(|(_, other)| *other != key);
        self.free.push(key);
    }

    /// The follower has taken in all answers up to this request's.
    fn taken(&mut self, epoch: u64) {
        while let Some((sent, key)) = self.on_the_way.front().copied()
            && sent <= epoch
        {
            self.on_the_way.pop_front();
            if let Some(part) = self.part(key)
                && part.told.taken(sent)
            {
                self.enqueue(key);
            }
        }
    }

    /// Those that were missing and are here by now: the follower's metadata was ahead of ours.
    fn found(&mut self) -> Vec<u32> {
        let mut found = Vec::new();
        for key in std::mem::take(&mut self.missing) {
            let Some(part) = self.parts.get(key as usize).and_then(Option::as_ref) else {
                continue;
            };
            let here = self.watch(key, part.at, part.told.position().leader_epoch);
            match (here, self.part(key)) {
                (Some(here), Some(part)) => {
                    part.here = Some(here);
                    found.push(key);
                }
                _ => self.missing.push(key),
            }
        }
        found
    }

    /// Has positions held against the logs, each by the thread that owns it.
    async fn judge(&mut self, keys: Vec<u32>) {
        let (broker, broker_epoch) = (self.broker, self.broker_epoch);
        let mut fetches = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(part) = self.part(key) else { continue };
            let Some((replica, _)) = &part.here else {
                part.say = Say::Verdict(Verdict::Refused(ErrorCode::UnknownTopicOrPartition));
                self.enqueue(key);
                continue;
            };
            // Before it is judged: a change in between is news.
            part.judged_in = replica.view().leading.map(|leading| leading.epoch);
            let fetch = FollowerFetch {
                token: FetchToken(key.into()),
                broker,
                broker_epoch,
                position: part.told.position(),
            };
            fetches.push((part.at, fetch));
        }
        if fetches.is_empty() {
            return;
        }
        let (answer, mut verdicts) = mpsc::unbounded_channel();
        self.plane.threads.follower_positions(fetches, answer);
        // Ends when each thread has answered, or has ended without.
        while let Some(judged) = verdicts.recv().await {
            self.judged(judged);
        }
    }

    fn judged(&mut self, verdicts: Verdicts) {
        for (key, verdict) in verdicts {
            if let Some(part) = self.part(key) {
                part.say = match verdict {
                    Verdict::Accepted { .. } => Say::News,
                    other => Say::Verdict(other),
                };
                self.enqueue(key);
            }
        }
    }

    /// Takes in what changed here.
    pub(super) async fn changed(&mut self, keys: Vec<u32>) {
        let mut judge = Vec::new();
        for key in keys {
            let Some(part) = self.part(key) else { continue };
            let Some((replica, watch)) = &part.here else {
                continue;
            };
            watch.taken();
            if replica.view().leading.map(|leading| leading.epoch) != part.judged_in {
                judge.push(key);
            } else if let Say::News = part.say {
                self.enqueue(key);
            }
        }
        self.judge(judge).await;
    }

    /// Answers a request with what there is, within its limits; `None`: there is nothing.
    pub(super) async fn answer(&mut self, asked: Asked) -> Option<internal::ReplicateResponse> {
        let answer = self.look(asked).await;
        let overtaken = std::mem::take(&mut self.overtaken);
        if overtaken.is_empty() {
            return answer;
        }
        self.judge(overtaken).await;
        match answer {
            Some(answer) => Some(answer),
            None => self.look(asked).await,
        }
    }

    async fn look(&mut self, asked: Asked) -> Option<internal::ReplicateResponse> {
        let mut answer = asked.nothing();
        let mut room = asked.max_bytes;
        // What has no room now keeps its place before those that are looked at.
        for _ in 0..self.line.len() {
            let Some(key) = self.line.pop_front() else { break };
            if let Some(part) = self.part(key) {
                part.in_line = false;
            }
            let (said, bytes) = self.say(key, asked, room).await;
            room = room.saturating_sub(bytes);
            answer.partitions.extend(said);
        }
        (!answer.partitions.is_empty()).then_some(answer)
    }

    /// What there is to say about one partition, and how many bytes of batches are in it.
    async fn say(&mut self, key: u32, asked: Asked, room: usize) -> (Option<internal::PartitionData>, usize) {
        let plane = Arc::clone(&self.plane);
        let Some(part) = self.part(key) else {
            return (None, 0);
        };
        let position = part.told.position();
        if let Say::Verdict(verdict) = part.say {
            part.say = Say::Nothing;
            part.told.tell_off();
            let said = wire::partition_data(part.at, &position, verdict, wire::Sent::default());
            return (Some(said), 0);
        }
        let (Say::News, Some((replica, _))) = (part.say, part.here.clone()) else {
            return (None, 0);
        };
        let view = replica.view();
        let leads = |epoch| {
            move |view: &quipu_replication::View| view.leading.is_some_and(|leading| leading.epoch == epoch)
        };
        let leads = leads(position.leader_epoch);
        if !leads(&view) {
            // It will be judged again: that is news.
            return (None, 0);
        }
        let from = position.fetch_offset;
        let wanted = part.told.wants_batches() && view.log_end > from;
        let mut batches = EncodedBatches::default();
        if wanted && room > 0 {
            match read::read(&plane, &replica, from, view.log_end, room).await {
                // Under another leadership other batches may have been read.
                Ok(_) if !leads(&replica.view()) => return (None, 0),
                Ok(read) => batches = read.encode(u64::MAX).batches,
                Err(failure) if failure.code == ErrorCode::OffsetOutOfRange => {
                    part.say = Say::Nothing;
                    self.overtaken.push(key);
                    return (None, 0);
                }
                Err(failure) => {
                    part.say = Say::Nothing;
                    let verdict = Verdict::Refused(failure.code);
                    let said = wire::partition_data(part.at, &position, verdict, wire::Sent::default());
                    return (Some(said), 0);
                }
            }
        }
        let bytes = batches.len();
        let now = Told::of(&view);
        let said = (bytes > 0 || part.told.is_new(now)).then(|| {
            part.told.say(now, (bytes > 0).then_some(asked.epoch));
            let verdict = Verdict::Accepted {
                from,
                high_watermark: view.high_watermark,
                log_start: view.log_start,
                log_end: view.log_end,
            };
            let sent = wire::Sent {
                batches,
                tombstone_floor: replica.reader.tombstone_floor(),
                cleaned_to: replica.reader.cleaned_to(),
            };
            wire::partition_data(part.at, &position, verdict, sent)
        });
        if bytes > 0 {
            self.on_the_way.push_back((asked.epoch, key));
        } else if wanted {
            self.enqueue(key);
        }
        (said, bytes)
    }

    fn enqueue(&mut self, key: u32) {
        if let Some(part) = self.part(key)
            && !part.in_line
        {
            part.in_line = true;
            self.line.push_back(key);
        }
    }

    fn part(&mut self, key: u32) -> Option<&mut Part> {
        self.parts.get_mut(key as usize)?.as_mut()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for part in self.parts.iter().flatten() {
            if let Some((replica, watch)) = &part.here {
                watch.end(&replica.watches);
            }
        }
    }
}
