//! The one writer of the log. In production a thread: it takes all that waits, writes it in order, and syncs once. In a
//! simulation the caller does the same, inline.

use super::LogIndex;
use crate::publish::Failing;
use crate::wal::{LogPlace, Op, VoteMessage, Wal};
use quipu_storage::Disk;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Told once something is durable, or never will be.
pub(crate) type Durable = Box<dyn FnOnce(Result<(), String>) + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// Durable before it is told.
    Sync,
    /// As [`Need::Sync`], and only a vote.
    Vote,
    /// As [`Need::Sync`], and then files may go.
    Purge,
    /// With the next write.
    Lazy,
}

/// Something to write.
pub(crate) struct Task {
    ops: Vec<Op>,
    need: Need,
    done: Option<Durable>,
}

impl Task {
    pub(super) fn vote(vote: VoteMessage, done: Durable) -> Self {
        Self {
            ops: vec![Op::Vote(vote)],
            need: Need::Vote,
            done: Some(done),
        }
    }

    pub(super) fn durable(ops: Vec<Op>, done: Durable) -> Self {
        Self {
            ops,
            need: Need::Sync,
            done: Some(done),
        }
    }

    pub(super) fn purge(purged: LogPlace, done: Durable) -> Self {
        Self {
            ops: vec![Op::Purge(purged)],
            need: Need::Purge,
            done: Some(done),
        }
    }

    pub(super) fn lazy(op: Op) -> Self {
        Self {
            ops: vec![op],
            need: Need::Lazy,
            done: None,
        }
    }
}

/// Where tasks go.
#[derive(Debug)]
pub(crate) enum Writer<D: Disk> {
    /// To a thread.
    Thread(Sender<Task>),
    /// To the log itself.
    Inline(Box<Mutex<Desk<D>>>),
}

/// The log and those who must know what became of it.
#[derive(Debug)]
pub(crate) struct Desk<D: Disk> {
    wal: Wal<D>,
    index: Arc<Mutex<LogIndex>>,
    failing: Failing,
}

impl<D: Disk> Writer<D> {
    pub(super) fn start(
        wal: Wal<D>,
        index: Arc<Mutex<LogIndex>>,
        thread: bool,
        failing: Failing,
    ) -> io::Result<Self> {
        let mut desk = Desk { wal, index, failing };
        if !thread {
            return Ok(Self::Inline(Box::new(Mutex::new(desk))));
        }
        let (sender, receiver) = channel();
        std::thread::Builder::new()
            .name("metadata-wal".to_owned())
            .spawn(move || desk.run(&receiver))?;
        Ok(Self::Thread(sender))
    }

    pub(super) fn submit(&self, task: Task) {
        match self {
            Self::Inline(desk) => desk
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(vec![task]),
            Self::Thread(sender) => {
                if let Err(unsent) = sender.send(task)
                    && let Some(done) = unsent.0.done
                {
                    done(Err("the writer of the metadata log is gone".to_owned()));
                }
            }
        }
    }
}

impl<D: Disk> Desk<D> {
    fn run(&mut self, tasks: &Receiver<Task>) {
        while let Ok(first) = tasks.recv() {
            let mut batch = vec![first];
            batch.extend(tasks.try_iter());
            self.write(batch);
        }
    }

    /// Writes a batch in order, syncs once, and tells everybody.
    fn write(&mut self, batch: Vec<Task>) {
        let result = self.write_all(&batch).map_err(|error| {
            let what = format!("writing the metadata log: {error}");
            self.failing.fail(&what);
            what
        });
        for task in batch {
            if let Some(done) = task.done {
                done(result.clone());
            }
        }
    }

    fn write_all(&mut self, batch: &[Task]) -> io::Result<()> {
        let mut placed = Vec::new();
        for op in batch.iter().flat_map(|task| &task.ops) {
            let place = self.wal.put(op)?;
            if let (Op::Entry { place: entry, .. }, Some(place)) = (op, place) {
                placed.push((*entry, place));
            }
        }
        let needs = || batch.iter().map(|task| task.need);
        if needs().all(|need| need == Need::Lazy) {
            return Ok(());
        }
        if needs().all(|need| need == Need::Vote || need == Need::Lazy) {
            self.wal.sync_vote()?;
        } else {
            self.wal.sync()?;
        }
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, place) in placed {
            index.written(entry, place);
        }
        drop(index);
        if needs().any(|need| need == Need::Purge) {
            self.wal.drop_purged()?;
        }
        Ok(())
    }
}
