//! What may not happen, by name, and how it is shown.

use crate::history::{EventId, History, Process};
use serde::{Serialize, Serializer};
use std::fmt;

/// The kinds, each with its property, its name and what it is.
macro_rules! kinds {
    ($($kind:ident, $property:literal, $name:literal, $meaning:literal;)*) => {
        /// What may not happen. The names are those that reports and people use; Jepsen's where it has one.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum AnomalyKind {
            $(#[doc = $meaning] $kind,)*
        }

        impl AnomalyKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The property that it breaks, where that has a number.
            #[must_use]
            pub const fn property(self) -> Option<&'static str> {
                let property = match self {
                    $(Self::$kind => $property,)*
                };
                if property.is_empty() { None } else { Some(property) }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$kind => $meaning,)*
                }
            }
        }
    };
}

kinds! {
    InconsistentOffsets, "P1", "inconsistent-offsets", "two values at one offset, across acknowledgements, reads and replicas";
    Duplicate, "P2", "duplicate", "a value of an idempotent producer at two offsets";
    AbortedRead, "P3", "G1a", "a value was read whose sender was told that it had certainly failed (an aborted read)";
    UnsentRead, "P3", "unsent-read", "a value was read that nobody sent to that partition, or bytes that name no value";
    CorruptRead, "P3", "corrupt-read", "a value was read with other bytes than were sent";
    RealTimeOrder, "P4", "real-time-order", "a value sent after another one was acknowledged stands before it";
    LostWrite, "P5", "lost-write", "a value that is certainly in the log is missing: from a replica's final log, or below what was read";
    BelowLogStart, "P5", "below-log-start", "an acknowledged value lies below a log start that no deletion explains";
    StaleHighWatermark, "P6", "stale-high-watermark", "the high watermark, asked for after an acknowledgement, lies below what was acknowledged";
    HighWatermarkWentBack, "P6", "high-watermark-went-back", "the high watermark, asked for twice in a row, became less";
    HighWatermarkTooHigh, "P6", "high-watermark-too-high", "a high watermark lies above all that was ever sent";
    Gap, "P7", "gap", "a read leaves out offsets without a word";
    ReadPastHighWatermark, "P7", "read-past-high-watermark", "a record was read at or above the high watermark that came with it";
    ProducerOrder, "P8", "producer-order", "what one producer sent in order stands in another order";
    ReadYourWrites, "P8", "read-your-writes", "a client does not see what it was told is there";
    PastLastStable, "P9", "past-last-stable", "a read of committed transactions went beyond the last stable offset";
    TornTransaction, "P9", "torn-transaction", "a part of a transaction is in the log, and another part is not";
    StaleEpochAck, "P10", "stale-epoch-ack", "a leader acknowledged what was sent after a later leader had acknowledged something";
    EpochWentBack, "P10", "epoch-went-back", "leader epochs fall as offsets grow";
    DivergedReplicas, "P11", "diverged-replicas", "replicas hold different batches where both must hold the same";
    CutBelowHighWatermark, "P11", "cut-below-high-watermark", "a replica's log ends below a high watermark that was told";
    Unseen, "", "unseen", "an acknowledged value was never polled, though everything was polled to its end";
    PollSkip, "", "poll-skip", "a consumer's next poll left out values";
    NonmonotonicPoll, "", "nonmonotonic-poll", "a consumer's next poll went back";
    IntPollSkip, "", "int-poll-skip", "one poll left out values";
    IntNonmonotonicPoll, "", "int-nonmonotonic-poll", "one poll went back";
    NonmonotonicSend, "", "nonmonotonic-send", "what a process sent later stands before what it sent earlier";
    IntNonmonotonicSend, "", "int-nonmonotonic-send", "values of one send stand in another order";
    IntSendSkip, "", "int-send-skip", "values of others stand between those of one send";
    PrecommittedRead, "", "precommitted-read", "a transaction read what it had sent itself";
    G0, "", "G0", "transactions overwrote each other in a circle";
    G0Process, "", "G0-process", "such a circle through the order of a process";
    G0Realtime, "", "G0-realtime", "such a circle through the order in time";
    G1c, "", "G1c", "transactions saw each other in a circle";
    G1cProcess, "", "G1c-process", "such a circle through the order of a process";
    G1cRealtime, "", "G1c-realtime", "such a circle through the order in time";
    StaleCommit, "", "stale-commit", "reads and commits of an offset are in no order that all of them fit";
    UnknownCommit, "", "unknown-commit", "a committed offset was read that nobody committed, or that had certainly failed";
    UnfencedCommit, "", "unfenced-commit", "a commit was taken from a member that did not own the partition in that epoch";
    WronglyFencedCommit, "", "wrongly-fenced-commit", "a commit was refused to the member that owned the partition in that epoch";
    MetadataMismatch, "", "metadata-mismatch", "the metadata of a version is not what was written up to it";
    StaleMetadata, "", "stale-metadata", "metadata lacks what was acknowledged before it was asked for";
    MetadataWentBack, "", "metadata-went-back", "a client saw a version of the metadata, and then an earlier one";
    MetadataWriteOrder, "", "metadata-write-order", "a later change of the metadata has an earlier version";
    TwoOwners, "", "two-owners", "two members of a group owned a partition at once";
    GroupEpochWentBack, "", "group-epoch-went-back", "an epoch of a group or of a member became less";
    NoWriteAfterHealing, "", "no-write-after-healing", "nothing was acknowledged in time after the cluster was whole again";
    TailNotReached, "", "tail-not-reached", "the final polls did not reach a partition's end in time";
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(property) = self.property() {
            write!(f, "{property} ")?;
        }
        f.write_str(self.name())
    }
}

impl Serialize for AnomalyKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One event of the piece that shows an anomaly, reduced to what matters of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
            process @ Process::Client(_) if told.op.is_mark() => format!("{}  {process}: {what}", told.time),
            process @ Process::Client(_) => format!("{}  {process} {}: {what}", told.time, told.kind),
        };
        Self { event, words }
    }
}

/// Something that may not happen, and did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
