//! Consumers: each reads on where it stopped, and now and then begins again.

use super::Caller;
use crate::cluster::message::{Ask, ClientEvent, FetchError, Fetched, PartitionIndex, RequestId};
use crate::cluster::shared::Shared;
use quipu_checker::{Kind, Op, Poll, PolledPartition, Process, ReadRecord};
use quipu_record::Offset;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(300);
/// How long it waits to hear who leads.
const LOST: Duration = Duration::from_millis(15);

/// One consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    process: Option<Process>,
    positions: Vec<Offset>,
    /// The read under way, and of what.
    reading: Option<(RequestId, PartitionIndex)>,
    /// It is the end of the log that is asked for, and no part of the history.
    asks_latest: bool,
}

impl Consumer {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            process: None,
            positions: vec![Offset::ZERO; partitions],
            reading: None,
            asks_latest: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.reading.is_none()
    }

    pub(crate) fn act(&mut self, shared: &mut Shared, caller: &mut Caller<'_>) {
        if shared.resting || self.reading.is_some() {
            return;
        }
        let partition = shared.chance.below(self.positions.len());
        if shared.chance.one_in(40) {
            self.positions[partition] = Offset::ZERO;
        }
        let id = shared.new_request();
        self.reading = Some((id, partition));
        self.asks_latest = shared.chance.one_in(30);
        if self.asks_latest {
            let wait = caller
                .ask(shared, id, partition, Ask::Latest)
                .map_or(LOST, |_| PATIENCE);
            return self.wait(shared, caller, id, wait);
        }
        self.tell(shared, partition, Kind::Invoke, None);
        let from = self.positions[partition];
        let max_bytes = 200 << shared.chance.below(8);
        let wait = match caller.ask(shared, id, partition, Ask::Fetch { from, max_bytes }) {
            Some(_) => PATIENCE,
            None => LOST,
        };
        self.wait(shared, caller, id, wait);
    }

    fn wait(&self, shared: &mut Shared, caller: &Caller<'_>, id: RequestId, wait: Duration) {
        let timeout = ClientEvent::Timeout {
            request: id,
            attempt: 1,
        };
        caller.plan(shared, wait, timeout);
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, caller: &mut Caller<'_>, id: RequestId) {
        if let Some((reading, partition)) = self.reading
            && reading == id
        {
            if !self.asks_latest {
                self.tell(shared, partition, Kind::Info, None);
            }
            caller.routes.doubt(partition);
            self.rest(shared, caller);
        }
    }

    pub(crate) fn answered(
        &mut self,
        shared: &mut Shared,
        caller: &mut Caller<'_>,
        id: RequestId,
        partition: PartitionIndex,
        result: Result<Fetched, FetchError>,
    ) {
        if self.reading.map(|(reading, _)| reading) != Some(id) {
            return;
        }
        match result {
            Ok(fetched) => {
                shared.counts.read += fetched.records.len() as u64;
                let next = fetched.next;
                self.tell(shared, partition, Kind::Ok, Some(fetched));
                self.positions[partition] = next;
            }
            Err(error) => {
                self.tell(shared, partition, Kind::Fail, None);
                match error {
                    FetchError::OutOfRange { log_start } => self.positions[partition] = log_start,
                    FetchError::NotLeader => caller.routes.doubt(partition),
                    FetchError::TryAgain => {}
                }
            }
        }
        self.rest(shared, caller);
    }

    /// The end of the log, as somebody who leads says.
    pub(crate) fn latest(
        &mut self,
        shared: &mut Shared,
        caller: &Caller<'_>,
        id: RequestId,
        partition: PartitionIndex,
        latest: Option<Offset>,
    ) {
        if self.reading.map(|(reading, _)| reading) != Some(id) {
            return;
        }
        if let Some(latest) = latest {
            self.positions[partition] = latest;
        }
        self.rest(shared, caller);
    }

    fn rest(&mut self, shared: &mut Shared, caller: &Caller<'_>) {
        self.reading = None;
        let wait = shared.chance.millis(25);
        caller.plan(shared, wait, ClientEvent::Act);
    }

    fn tell(&mut self, shared: &mut Shared, partition: PartitionIndex, kind: Kind, fetched: Option<Fetched>) {
        let process = *self.process.get_or_insert_with(|| shared.new_process());
        let (records, high_watermark): (Vec<ReadRecord>, _) = fetched.map_or((Vec::new(), None), |fetched| {
            (fetched.records, Some(fetched.high_watermark))
        });
        let key = shared.plan.partitions[partition].key.clone();
        let poll = Op::Poll(Poll::of(vec![PolledPartition {
            records,
            high_watermark,
            ..PolledPartition::asked(key, self.positions[partition])
        }]));
        shared.tell(process, kind, poll);
        if kind == Kind::Info {
            self.process = None;
        }
    }
}
