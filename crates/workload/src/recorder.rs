//! What clients did and saw, as it happens: one clock, one history.

use crate::live::{Live, Sample, Seen};
use quipu_checker::{
    CommitId, Event, Fault, History, HistoryError, Key, Kind, Op, Phase, Process, Time, ValueId, Verdict,
    check, to_line,
};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Events that are copied at a time when a history is written while it grows.
const WRITTEN_AT_A_TIME: usize = 4096;

/// What clients did and saw, as it happens. An event costs a short lock and what it holds itself.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    state: Mutex<State>,
    processes: AtomicU64,
    producers: AtomicU64,
    commits: AtomicU64,
    values: AtomicU64,
    acked: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    seen: Seen,
}

impl Recorder {
    /// A new history; its clock starts now.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            state: Mutex::default(),
            processes: AtomicU64::new(0),
            producers: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            values: AtomicU64::new(0),
            acked: AtomicU64::new(0),
        })
    }

    /// The history's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.time_of(Instant::now())
    }

    /// A moment on the history's clock.
    #[must_use]
    pub fn time_of(&self, moment: Instant) -> Time {
        let since = moment.saturating_duration_since(self.started);
        Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// A client's thread of work, with a process of its own.
    #[must_use]
    pub fn actor(self: &Arc<Self>) -> Actor {
        Actor {
            process: self.new_process(),
            recorder: Arc::clone(self),
            begun: None,
        }
    }

    fn new_process(&self) -> Process {
        Process::Client(self.processes.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a producer that no other one has.
    #[must_use]
    pub fn new_producer(&self) -> u64 {
        self.producers.fetch_add(1, Ordering::Relaxed)
    }

    /// A name for a commit that no other one has.
    #[must_use]
    pub fn new_commit(&self) -> CommitId {
        CommitId(self.commits.fetch_add(1, Ordering::Relaxed))
    }

    /// Names for so many values, one after the other, that no others have.
    pub fn new_values(&self, count: u64) -> impl Iterator<Item = ValueId> + use<> {
        let first = self.values.fetch_add(count, Ordering::Relaxed);
        (first..first + count).map(ValueId)
    }

    /// Something that no client did: a fault, what replicas hold.
    ///
    /// # Errors
    /// It is no history then.
    pub fn tell(&self, op: Op) -> Result<Time, HistoryError> {
        self.push(Process::Nemesis, Kind::Info, op, None)
    }

    /// A fault begins. Its end is told with the same words.
    ///
    /// # Errors
    /// It is no history then.
    pub fn fault_begins(&self, kind: &str, what: impl Into<String>) -> Result<Time, HistoryError> {
        self.tell(Op::Fault(Fault::of(kind, Phase::Begin, what.into())))
    }

    /// A fault ends.
    ///
    /// # Errors
    /// It is no history then.
    pub fn fault_ends(&self, kind: &str, what: impl Into<String>) -> Result<Time, HistoryError> {
        self.tell(Op::Fault(Fault::of(kind, Phase::End, what.into())))
    }

    /// Something was done to the cluster that has no end of its own.
    ///
    /// # Errors
    /// It is no history then.
    pub fn fault(&self, what: impl Into<String>) -> Result<Time, HistoryError> {
        self.tell(Op::Fault(Fault::told(what.into())))
    }

    /// A majority is up and the network whole, from now until the next fault begins.
    ///
    /// # Errors
    /// It is no history then.
    pub fn healed(&self, what: impl Into<String>) -> Result<Time, HistoryError> {
        self.tell(Op::Healed { what: what.into() })
    }

    /// A moment that a client tells of, at any time: no operation.
    ///
    /// # Errors
    /// It is no history then.
    pub fn mark(&self, process: Process, op: Op) -> Result<Time, HistoryError> {
        self.push(process, Kind::Info, op, None)
    }

    /// The time is taken under the lock: events are in the order of their times.
    fn push(&self, process: Process, kind: Kind, op: Op, begun: Option<Time>) -> Result<Time, HistoryError> {
        let mut state = self.lock();
        let time = self.now();
        let acked = state.seen.take(&op, kind, time, begun);
        state.history.push(Event {
            time,
            process,
            kind,
            op,
        })?;
        drop(state);
        if acked > 0 {
            self.acked.fetch_add(acked, Ordering::Relaxed);
        }
        Ok(time)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Values acknowledged so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// What there is so far.
    #[must_use]
    pub fn live(&self) -> Live {
        let state = self.lock();
        state.seen.live(state.history.events().len())
    }

    /// When this partition acknowledged something for the first time after `after`.
    #[must_use]
    pub fn first_ack_after(&self, key: &Key, after: Time) -> Option<Time> {
        self.lock().seen.first_ack_after(key, after)
    }

    /// When the last of these partitions had acknowledged something after `after`; `None`: one of them has not.
    #[must_use]
    pub fn first_ack_of_all_after(&self, keys: &[Key], after: Time) -> Option<Time> {
        let state = self.lock();
        let mut last = after;
        for key in keys {
            last = last.max(state.seen.first_ack_after(key, after)?);
        }
        Some(last)
    }

    /// When this partition acknowledged something the last time.
    #[must_use]
    pub fn last_ack(&self, key: &Key) -> Option<Time> {
        self.lock().seen.acks_of(key).last().copied()
    }

    /// When this partition acknowledged something, in order.
    #[must_use]
    pub fn acks_of(&self, key: &Key) -> Vec<Time> {
        self.lock().seen.acks_of(key).to_vec()
    }

    /// How long each operation took that has ended.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.with_history(Sample::all_of)
    }

    /// Looks at the history; what clients do waits meanwhile.
    pub fn with_history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.lock().history)
    }

    /// The history, if nobody else records any more.
    #[must_use]
    pub fn into_history(self: Arc<Self>) -> Option<History> {
        let state = Arc::into_inner(self)?.state;
        Some(state.into_inner().unwrap_or_else(PoisonError::into_inner).history)
    }

    /// What the checker says of it all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.with_history(check)
    }

    /// Copies of `most` events at most, from this one on.
    #[must_use]
    pub fn events_from(&self, at: usize, most: usize) -> Vec<Event> {
        let state = self.lock();
        let events = state.history.events().iter();
        events.skip(at).take(most).cloned().collect()
    }
}

