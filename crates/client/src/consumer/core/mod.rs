//! The consumer's protocol: which partition is read on which stream, and from where. Pure: events and time come in,
//! [`Effect`]s go out.
//!
//! What holds:
//! - a partition is on one stream at most, and only that stream's data counts;
//! - its place moves only by what [`Core::advance`] says was given, or by a seek;
//! - after a stream is lost it is read on from its place, so nothing is left out, and what comes twice is below the place
//!   and is dropped;
//! - bytes that came are owed back as credit once, whether they were given or dropped.

mod types;

pub(super) use types::{Effect, Partition};
pub(crate) use types::{Key, StreamId};

use super::config::Start;
use super::frames::Places;
use crate::backoff::{Backoff, BackoffLimits, Jitter};
use crate::moment::Moment;
use crate::routing::Route;
use quipu_proto::Failure;
use quipu_record::{BrokerId, ErrorCode, Offset, TopicId};
use std::collections::{BTreeMap, VecDeque};
use types::{Stream, on_grid};

/// More streams than this to one broker are joined into one.
const STREAMS_MAX: usize = 4;

/// The consumer's protocol.
#[derive(Debug)]
pub(super) struct Core {
    partitions: BTreeMap<Key, Partition>,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    window: u64,
    /// Where to go on from a place that is out of range; `None`: the application is told.
    reset: Option<Start>,
    limits: BackoffLimits,
    jitter: Jitter,
    refresh_wanted: bool,
    refresh_asked: bool,
    refresh_not_before: Moment,
    refresh_backoff: Backoff,
    /// Something happened since the last plan.
    unplanned: bool,
    /// When the next plan is due though nothing happens.
    due: Option<Moment>,
    effects: VecDeque<Effect>,
}

impl Core {
    pub(super) fn new(window: u64, reset: Option<Start>, limits: BackoffLimits, seed: u64) -> Self {
        Self {
            partitions: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            window,
            reset,
            limits,
            jitter: Jitter::new(seed),
            refresh_wanted: false,
            refresh_asked: false,
            refresh_not_before: Moment::default(),
            refresh_backoff: Backoff::default(),
            unplanned: false,
            due: None,
            effects: VecDeque::new(),
        }
    }

    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = (&Key, &Partition)> {
        self.partitions.iter()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Partition> {
        self.partitions.get(key)
    }

    /// Whether anything is read, or will be without anybody's doing.
    pub(super) fn reads(&self) -> bool {
        self.partitions.values().any(Partition::wanted)
    }

    /// Reads a partition from there; moves it if it is read already.
    pub(super) fn add(&mut self, key: Key, topic_id: TopicId, route: Route, start: Start) {
        if self
            .partitions
            .get(&key)
            .is_some_and(|known| known.topic_id == topic_id)
        {
            self.seek(&key, start);
            return;
        }
        let partition = Partition {
            topic_id,
            place: start,
            high_watermark: None,
            log_start: None,
            paused: false,
            failed: false,
            route,
            stream: None,
            seeks: 0,
            backoff: Backoff::default(),
            not_before: Moment::default(),
        };
        self.partitions.insert(key, partition);
        self.unplanned = true;
    }

    /// Reads a partition no more.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(removed) = self.partitions.remove(key)
            && let Some(stream) = removed.stream
        {
            // Streams cannot lose a partition: this one sends it no longer, or ends with it.
            let key = key.clone();
            self.effects.push_back(Effect::Pause {
                stream,
                key,
                paused: true,
            });
            self.close_if_unused(stream);
        }
    }

    /// Moves a partition. `false`: it is not read.
    pub(super) fn seek(&mut self, key: &Key, to: Start) -> bool {
        let Some(partition) = self.partitions.get_mut(key) else {
            return false;
        };
        partition.place = to;
        partition.failed = false;
        self.unplanned = true;
        if let Some(stream) = partition.stream {
            partition.seeks += 1;
            let key = key.clone();
            self.effects.push_back(Effect::Seek { stream, key, to });
        }
        true
    }

    /// Pauses or resumes a partition. `false`: it is not read.
    pub(super) fn pause(&mut self, key: &Key, paused: bool) -> bool {
        let Some(partition) = self.partitions.get_mut(key) else {
            return false;
        };
        let changed = std::mem::replace(&mut partition.paused, paused) != paused;
        if !paused {
            partition.failed = false;
            self.unplanned = true;
        }
        if let (true, Some(stream)) = (changed, partition.stream) {
            let (key, to) = (key.clone(), partition.place);
            if !paused {
                // What came during the pause was dropped.
                partition.seeks += 1;
                self.effects.push_back(Effect::Seek {
                    stream,
                    key: key.clone(),
                    to,
                });
            }
            self.effects.push_back(Effect::Pause { stream, key, paused });
        }
        true
    }

