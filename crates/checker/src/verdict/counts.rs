//! What a history held.

use crate::history::{Acks, Fault, History, Kind, Op, Phase, Process};
use crate::observed::{FinalLog, Observed};
use serde::Serialize;
use std::collections::BTreeMap;

/// How operations of one kind ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Outcomes {
    /// They happened.
    pub ok: usize,
    /// They certainly did not.
    pub fail: usize,
    /// Nobody knows.
    pub info: usize,
}

/// What the history held.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
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
    /// How operations ended, by what they were.
    pub operations: BTreeMap<&'static str, Outcomes>,
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
    /// Faults told; the end of one is none.
    pub faults: usize,
    /// Faults told, by their kind where it has a name.
    pub faults_by_kind: BTreeMap<String, usize>,
}

/// What operations are, as they are written.
const NAMES: [&str; 19] = [
    "send",
    "poll",
    "txn",
    "assign",
    "subscribe",
    "crash",
    "latest",
    "commit",
    "committed",
    "metadata-write",
    "metadata-read",
    "trim",
    "owned",
    "released",
    "advanced",
    "final",
    "fault",
    "healed",
    "final-polls",
];

/// The place of an operation's name.
const fn place(op: &Op) -> usize {
    match op {
        Op::Send(_) => 0,
        Op::Poll(_) => 1,
        Op::Txn(_) => 2,
        Op::Assign(_) => 3,
        Op::Subscribe(_) => 4,
        Op::Crash => 5,
        Op::Latest(_) => 6,
        Op::Commit(_) => 7,
        Op::Committed(_) => 8,
        Op::MetadataWrite(_) => 9,
        Op::MetadataRead(_) => 10,
        Op::Trim(_) => 11,
        Op::Owned(_) => 12,
        Op::Released(_) => 13,
        Op::Advanced(_) => 14,
        Op::Final(_) => 15,
        Op::Fault(_) => 16,
        Op::Healed { .. } => 17,
        Op::FinalPolls => 18,
    }
}

/// What an operation is, as it is written.
pub(crate) const fn op_name(op: &Op) -> &'static str {
    NAMES[place(op)]
}

pub(super) fn count(history: &History, observed: &Observed<'_>) -> Counts {
    let mut counts = Counts {
        events: history.events().len(),
        partitions: observed.partitions().count(),
        final_logs: observed.finals.len(),
        final_records: observed.finals.iter().map(FinalLog::records).sum(),
        ..Counts::default()
    };
    counts.take_operations(history);
    for sent in &observed.told.sends {
        match sent.kind {
            Kind::Invoke => counts.sent += sent.count as usize,
            Kind::Ok if sent.acks == Acks::All => counts.acked += sent.count as usize,
            _ => {}
        }
    }
    let polled = observed
        .told
        .polls
        .iter()
        .filter(|polled| polled.kind == Kind::Ok);
    counts.read = polled.map(|polled| polled.part.records.len()).sum();
    for id in &observed.told.faults {
        if let Op::Fault(fault) = &history.event(*id).op {
            counts.take_fault(fault);
        }
    }
    counts
}

impl Counts {
    /// How operations ended, from each event: what began and did not end with `ok` or `fail`, nobody knows of.
    fn take_operations(&mut self, history: &History) {
        let mut by_place = [Outcomes::default(); NAMES.len()];
        let operations = history
            .events()
            .iter()
            .filter(|event| matches!(event.process, Process::Client(_)) && !event.op.is_mark());
        for event in operations {
            let outcomes = &mut by_place[place(&event.op)];
            match event.kind {
                Kind::Invoke => outcomes.info += 1,
                Kind::Ok => outcomes.ok += 1,
                Kind::Fail => outcomes.fail += 1,
                Kind::Info => {}
            }
        }
        for (name, mut outcomes) in NAMES.into_iter().zip(by_place) {
            if outcomes.info == 0 {
                continue;
            }
            outcomes.info -= outcomes.ok + outcomes.fail;
            self.ok += outcomes.ok;
            self.fail += outcomes.fail;
            self.info += outcomes.info;
            self.operations.insert(name, outcomes);
        }
    }

    fn take_fault(&mut self, fault: &Fault) {
        if fault.phase == Some(Phase::End) {
            return;
        }
        self.faults += 1;
        if let Some(kind) = &fault.kind {
            *self.faults_by_kind.entry(kind.clone()).or_default() += 1;
        }
    }
}
