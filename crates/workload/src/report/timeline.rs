//! The writes of a history, and the faults among them.

use super::words;
use quipu_checker::{Acks, Fault, History, Kind, Op, Phase, Time};
use serde::Serialize;
use std::time::Duration;

/// One send of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Write {
    pub(super) begin: Time,
    pub(super) end: Time,
}

impl Write {
    pub(super) fn took(self) -> Duration {
        Duration::from_nanos(self.end.0.saturating_sub(self.begin.0))
    }
}

/// Something done to the brokers, from its beginning to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FaultSpan {
    pub(super) kind: String,
    pub(super) what: String,
    pub(super) begin: Time,
    /// `None`: it was never ended. Of a fault that has no end, its beginning.
    pub(super) end: Option<Time>,
}

/// What the plot and the figures are made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Timeline {
    /// Acknowledged under `acks=all`, by their beginning.
    pub(super) acknowledged: Vec<Write>,
    /// The ends of these, sorted.
    pub(super) acknowledged_at: Vec<Time>,
    pub(super) failed: Vec<Write>,
    pub(super) unknown: Vec<Write>,
    /// By their beginning.
    pub(super) faults: Vec<FaultSpan>,
    /// When everything was whole again: as it was told, else the ends of the faults.
    pub(super) healed: Vec<Time>,
    /// When the last event was, in nanoseconds.
    pub(super) end: u64,
}

/// What a fault is called that nobody gave a kind.
const NAMELESS: &str = "fault";

impl Timeline {
    pub(super) fn of(history: &History) -> Self {
        let end = history.events().last().map_or(0, |event| event.time.0);
        let mut timeline = Self {
            end,
            ..Self::default()
        };
        timeline.take_writes(history);
        for event in history.events() {
            match &event.op {
                Op::Fault(fault) => timeline.take_fault(fault, event.time),
                Op::Healed { .. } => timeline.healed.push(event.time),
                _ => {}
            }
        }
        if timeline.healed.is_empty() {
            timeline.healed = timeline.faults.iter().filter_map(|span| span.end).collect();
            timeline.healed.sort_unstable();
        }
        timeline
    }

    fn take_writes(&mut self, history: &History) {
        for operation in history.operations() {
            let invoke = history.event(operation.invoke);
            let Op::Send(send) = &invoke.op else { continue };
            let completed = operation.completion.map(|completion| history.event(completion));
            let write = Write {
                begin: invoke.time,
                end: completed.map_or(Time(self.end), |event| event.time),
            };
            match (history.outcome(*operation), send.acks) {
                (Kind::Ok, Acks::All) => self.acknowledged.push(write),
                (Kind::Ok, _) => {}
                (Kind::Fail, _) => self.failed.push(write),
                (Kind::Invoke | Kind::Info, _) => self.unknown.push(write),
            }
        }
        self.acknowledged_at = self.acknowledged.iter().map(|write| write.end).collect();
        self.acknowledged_at.sort_unstable();
    }

    /// An end is that of the fault with the same words, else of the first of its kind that is still open.
    fn take_fault(&mut self, fault: &Fault, time: Time) {
        let kind = fault.kind.as_deref().unwrap_or(NAMELESS);
        if fault.phase == Some(Phase::End) {
            let open = |span: &FaultSpan| span.end.is_none() && span.kind == kind;
            let same = self
                .faults
                .iter()
                .position(|span| open(span) && span.what == fault.what);
            let ended = same.or_else(|| self.faults.iter().position(open));
            if let Some(span) = ended.and_then(|at| self.faults.get_mut(at)) {
                span.end = Some(time);
                // A fault that chose its target as it began.
                if span.what == span.kind {
                    fault.what.clone_into(&mut span.what);
                }
            }
            return;
        }
        self.faults.push(FaultSpan {
            kind: kind.to_owned(),
            what: fault.what.clone(),
            begin: time,
            end: fault.phase.is_none().then_some(time),
        });
    }

    pub(super) fn seconds(&self) -> f64 {
        seconds(Time(self.end))
    }

    /// The first acknowledgement after a moment.
    pub(super) fn next_acknowledged(&self, after: Time) -> Option<Time> {
        let at = self.acknowledged_at.partition_point(|end| *end <= after);
        self.acknowledged_at.get(at).copied()
    }

    /// Acknowledged writes that began in this time.
    pub(super) fn begun_within(&self, from: Time, to: Time) -> &[Write] {
        let place = |time: Time| self.acknowledged.partition_point(|write| write.begin < time);
        self.acknowledged.get(place(from)..place(to)).unwrap_or_default()
    }

    pub(super) fn acknowledged_latency(&self) -> Option<Percentiles> {
        Percentiles::of(&self.acknowledged)
    }
}

/// Since the history began.
pub(super) fn seconds(time: Time) -> f64 {
    Duration::from_nanos(time.0).as_secs_f64()
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Percentiles {
    /// Of how many writes.
    pub writes: usize,
    /// The median.
    pub p50_ms: f64,
    /// 95 of 100 were no slower.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Percentiles {
    /// Of these writes; `None`: there are none.
    pub(super) fn of(writes: &[Write]) -> Option<Self> {
        let mut took: Vec<Duration> = writes.iter().map(|write| write.took()).collect();
        took.sort_unstable();
        let max = *took.last()?;
        let at = |per_mille| words::millis(quantile(&took, per_mille).unwrap_or(max));
        Some(Self {
            writes: took.len(),
            p50_ms: at(500),
            p95_ms: at(950),
            p99_ms: at(990),
            p999_ms: at(999),
            max_ms: words::millis(max),
        })
    }
}

/// The least of `sorted` that so many in a thousand do not exceed.
pub(super) fn quantile<T: Copy>(sorted: &[T], per_mille: usize) -> Option<T> {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}