    /// The broker said where a partition begins on a stream (opening it, or after a seek).
    pub(super) fn placed(&mut self, stream: StreamId, key: &Key, at: Offset, after_seek: bool) {
        let Some(partition) = self
            .partitions
            .get_mut(key)
            .filter(|known| known.stream == Some(stream))
        else {
            return;
        };
        if after_seek {
            partition.seeks = partition.seeks.saturating_sub(1);
        }
        // A start of its own was asked for meanwhile, and will be answered by itself.
        if partition.seeks == 0 && !matches!(partition.place, Start::Offset(_)) {
            partition.place = Start::Offset(at);
        }
    }

    /// A seek was refused. Says what the application must hear.
    pub(super) fn seek_refused(
        &mut self,
        now: Moment,
        stream: StreamId,
        key: &Key,
        failure: Failure,
    ) -> Option<Failure> {
        let partition = self
            .partitions
            .get_mut(key)
            .filter(|known| known.stream == Some(stream))?;
        partition.seeks = partition.seeks.saturating_sub(1);
        if partition.seeks > 0 {
            return None;
        }
        // The broker's cursor is where it was, and would go on.
        let paused = Effect::Pause {
            stream,
            key: key.clone(),
            paused: true,
        };
        self.effects.push_back(paused);
        self.refused(now, stream, key, failure)
    }

    /// A stream ended, or did not come to be.
    pub(super) fn ended(&mut self, now: Moment, stream: StreamId) {
        if self.streams.remove(&stream).is_none() {
            return;
        }
        self.unplanned = true;
        // All pause alike, so that they are opened together again.
        let mut not_before = None;
        for partition in self
            .partitions
            .values_mut()
            .filter(|known| known.stream == Some(stream))
        {
            partition.stream = None;
            partition.seeks = 0;
            let pause = partition.backoff.next(self.limits, &mut self.jitter);
            partition.not_before = *not_before.get_or_insert_with(|| on_grid(now.after(pause)));
        }
        self.refresh_wanted = true;
    }

    /// A partition is led by this broker now.
    pub(super) fn routed(&mut self, now: Moment, key: &Key, topic_id: TopicId, route: Route) {
        let Some(partition) = self
            .partitions
            .get_mut(key)
            .filter(|known| known.topic_id == topic_id && known.route != route)
        else {
            return;
        };
        self.unplanned = true;
        if partition.route.leader != route.leader {
            partition.not_before = on_grid(now);
        }
        partition.route = route;
        let stream = partition.stream;
        if let (Some(leader), Some(stream)) = (route.leader, stream)
            && self
                .streams
                .get(&stream)
                .is_some_and(|known| known.broker != leader)
        {
            self.leave(key, stream);
        }
    }