/// Writes the events from `*at` on that there are by now, one a line, and moves `*at` past them. (The first line of a
/// file, [`quipu_checker::FORMAT_LINE`], is the caller's to write.)
///
/// # Errors
/// What `out` says.
pub fn write_lines(recorder: &Recorder, at: &mut usize, out: &mut impl Write) -> io::Result<()> {
    loop {
        let events = recorder.events_from(*at, WRITTEN_AT_A_TIME);
        for event in &events {
            writeln!(out, "{}", to_line(event))?;
        }
        *at += events.len();
        if events.len() < WRITTEN_AT_A_TIME {
            return Ok(());
        }
    }
}

/// A client's thread of work: one operation at a time. Dropped in the middle of one, it leaves it open, which is as good
/// as an `info`.
#[derive(Debug)]
pub struct Actor {
    recorder: Arc<Recorder>,
    process: Process,
    begun: Option<Time>,
}

impl Actor {
    /// Who it is now.
    #[must_use]
    pub const fn process(&self) -> Process {
        self.process
    }

    /// Goes on as another process, of whose past nothing is expected; an operation under way is left open.
    pub fn renew(&mut self) {
        self.process = self.recorder.new_process();
        self.begun = None;
    }

    /// An operation begins; nothing of it was sent yet.
    ///
    /// # Errors
    /// One is under way, or a value was sent before: it is no history then.
    pub fn invoke(&mut self, op: Op) -> Result<Time, HistoryError> {
        let time = self.recorder.push(self.process, Kind::Invoke, op, None)?;
        self.begun = Some(time);
        Ok(time)
    }

    /// It happened.
    ///
    /// # Errors
    /// There is no such operation under way: it is no history then.
    pub fn ok(&mut self, op: Op) -> Result<Time, HistoryError> {
        self.complete(Kind::Ok, op)
    }

    /// It certainly did not happen.
    ///
    /// # Errors
    /// As of [`Actor::ok`].
    pub fn fail(&mut self, op: Op) -> Result<Time, HistoryError> {
        self.complete(Kind::Fail, op)
    }

    /// Nobody knows. It goes on as another process.
    ///
    /// # Errors
    /// As of [`Actor::ok`].
    pub fn info(&mut self, op: Op) -> Result<Time, HistoryError> {
        let time = self.complete(Kind::Info, op)?;
        self.renew();
        Ok(time)
    }

    fn complete(&mut self, kind: Kind, op: Op) -> Result<Time, HistoryError> {
        let begun = self.begun.take();
        self.recorder.push(self.process, kind, op, begun)
    }
}

#[cfg(test)]
mod tests;
