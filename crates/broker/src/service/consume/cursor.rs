//! Where a stream stands in each of its partitions, and whose turn it is.

use crate::partition::replica::Replica;
use crate::partition::topics::TopicInfo;
use crate::service::decode::Decoder;
use quipu_record::{Offset, TopicPartition};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Where a partition is read.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// This broker leads it.
    Here(Arc<Replica>),
    /// Another broker does: it is asked.
    There(There),
}

/// A partition that another broker leads, and what that one last said of it.
#[derive(Clone, Debug)]
pub(super) struct There {
    /// Its topic.
    pub(super) topic: Arc<TopicInfo>,
    /// Which partition.
    pub(super) at: TopicPartition,
    /// The leader's epoch.
    pub(super) leader_epoch: u32,
    /// Everything below is committed.
    pub(super) high_watermark: u64,
    /// Everything below was deleted.
    pub(super) log_start: u64,
}

impl Place {
    /// The topic.
    pub(super) fn topic(&self) -> &TopicInfo {
        match self {
            Self::Here(replica) => &replica.topic,
            Self::There(there) => &there.topic,
        }
    }

    /// The partition.
    pub(super) fn at(&self) -> TopicPartition {
        match self {
            Self::Here(replica) => replica.at,
            Self::There(there) => there.at,
        }
    }
}

/// One partition of a stream.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The partition.
    pub(super) place: Place,
    /// The next offset to deliver.
    pub(super) next: Offset,
    /// Counts the times that the cursor was moved: what was read for an earlier place is not delivered.
    pub(super) moves: u32,
    /// The rest of a batch whose first records are delivered.
    pub(super) decoder: Option<Decoder>,
    paused: bool,
    /// An error ended it; a seek begins anew.
    stopped: bool,
    /// It stands in line.
    in_line: bool,
}

/// All partitions of a stream, by key: their place in the request.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    all: Vec<Cursor>,
    keys: HashMap<(String, u32), u32>,
    /// Who may have something to deliver, in turn.
    line: VecDeque<u32>,
    /// Keys of cursors that are gone.
    free: Vec<u32>,
}

impl Cursors {
    /// Adds a partition, which stands in line at once. False if it is there already.
    pub(super) fn add(&mut self, topic: String, partition: u32, place: Place, next: Offset) -> bool {
        let key = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        if self.keys.insert((topic, partition), key).is_some() {
            return false;
        }
        self.all.push(Cursor {
            place,
            next,
            moves: 0,
            decoder: None,
            paused: false,
            stopped: false,
            in_line: true,
        });
        self.line.push_back(key);
        true
    }

    /// Adds a partition, in place of another of its name; its key.
    pub(super) fn put(&mut self, topic: String, partition: u32, place: Place, next: Offset) -> u32 {
        if let Some(before) = self.key(&topic, partition) {
            self.remove(before);
        }
        let Some(key) = self.free.pop() else {
            let key = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
            self.add(topic, partition, place, next);
            return key;
        };
        self.keys.insert((topic, partition), key);
        let cursor = self.get(key);
        cursor.place = place;
        cursor.paused = false;
        self.seek(key, next);
        key
    }

    /// Takes a partition out. What is still read for it is not delivered, whoever has its key by then.
    pub(super) fn remove(&mut self, key: u32) {
        self.keys.retain(|_, of| *of != key);
        let cursor = self.get(key);
        cursor.moves = cursor.moves.wrapping_add(1);
        cursor.decoder = None;
        cursor.stopped = true;
        self.free.push(key);
    }

    /// The key of a partition.
    pub(super) fn key(&self, topic: &str, partition: u32) -> Option<u32> {
        self.keys.get(&(topic.to_owned(), partition)).copied()
    }

    /// A cursor.
    pub(super) fn get(&mut self, key: u32) -> &mut Cursor {
        &mut self.all[key as usize]
    }

    /// Where a cursor reads.
    pub(super) fn place(&self, key: u32) -> &Place {
        &self.all[key as usize].place
    }

    /// Puts a cursor at the end of the line, unless it is there, or delivers nothing now.
    pub(super) fn enqueue(&mut self, key: u32) {
        let cursor = &mut self.all[key as usize];
        if !cursor.in_line && cursor.is_active() {
            cursor.in_line = true;
            self.line.push_back(key);
        }
    }

    /// Takes the first that delivers out of the line.
    pub(super) fn dequeue(&mut self) -> Option<u32> {
        while let Some(key) = self.line.pop_front() {
            let cursor = &mut self.all[key as usize];
            cursor.in_line = false;
            if cursor.is_active() {
                return Some(key);
            }
        }
        None
    }

    /// Moves a cursor; it delivers again if an error had ended it.
    pub(super) fn seek(&mut self, key: u32, to: Offset) {
        let cursor = self.get(key);
        cursor.next = to;
        cursor.moves = cursor.moves.wrapping_add(1);
        cursor.decoder = None;
        cursor.stopped = false;
        self.enqueue(key);
    }

    /// Stops or resumes a partition.
    pub(super) fn pause(&mut self, key: u32, paused: bool) {
        self.get(key).paused = paused;
        self.enqueue(key);
    }

    /// An error ended it.
    pub(super) fn stop(&mut self, key: u32) {
        let cursor = self.get(key);
        cursor.stopped = true;
        cursor.decoder = None;
    }
}

impl Cursor {
    /// Whether it delivers.
    pub(super) fn is_active(&self) -> bool {
        !self.paused && !self.stopped
    }
}
