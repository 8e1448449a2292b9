//! The verdict: what was looked at, what was found, and how it shows.

use crate::history::{Acks, EventId, History, Kind, Op, Process};
use crate::observed::Observed;
use crate::properties;
use std::collections::BTreeMap;
use std::fmt;

/// What may not happen. The names are those that reports and people use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum AnomalyKind {
    /// P1: two values at one offset, across acknowledgements, reads and replicas.
    InconsistentOffsets,
    /// P2: a value of an idempotent producer at two offsets.
    Duplicate,
    /// P3: a value was read whose sender was told that it had certainly failed (Jepsen's G1a).
    AbortedRead,
    /// P3: a value was read that nobody sent to that partition, or bytes that name no value.
    UnsentRead,
    /// P3: a value was read with other bytes than were sent.
    CorruptRead,
    /// P4: a value sent after another one was acknowledged stands before it.
    RealTimeOrder,
    /// P5: an acknowledged value is missing from a replica's final log.
    LostWrite,
    /// P5: an acknowledged value lies below a log start that no deletion explains.
    BelowLogStart,
}

impl AnomalyKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::InconsistentOffsets,
        Self::Duplicate,
        Self::AbortedRead,
        Self::UnsentRead,
        Self::CorruptRead,
        Self::RealTimeOrder,
        Self::LostWrite,
        Self::BelowLogStart,
    ];

    /// Its name, with the property that it breaks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InconsistentOffsets => "P1 inconsistent-offsets",
            Self::Duplicate => "P2 duplicate",
            Self::AbortedRead => "P3 aborted-read",
            Self::UnsentRead => "P3 unsent-read",
            Self::CorruptRead => "P3 corrupt-read",
            Self::RealTimeOrder => "P4 real-time-order",
            Self::LostWrite => "P5 lost-write",
            Self::BelowLogStart => "P5 below-log-start",
        }
    }
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One event of the piece that shows an anomaly, reduced to what matters of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Which event.
    pub event: EventId,
    /// When, who and what, in words.
    pub words: String,
}

impl Evidence {
    /// An event of `history`, and what it tells here.
    pub(crate) fn of(history: &History, event: EventId, what: &str) -> Self {
        let told = history.event(event);
        let words = match told.process {
            Process::Nemesis => format!("{}  {what}", told.time),
            process @ Process::Client(_) => format!("{}  {process} {}: {what}", told.time, told.kind),
        };
        Self { event, words }
    }
}

/// Something that may not happen, and did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anomaly {
    /// What it is.
    pub kind: AnomalyKind,
    /// In one sentence.
    pub summary: String,
    /// The shortest piece of the history that shows it, in order.
    pub evidence: Vec<Evidence>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.summary)?;
        for evidence in &self.evidence {
            write!(f, "\n    #{:<6} {}", evidence.event.0, evidence.words)?;
        }
        Ok(())
    }
}

/// What the history held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Events of all kinds.
    pub events: usize,
    /// Partitions named.
    pub partitions: usize,
    /// Operations that happened.
    pub ok: usize,
    /// Operations that certainly did not.
    pub fail: usize,
    /// Operations that nobody knows of.
    pub info: usize,
    /// Values sent.
    pub sent: usize,
    /// Values acknowledged under `acks=all`.
    pub acked: usize,
    /// Records read by consumers, repetitions included.
    pub read: usize,
    /// Records in final logs.
    pub final_records: usize,
    /// Replicas whose final log was told, counted by partition.
    pub final_logs: usize,
    /// Values of plain producers that stand at two offsets, as they may.
    pub allowed_duplicates: usize,
    /// Faults told.
    pub faults: usize,
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What there was to look at.
    pub counts: Counts,
    /// How often each kind of anomaly occurred.
    pub found: BTreeMap<AnomalyKind, usize>,
    /// The first few of each kind.
    pub anomalies: Vec<Anomaly>,
    /// Properties that had nothing to look at, and why.
    pub unchecked: Vec<&'static str>,
}

/// How many anomalies of a kind are shown in full.
const SHOWN_OF_EACH: usize = 5;

impl Verdict {
    /// Whether nothing was found that may not happen.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// Takes note of an anomaly; only the first few of a kind are told in full.
    pub(crate) fn add(&mut self, kind: AnomalyKind, tell: impl FnOnce() -> (String, Vec<Evidence>)) {
        let count = self.found.entry(kind).or_insert(0);
        *count += 1;
        if *count <= SHOWN_OF_EACH {
            let (summary, mut evidence) = tell();
            evidence.sort_by_key(|one| one.event);
            evidence.dedup();
            self.anomalies.push(Anomaly {
                kind,
                summary,
                evidence,
            });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        writeln!(
            f,
            "{} events on {} partitions: {} ok, {} fail, {} info, {} faults; {} values sent, {} acknowledged, {} read; {} final logs with {} records",
            c.events,
            c.partitions,
            c.ok,
            c.fail,
            c.info,
            c.faults,
            c.sent,
            c.acked,
            c.read,
            c.final_logs,
            c.final_records
        )?;
        for unchecked in &self.unchecked {
            writeln!(f, "unchecked: {unchecked}")?;
        }
        if self.is_clean() {
            return f.write_str("no anomalies");
        }
        for (kind, count) in &self.found {
            writeln!(f, "{count} x {kind}")?;
        }
        let told: Vec<String> = self.anomalies.iter().map(ToString::to_string).collect();
        f.write_str(&told.join("\n"))
    }
}

/// Checks a history. Linear in its length.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let observed = Observed::of(history);
    let mut verdict = Verdict {
        counts: count(history, &observed),
        found: BTreeMap::new(),
        anomalies: Vec::new(),
        unchecked: Vec::new(),
    };
    properties::one_value_per_offset::check(history, &observed, &mut verdict);
    properties::no_duplicates::check(history, &observed, &mut verdict);
    properties::reads_were_sent::check(history, &observed, &mut verdict);
    properties::real_time_order::check(history, &observed, &mut verdict);
    properties::durability::check(history, &observed, &mut verdict);
    verdict
}

fn count(history: &History, observed: &Observed) -> Counts {
    let mut counts = Counts {
        events: history.events().len(),
        partitions: observed.partitions(),
        final_logs: observed.finals.len(),
        ..Counts::default()
    };
    for operation in history.operations() {
        match history.outcome(*operation) {
            Kind::Ok => counts.ok += 1,
            Kind::Fail => counts.fail += 1,
            Kind::Invoke | Kind::Info => counts.info += 1,
        }
    }
    for event in history.events() {
        match (&event.op, event.kind) {
            (Op::Send(send), Kind::Invoke) => counts.sent += send.values.len(),
            (Op::Send(send), Kind::Ok) if send.acks == Acks::All => counts.acked += send.values.len(),
            (Op::Poll(poll), Kind::Ok) => {
                counts.read += poll
                    .partitions
                    .iter()
                    .map(|part| part.records.len())
                    .sum::<usize>();
            }
            (Op::Final(last), _) => counts.final_records += last.records.len(),
            (Op::Fault { .. }, _) => counts.faults += 1,
            _ => {}
        }
    }
    counts
}
