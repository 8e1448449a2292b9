//! Somebody who deletes records now and then.

use super::Caller;
use crate::cluster::message::{Ask, ClientEvent, PartitionIndex, RequestId};
use crate::cluster::shared::Shared;
use quipu_checker::{Kind, Op, Process, Trim};
use quipu_record::Offset;
use quipu_replication::DeleteRecordsError;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(500);
/// How long it waits to hear who leads.
const LOST: Duration = Duration::from_millis(15);

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Deleter {
    process: Option<Process>,
    /// The deletion under way.
    deleting: Option<(RequestId, PartitionIndex, Offset)>,
}

impl Deleter {
    pub(crate) fn is_idle(&self) -> bool {
        self.deleting.is_none()
    }

    pub(crate) fn act(&mut self, shared: &mut Shared, caller: &mut Caller<'_>) {
        if shared.resting || self.deleting.is_some() {
            return;
        }
        let partition = shared.chance.below(shared.plan.partitions.len());
        let ghost = &shared.ghosts[partition];
        let room = ghost.true_high_watermark.since(ghost.may_start);
        let step = shared.chance.below(usize::try_from(room / 2).unwrap_or(0) + 1) as u64;
        let before = shared.ghosts[partition].may_start.plus(step);
        let id = shared.new_request();
        self.deleting = Some((id, partition, before));
        self.tell(shared, Kind::Invoke);
        let wait = match caller.ask(shared, id, partition, Ask::DeleteRecords { before }) {
            Some(_) => PATIENCE,
            None => LOST,
        };
        let timeout = ClientEvent::Timeout {
            request: id,
            attempt: 1,
        };
        caller.plan(shared, wait, timeout);
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, caller: &mut Caller<'_>, id: RequestId) {
        if let Some((deleting, partition, _)) = self.deleting
            && deleting == id
        {
            caller.routes.doubt(partition);
            self.tell(shared, Kind::Info);
            self.process = None;
            self.rest(shared, caller);
        }
    }

    pub(crate) fn answered(
        &mut self,
        shared: &mut Shared,
        caller: &mut Caller<'_>,
        id: RequestId,
        result: &Result<Offset, DeleteRecordsError>,
    ) {
        if self.deleting.is_none_or(|(deleting, ..)| deleting != id) {
            return;
        }
        match result {
            Ok(_) => self.tell(shared, Kind::Ok),
            Err(DeleteRecordsError::OutOfRange { .. }) => self.tell(shared, Kind::Fail),
            Err(_) => {
                self.tell(shared, Kind::Info);
                self.process = None;
            }
        }
        self.rest(shared, caller);
    }

    fn rest(&mut self, shared: &mut Shared, caller: &Caller<'_>) {
        self.deleting = None;
        let wait = shared.chance.millis(1500);
        caller.plan(shared, wait, ClientEvent::Act);
    }

    fn tell(&mut self, shared: &mut Shared, kind: Kind) {
        let Some((_, partition, before)) = self.deleting else {
            return;
        };
        let process = *self.process.get_or_insert_with(|| shared.new_process());
        let key = shared.plan.partitions[partition].key.clone();
        shared.tell(process, kind, Op::Trim(Trim { key, before }));
    }
}
