//! What is this member's, and from where it is read.

use super::types::{Change, Effect, Given, Hold, Link, Named, Owned};
use super::{AssignmentEpoch, Core};
use crate::backoff::Backoff;
use crate::consumer::{Key, Places, Start, StreamId};
use crate::moment::Moment;
use quipu_proto::Failure;
use quipu_record::{ErrorCode, Offset, TopicId};
use std::collections::BTreeMap;

/// A broker that reads elsewhere than it is told, again and again, is followed.
const STRAYS_MAX: u32 = 3;

impl Core {
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&Key, &Owned)> {
        self.partitions.iter()
    }

    /// What the present stream says is this member's; and all of it, if there is no stream that says so: others may have it
    /// already.
    pub(crate) fn by_certainty(&self) -> (Vec<Key>, Vec<Key>) {
        let all = self.partitions.iter();
        let (confirmed, others): (Vec<_>, Vec<_>) = all.partition(|(_, partition)| partition.confirmed);
        let keys = |of: Vec<(&Key, &Owned)>| of.into_iter().map(|(key, _)| key.clone()).collect();
        (keys(confirmed), keys(others))
    }

    pub(super) fn lose(&mut self, keys: &[Key]) {
        let mut lost = Vec::new();
        for key in keys {
            if self.partitions.remove(key).is_some() {
                self.touched.remove(key);
                self.unacked.remove(key);
                lost.push(key.clone());
            }
        }
        if lost.is_empty() {
            return;
        }
        // What the application has not heard of yet, it need not.
        let untold = |change: &mut Change, lost: &mut Vec<Key>| match change {
            Change::Assigned(keys) => {
                lost.retain(|key| !keys.contains(key));
                keys.retain(|key| self.partitions.contains_key(key));
            }
            Change::Revoked(keys) => keys.retain(|key| self.partitions.contains_key(key)),
            Change::Lost(_) => {}
        };
        for change in &mut self.changes {
            untold(change, &mut lost);
        }
        self.changes.push_back(Change::Lost(lost));
        self.tidy_changes();
    }

    /// A stream's first word names these: what they do not is lost, and returned. Where they begin is told later.
    pub(super) fn keep(&mut self, now: Moment, assigned: &[Named], revoking: &[Named]) -> Vec<Key> {
        let named: BTreeMap<&Key, &Named> = assigned
            .iter()
            .chain(revoking)
            .map(|named| (&named.key, named))
            .collect();
        let kept = |key: &Key, partition: &Owned| {
            let named = named.get(key);
            named.is_some_and(|named| (named.topic_id, named.epoch) == (partition.topic_id, partition.epoch))
        };
        let gone = self
            .partitions
            .iter()
            .filter(|(key, partition)| !kept(key, partition));
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        self.lose(&gone);
        let keys = |of: &[Named]| -> Vec<Key> { of.iter().map(|named| named.key.clone()).collect() };
        let back: Vec<Key> = keys(assigned)
            .into_iter()
            .filter(|key| self.take_back(key))
            .collect();
        self.changes.push_back(Change::Assigned(back));
        self.revoke(&keys(revoking));
        let all: Vec<Key> = self.partitions.keys().cloned().collect();
        for key in &all {
            self.acknowledge_again(now, key);
        }
        gone
    }

    /// The stream before may have broken with it.
    fn acknowledge_again(&mut self, now: Moment, key: &Key) {
        let finished = self
            .partitions
            .get(key)
            .is_some_and(|partition| partition.finished.is_some());
        if finished && self.settings.mode == super::CommitMode::Auto {
            self.unacked.insert(key.clone());
            self.acks_at.get_or_insert(now);
        }
    }

    pub(super) fn revoke(&mut self, keys: &[Key]) {
        let (mut revoked, mut unknown) = (Vec::new(), Vec::new());
        for key in keys {
            let Some(partition) = self.partitions.get_mut(key) else {
                // Given up while there was no stream to say it on.
                unknown.push(key.clone());
                continue;
            };
            partition.confirmed = true;
            if partition.hold == Hold::Held {
                partition.hold = Hold::Revoked;
                revoked.push(key.clone());
            }
        }
        if !unknown.is_empty() {
            self.effects.push_back(Effect::GiveUp { keys: unknown });
        }
        self.changes.push_back(Change::Revoked(revoked));
        self.tidy_changes();
    }

    fn tidy_changes(&mut self) {
        self.changes.retain(|change| !change.is_empty());
    }

    pub(super) fn give(&mut self, now: Moment, assigned: Vec<Given>) {
        let mut news = Vec::new();
        for given in assigned {
            let key = given.key.clone();
            if !self.partitions.contains_key(&key) {
                let owned = self.new_owned(&given);
                self.partitions.insert(key.clone(), owned);
                news.push(key.clone());
            } else if self.take_back(&key) {
                news.push(key.clone());
            }
            self.begin(now, &key, given.place, given.committed);
        }
        self.changes.push_back(Change::Assigned(news));
        self.tidy_changes();
    }

    fn new_owned(&self, given: &Given) -> Owned {
        let place = match (&given.place, given.committed) {
            (Ok(offset), _) => Start::Offset(*offset),
            (Err(_), Some(committed)) => Start::Offset(committed),
            (Err(_), None) => self.settings.start,
        };
        Owned {
            topic_id: given.topic_id,
            epoch: given.epoch,
            place,
            finished: None,
            committed: given.committed,
            moved: false,
            high_watermark: None,
            log_start: None,
            paused: false,
            failed: false,
            hold: Hold::Held,
            confirmed: true,
            opened: false,
            seeks: 0,
            strays: 0,
            backoff: Backoff::default(),
            again_at: None,
        }
    }

    /// The group lets it stay. Says whether the application heard otherwise.
    fn take_back(&mut self, key: &Key) -> bool {
        let Some(partition) = self.partitions.get_mut(key) else {
            return false;
        };
        partition.confirmed = true;
        if std::mem::replace(&mut partition.hold, Hold::Held) == Hold::Held {
            return false;
        }
        let mut told = true;
        for change in &mut self.changes {
            if let Change::Revoked(keys) = change {
                told &= !keys.contains(key);
                keys.retain(|other| other != key);
            }
        }
        self.tidy_changes();
        told
    }

    /// The stream says where it begins: from there it is moved to where this member is, and told how far that got.
    fn begin(&mut self, now: Moment, key: &Key, place: Result<Offset, Failure>, committed: Option<Offset>) {
        self.acknowledge_again(now, key);
        let Some(partition) = self.partitions.get_mut(key) else {
            return;
        };
        let offset = match place {
            Ok(offset) => offset,
            // The broker tries again by itself, and tells.
            Err(failure) => {
                partition.opened = false;
                if !failure.retryable {
                    self.troubles.push_back((key.clone(), failure));
                }
                return;
            }
        };
        partition.opened = true;
        partition.failed = false;
        if partition.paused {
            let (key, paused) = (key.clone(), true);
            self.effects.push_back(Effect::Pause { key, paused });
        }
        if !partition.moved {
            // Where that is gone from the log, the broker begins elsewhere and refuses this place: then the reset has its say.
            partition.place = Start::Offset(committed.unwrap_or(offset));
        }
        if partition.place != Start::Offset(offset) {
            partition.seeks += 1;
            let (key, to) = (key.clone(), partition.place);
            self.effects.push_back(Effect::Seek { key, to });
        }
    }

    /// Moves a partition. `false`: it is not this member's.
    pub(crate) fn seek(&mut self, key: &Key, to: Start) -> bool {
        let connected = self.connected();
        let Some(partition) = self.partitions.get_mut(key) else {
            return false;
        };
        partition.place = to;
        partition.failed = false;
        partition.moved = true;
        partition.again_at = None;
        self.touched.insert(key.clone());
        if partition.opened && connected && partition.hold == Hold::Held {
            partition.seeks += 1;
            let key = key.clone();
            self.effects.push_back(Effect::Seek { key, to });
        }
        true
    }

    /// Pauses or resumes a partition. `false`: it is not this member's.
    pub(crate) fn pause(&mut self, key: &Key, paused: bool) -> bool {
        let connected = self.connected();
        let Some(partition) = self.partitions.get_mut(key) else {
            return false;
        };
        let changed = std::mem::replace(&mut partition.paused, paused) != paused;
        let again = !paused && (changed || std::mem::take(&mut partition.failed));
        if !(partition.opened && connected && partition.hold == Hold::Held) {
            return true;
        }
        if again {
            // What came during the pause was dropped.
            partition.seeks += 1;
            let (key, to) = (key.clone(), partition.place);
            self.effects.push_back(Effect::Seek { key, to });
        }
        if changed {
            let key = key.clone();
            self.effects.push_back(Effect::Pause { key, paused });
        }
        true
    }

    /// A seek took effect: what follows is from there.
    pub(crate) fn sought(&mut self, stream: StreamId, key: &Key, at: Offset) {
        if self.link != (Link::Open { stream }) {
            return;
        }
        let Some(partition) = self.partitions.get_mut(key) else {
            return;
        };
        partition.seeks = partition.seeks.saturating_sub(1);
        if partition.seeks > 0 {
            return;
        }
        match partition.place {
            Start::Offset(place) if place == at => partition.strays = 0,
            // The answer to a seek of before the partition was lost and came again: it moved the new cursor.
            Start::Offset(_) if partition.strays < STRAYS_MAX => {
                partition.strays += 1;
                partition.seeks += 1;
                let (key, to) = (key.clone(), partition.place);
                self.effects.push_back(Effect::Seek { key, to });
            }
            _ => {
                partition.place = Start::Offset(at);
                self.touched.insert(key.clone());
            }
        }
    }

    /// A seek was refused. Says what the application must hear.
    pub(crate) fn seek_refused(
        &mut self,
        now: Moment,
        stream: StreamId,
        key: &Key,
        failure: Failure,
    ) -> Option<Failure> {
        let partition = self.partitions.get_mut(key)?;
        partition.seeks = partition.seeks.saturating_sub(1);
        if partition.seeks > 0 {
            return None;
        }
        self.stop_reading(now, stream, key, failure)
    }

    fn stop_reading(
        &mut self,
        now: Moment,
        stream: StreamId,
        key: &Key,
        failure: Failure,
    ) -> Option<Failure> {
        if self.link != (Link::Open { stream }) {
            return None;
        }
        let partition = self.partitions.get_mut(key)?;
        if partition.seeks > 0 || partition.hold == Hold::Revoked {
            // There was a seek since: the refusal is of the place before it.
            return None;
        }
        let pause = partition.backoff.next(self.settings.limits, &mut self.jitter);
        let reset = self
            .settings
            .reset
            .filter(|_| failure.code == ErrorCode::OffsetOutOfRange);
        if let Some(to) = reset {
            tracing::warn!(topic = %key.topic, partition = %key.partition, %failure, ?to, "reads on elsewhere");
            partition.place = to;
            partition.moved = true;
            partition.again_at = Some(now.after(pause));
            return None;
        }
        // As for the last: the word that it is gone is on its way.
        if failure.retryable || failure.code == ErrorCode::StaleAssignment {
            partition.again_at = Some(now.after(failure.retry_after.unwrap_or(pause)));
            return None;
        }
        partition.failed = true;
        Some(failure)
    }

    /// Asks again for what was refused for a while.
    pub(super) fn ask_again(&mut self, now: Moment) {
        if !self.connected() {
            return;
        }
        for (key, partition) in &mut self.partitions {
            if partition.again_at.is_some_and(|at| at <= now) {
                partition.again_at = None;
                if partition.read() {
                    partition.seeks += 1;
                    let (key, to) = (key.clone(), partition.place);
                    self.effects.push_back(Effect::Seek { key, to });
                }
            }
        }
    }

    pub(crate) fn topic_id(&self, key: &Key) -> Option<TopicId> {
        self.partitions.get(key).map(|partition| partition.topic_id)
    }

    /// Whether the present stream has told that a partition is this member's.
    pub(crate) fn confirmed(&self, key: &Key) -> bool {
        self.connected()
            && self
                .partitions
                .get(key)
                .is_some_and(|partition| partition.confirmed)
    }

    /// The epoch in which this member got a partition.
    pub(crate) fn epoch_of(&self, key: &Key) -> Option<AssignmentEpoch> {
        self.partitions.get(key).map(|partition| partition.epoch)
    }
}

