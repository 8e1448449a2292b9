//! What a history held.

use crate::history::{Acks, Event, Fault, History, Kind, Op, Phase};
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

/// What an operation is, as it is written.
pub(crate) const fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Send(_) => "send",
        Op::Poll(_) => "poll",
        Op::Txn(_) => "txn",
        Op::Assign(_) => "assign",
        Op::Subscribe(_) => "subscribe",
        Op::Crash => "crash",
        Op::Latest(_) => "latest",
        Op::Commit(_) => "commit",
        Op::Committed(_) => "committed",
        Op::MetadataWrite(_) => "metadata-write",
        Op::MetadataRead(_) => "metadata-read",
        Op::Trim(_) => "trim",
        Op::Owned(_) => "owned",
        Op::Released(_) => "released",
        Op::Advanced(_) => "advanced",
        Op::Final(_) => "final",
        Op::Fault(_) => "fault",
        Op::Healed { .. } => "healed",
        Op::FinalPolls => "final-polls",
    }
}

pub(super) fn count(history: &History, observed: &Observed) -> Counts {
    let mut counts = Counts {
        events: history.events().len(),
        partitions: observed.partitions().count(),
        final_logs: observed.finals.len(),
        final_records: observed.finals.iter().map(FinalLog::records).sum(),
        ..Counts::default()
    };
    for operation in history.operations() {
        let name = op_name(&history.event(operation.invoke).op);
        let of_kind = counts.operations.entry(name).or_default();
        let (all, kind) = match history.outcome(*operation) {
            Kind::Ok => (&mut counts.ok, &mut of_kind.ok),
            Kind::Fail => (&mut counts.fail, &mut of_kind.fail),
            Kind::Invoke | Kind::Info => (&mut counts.info, &mut of_kind.info),
        };
        *all += 1;
        *kind += 1;
    }
    for event in history.events() {
        counts.take(event);
    }
    counts
}

impl Counts {
    fn take(&mut self, event: &Event) {
        if let Op::Fault(fault) = &event.op {
            self.take_fault(fault);
            return;
        }
        for send in event.op.sends() {
            match event.kind {
                Kind::Invoke => self.sent += send.values.len(),
                Kind::Ok if send.acks == Acks::All => self.acked += send.values.len(),
                _ => {}
            }
        }
        if event.kind == Kind::Ok {
            let parts = event.op.polls().flat_map(|poll| &poll.partitions);
            self.read += parts.map(|part| part.records.len()).sum::<usize>();
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