    /// The stream's broker leads the partition no more, and may be silent for long before it says so.
    fn leave(&mut self, key: &Key, stream: StreamId) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.stream = None;
            partition.seeks = 0;
        }
        let key = key.clone();
        self.effects.push_back(Effect::Pause {
            stream,
            key,
            paused: true,
        });
        self.close_if_unused(stream);
    }

    /// The routes were asked for (and came, or did not).
    pub(super) fn refreshed(&mut self, now: Moment) {
        self.refresh_asked = false;
        self.unplanned = true;
        self.refresh_not_before = now.after(self.refresh_backoff.next(self.limits, &mut self.jitter));
    }

    /// Opens what can be opened. To be called after anything else, before effects are taken.
    pub(super) fn plan(&mut self, now: Moment) {
        if !self.unplanned && self.due.is_none_or(|due| due > now) {
            return;
        }
        self.unplanned = false;
        let mut by_broker: BTreeMap<BrokerId, Vec<Key>> = BTreeMap::new();
        for (key, partition) in self.partitions.iter().filter(|(_, partition)| partition.unread()) {
            match partition.route.leader {
                Some(broker) if partition.not_before <= now => {
                    by_broker.entry(broker).or_default().push(key.clone())
                }
                Some(_) => {}
                None => self.refresh_wanted = true,
            }
        }
        for (broker, keys) in by_broker {
            self.open(broker, keys);
        }
        if self.refresh_wanted && !self.refresh_asked && self.refresh_not_before <= now {
            self.refresh_wanted = false;
            self.refresh_asked = true;
            self.effects.push_back(Effect::Refresh);
        }
        self.due = self.next_due();
    }

    /// When [`Core::plan`] is wanted though nothing happens.
    pub(super) const fn next_plan(&self) -> Option<Moment> {
        self.due
    }

    fn next_due(&self) -> Option<Moment> {
        let unread = self.partitions.values().filter(|partition| partition.unread());
        let unread = unread
            .filter(|partition| partition.route.leader.is_some())
            .map(|partition| partition.not_before);
        let refresh = (self.refresh_wanted && !self.refresh_asked).then_some(self.refresh_not_before);
        unread.chain(refresh).min()
    }

    fn open(&mut self, broker: BrokerId, mut keys: Vec<Key>) {
        let there: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.broker == broker)
            .map(|(id, _)| *id)
            .collect();
        if there.len() >= STREAMS_MAX {
            for stream in there {
                self.streams.remove(&stream);
                self.effects.push_back(Effect::Close { stream });
                for (key, partition) in &mut self.partitions {
                    if partition.stream == Some(stream) {
                        partition.stream = None;
                        partition.seeks = 0;
                        if partition.unread() {
                            keys.push(key.clone());
                        }
                    }
                }
            }
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(stream, Stream { broker, owed: 0 });
        let mut partitions = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(partition) = self.partitions.get_mut(&key) {
                partition.stream = Some(stream);
                partitions.push((key, partition.topic_id, partition.place));
            }
        }
        self.effects.push_back(Effect::Open {
            stream,
            broker,
            partitions,
        });
    }

    fn close_if_unused(&mut self, stream: StreamId) {
        if self
            .partitions
            .values()
            .all(|partition| partition.stream != Some(stream))
        {
            self.streams.remove(&stream);
            self.effects.push_back(Effect::Close { stream });
        }
    }
}

impl Places for Core {
    fn place(&self, key: &Key) -> Option<Start> {
        self.partitions.get(key).map(|partition| partition.place)
    }

    fn counts(&self, stream: StreamId, key: &Key) -> bool {
        let partition = self.partitions.get(key);
        partition.is_some_and(|partition| {
            partition.stream == Some(stream) && partition.seeks == 0 && partition.wanted()
        })
    }

    fn reaches(&mut self, key: &Key, high_watermark: Offset, log_start: Offset) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.high_watermark = Some(high_watermark);
            partition.log_start = Some(log_start);
        }
    }

    fn advance(&mut self, key: &Key, to: Offset) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.backoff.reset();
            self.refresh_backoff.reset();
            match partition.place {
                Start::Offset(at) if at >= to => {}
                _ => partition.place = Start::Offset(to),
            }
        }
    }

    fn owe(&mut self, stream: StreamId, bytes: usize) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.owed += bytes as u64;
            if known.owed >= self.window / 4 {
                let bytes = std::mem::take(&mut known.owed);
                self.effects.push_back(Effect::Credit { stream, bytes });
            }
        }
    }

    fn refused(&mut self, now: Moment, stream: StreamId, key: &Key, failure: Failure) -> Option<Failure> {
        let partition = self
            .partitions
            .get_mut(key)
            .filter(|known| known.stream == Some(stream))?;
        self.unplanned = true;
        partition.stream = None;
        // If there was a seek since, the refusal is of the place before it.
        let of_this_place = std::mem::take(&mut partition.seeks) == 0;
        let reset = self
            .reset
            .filter(|_| of_this_place && failure.code == ErrorCode::OffsetOutOfRange);
        if let Some(to) = reset {
            tracing::warn!(topic = %key.topic, partition = %key.partition, %failure, ?to, "reads on elsewhere");
            partition.place = to;
            // Should it move away under the reader again and again, that is no reason for a storm.
            let pause = partition.backoff.next(self.limits, &mut self.jitter);
            partition.not_before = on_grid(now.after(pause));
        } else if failure.retryable {
            let pause = partition.backoff.next(self.limits, &mut self.jitter);
            partition.not_before = on_grid(now.after(failure.retry_after.unwrap_or(pause)));
            self.refresh_wanted |= failure.code != ErrorCode::OffsetNotAvailable;
        } else {
            partition.failed |= of_this_place;
        }
        self.close_if_unused(stream);
        (!failure.retryable && of_this_place && reset.is_none()).then_some(failure)
    }

    fn unreadable(&mut self, key: &Key) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.failed = true;
            if let Some(stream) = partition.stream.take() {
                let key = key.clone();
                partition.seeks = 0;
                self.effects.push_back(Effect::Pause {
                    stream,
                    key,
                    paused: true,
                });
                self.close_if_unused(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests;