impl Places for Core {
    fn counts(&self, stream: StreamId, key: &Key) -> bool {
        let partition = self.partitions.get(key);
        self.link == (Link::Open { stream })
            && partition.is_some_and(|partition| partition.seeks == 0 && partition.read())
    }

    fn place(&self, key: &Key) -> Option<Start> {
        self.partitions.get(key).map(|partition| partition.place)
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
            match partition.place {
                Start::Offset(at) if at >= to => {}
                _ => {
                    partition.place = Start::Offset(to);
                    partition.moved = true;
                    self.touched.insert(key.clone());
                }
            }
        }
    }

    fn owe(&mut self, stream: StreamId, bytes: usize) {
        let ours = matches!(self.link, Link::Open { stream: present } | Link::Opening { stream: present } if present == stream);
        if ours {
            self.owed += bytes as u64;
            if self.owed >= self.settings.window / 4 {
                let bytes = std::mem::take(&mut self.owed);
                self.effects.push_back(Effect::Credit { bytes });
            }
        }
    }

    fn refused(&mut self, now: Moment, stream: StreamId, key: &Key, failure: Failure) -> Option<Failure> {
        self.stop_reading(now, stream, key, failure)
    }

    fn unreadable(&mut self, key: &Key) {
        if let Some(partition) = self.partitions.get_mut(key) {
            partition.failed = true;
        }
    }
}
