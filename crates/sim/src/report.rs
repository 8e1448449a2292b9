//! What a run came to.

use quipu_checker::Verdict;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The process dies; what it wrote stays.
    Kill,
    /// The power goes; what was not synced is kept, dropped or torn.
    PowerCut,
    /// The process is told to stop, and stops in order.
    CleanStop,
    /// A sync fails.
    SyncFails,
    /// A write fails.
    WriteFails,
    /// Pages cannot be written back, at random for a while: the next sync of a handle that was open says so, once.
    WriteBackFails,
    /// Reads fail for a while.
    ReadsFail,
    /// Writes are short, or find no room, at random for a while.
    ShortWrites,
    /// The disk is full for a while.
    DiskFull,
    /// Syncs are slow for a while.
    SlowDisk,
    /// Messages are lost for a while.
    MessagesLost,
    /// Messages are late, so that they overtake each other, for a while.
    MessagesLate,
    /// Messages arrive twice for a while.
    MessagesTwice,
    /// The wall clock jumps.
    ClockJump,
    /// Nobody leads for a moment; then the same broker does, in a new epoch.
    Reelection,
    /// `min.insync.replicas` is more than there are, for a while.
    TooFewInSync,
    /// A producer's process is replaced while batches are under way: its epoch rises.
    ProducerReplaced,
}

impl Fault {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::PowerCut,
        Self::CleanStop,
        Self::SyncFails,
        Self::WriteFails,
        Self::WriteBackFails,
        Self::ReadsFail,
        Self::ShortWrites,
        Self::DiskFull,
        Self::SlowDisk,
        Self::MessagesLost,
        Self::MessagesLate,
        Self::MessagesTwice,
        Self::ClockJump,
        Self::Reelection,
        Self::TooFewInSync,
        Self::ProducerReplaced,
    ];

    /// Whether it may take back what was written and not synced.
    pub(crate) const fn loses_what_was_written(self) -> bool {
        matches!(
            self,
            Self::PowerCut | Self::SyncFails | Self::WriteFails | Self::WriteBackFails
        )
    }
}

/// What was done and seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Events that the schedule brought.
    pub steps: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Records acknowledged under `acks=all`.
    pub acked: u64,
    /// Records read by consumers.
    pub read: u64,
    /// Batches sent again.
    pub retries: u64,
    /// Answers that said "duplicate".
    pub duplicates: u64,
    /// Answers that said that the outcome is unknown.
    pub unknown: u64,
    /// Refusals, by code.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Flush rounds that ended well.
    pub rounds: u64,
    /// Times a broker started.
    pub boots: u64,
    /// Torn tails that recovery cut.
    pub cuts: u64,
    /// Records deleted, by request or by retention.
    pub deleted: u64,
    /// Times that an invariant was looked at.
    pub checks: u64,
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acked += other.acked;
        self.read += other.read;
        self.retries += other.retries;
        self.duplicates += other.duplicates;
        self.unknown += other.unknown;
        self.rounds += other.rounds;
        self.boots += other.boots;
        self.cuts += other.cuts;
        self.deleted += other.deleted;
        self.checks += other.checks;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (code, count) in &other.refusals {
            *self.refusals.entry(code).or_default() += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} steps, {} records acknowledged, {} read, {} deleted, {} checks of invariants",
            self.steps, self.acked, self.read, self.deleted, self.checks
        )?;
        writeln!(
            f,
            "{} boots, {} torn tails cut, {} flush rounds, {} retries, {} duplicates recognised, {} outcomes unknown",
            self.boots, self.cuts, self.rounds, self.retries, self.duplicates, self.unknown
        )?;
        let faults: Vec<String> = Fault::ALL
            .iter()
            .map(|fault| {
                format!(
                    "{fault:?} {}",
                    self.faults.get(fault).copied().unwrap_or_default()
                )
            })
            .collect();
        writeln!(f, "faults: {}", faults.join(", "))?;
        let refusals: Vec<String> = self
            .refusals
            .iter()
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        write!(f, "refusals: {}", refusals.join(", "))
    }
}

/// A property that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its name, as in `I7 no acknowledged record lost`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub trace_hash: u64,
    /// What was done.
    pub counts: Counts,
    /// The first property that did not hold; the run ended there.
    pub violation: Option<Violation>,
    /// What the clients' history came to; not looked at after a violation.
    pub verdict: Option<Verdict>,
    /// What happened, in words, if that was wanted.
    pub told: Vec<String>,
}

impl Outcome {
    /// Whether everything held.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violation.is_none() && self.verdict.as_ref().is_none_or(Verdict::is_clean)
    }

    /// What did not hold, in words.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if let Some(violation) = &self.violation {
            return Some(violation.to_string());
        }
        let verdict = self.verdict.as_ref()?;
        (!verdict.is_clean()).then(|| verdict.to_string())
    }
}
