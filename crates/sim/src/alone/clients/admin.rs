//! Somebody who deletes records now and then.

use super::{ask, plan};
use crate::alone::message::{Ask, ClientEvent, ClientIndex, PartitionIndex, RequestId};
use crate::alone::shared::Shared;
use quipu_checker::{Kind, Op, Process, Trim};
use quipu_record::Offset;
use quipu_replication::{DeleteBefore, DeleteRecordsError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(500);

/// One administrator.
#[derive(Debug)]
pub(crate) struct Admin {
    me: ClientIndex,
    process: Option<Process>,
    /// The deletion under way.
    deleting: Option<(RequestId, PartitionIndex, Offset)>,
}

impl Admin {
    pub(crate) fn new(me: ClientIndex) -> Self {
        Self {
            me,
            process: None,
            deleting: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.deleting.is_none()
    }

    pub(crate) fn act(&mut self, shared: &mut Shared) {
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
        let delete = Ask::DeleteRecords {
            before: DeleteBefore::Offset(before),
        };
        ask(shared, self.me, id, partition, delete);
        let timeout = ClientEvent::Timeout {
            request: id,
            attempt: 1,
        };
        plan(shared, self.me, PATIENCE, timeout);
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, id: RequestId) {
        if self.deleting.is_some_and(|(deleting, ..)| deleting == id) {
            self.tell(shared, Kind::Info);
            self.process = None;
            self.rest(shared);
        }
    }

    pub(crate) fn answered(
        &mut self,
        shared: &mut Shared,
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
        self.rest(shared);
    }

    fn rest(&mut self, shared: &mut Shared) {
        self.deleting = None;
        let wait = shared.chance.millis(1500);
        plan(shared, self.me, wait, ClientEvent::Act);
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
