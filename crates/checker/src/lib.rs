//! Histories of what clients did and saw, and what may not happen in them.
//!
//! A log needs no search: the offset in each reply is the witness order, so every property is one pass, linear in the
//! history. [`check`] gives a [`Verdict`]: counts by kind and, for each anomaly shown, the shortest piece of the history
//! that shows it, in words.
//!
//! Invariants
//! - Nothing here looks at anything but the history. The caller reads and writes files.
//! - A history that breaks the rules of histories is an error, never a verdict.
//! - A property that had nothing to look at is named as unchecked or as not exercised, never counted as kept.
//!
//! [`to_edn`] writes a history for Jepsen's own checker; the head of `history/edn.rs` says how that is run.
//!
//! Elsewhere: `quipu-sim` makes histories from seeds; a property is a file in `properties/`, and adding one is adding a
//! file and a line in `properties.rs`.

#![warn(clippy::expect_used, clippy::panic)]

mod counting;
mod history;
mod numbered;
mod observed;
mod properties;
mod rising;
mod verdict;

pub use history::{
    Acks, Advanced, Assign, Commit, CommitId, Committed, Committer, Event, EventId, FORMAT_LINE, Fault,
    Final, FinalBatch, FoundCommit, Group, GroupEpoch, History, HistoryError, Key, Kind, Latest, LineError,
    Member, MemberEpoch, MetadataRead, MetadataWrite, Op, Operation, Owned, Phase, Poll, PolledPartition,
    Process, ReadRecord, Released, Send, Step, Subscribe, Time, Topic, Trim, Txn, Value, ValueId, from_line,
    from_lines, to_edn, to_line,
};
pub use verdict::{Anomaly, AnomalyKind, Counts, Evidence, Limits, Outcomes, Verdict, check, check_with};
