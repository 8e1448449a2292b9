//! Consumers: each reads on where it stopped, and now and then begins again.

use super::{ask, plan};
use crate::message::{Ask, ClientEvent, ClientIndex, FetchError, Fetched, PartitionIndex, RequestId};
use crate::shared::Shared;
use quipu_checker::{Kind, Op, Poll, PolledPartition, Process, ReadRecord};
use quipu_record::Offset;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(300);

/// One consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    me: ClientIndex,
    process: Option<Process>,
    positions: Vec<Offset>,
    /// The read under way, and of what.
    reading: Option<(RequestId, PartitionIndex)>,
}

impl Consumer {
    pub(crate) fn new(me: ClientIndex, partitions: usize) -> Self {
        Self {
            me,
            process: None,
            positions: vec![Offset::ZERO; partitions],
            reading: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.reading.is_none()
    }

    pub(crate) fn act(&mut self, shared: &mut Shared) {
        if shared.resting || self.reading.is_some() {
            return;
        }
        let partition = shared.chance.below(self.positions.len());
        if shared.chance.one_in(40) {
            self.positions[partition] = Offset::ZERO;
        }
        let id = shared.new_request();
        self.reading = Some((id, partition));
        self.tell(shared, partition, Kind::Invoke, None);
        let fetch = Ask::Fetch {
            from: self.positions[partition],
            max_bytes: 200 << shared.chance.below(8),
        };
        ask(shared, self.me, id, partition, fetch);
        let timeout = ClientEvent::Timeout {
            request: id,
            attempt: 1,
        };
        plan(shared, self.me, PATIENCE, timeout);
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, id: RequestId) {
        if let Some((reading, partition)) = self.reading
            && reading == id
        {
            self.tell(shared, partition, Kind::Info, None);
            self.rest(shared);
        }
    }

    pub(crate) fn answered(
        &mut self,
        shared: &mut Shared,
        id: RequestId,
        partition: PartitionIndex,
        result: Result<Fetched, FetchError>,
    ) {
        if self.reading.map(|(reading, _)| reading) != Some(id) {
            return;
        }
        match result {
            Ok(fetched) => {
                if shared.plan.partitions[partition].promised {
                    shared.counts.read += fetched.records.len() as u64;
                }
                let next = fetched.next;
                self.tell(shared, partition, Kind::Ok, Some(fetched));
                self.positions[partition] = next;
            }
            Err(error) => {
                self.tell(shared, partition, Kind::Fail, None);
                if let FetchError::OutOfRange { log_start } = error {
                    self.positions[partition] = log_start;
                }
            }
        }
        self.rest(shared);
    }

    fn rest(&mut self, shared: &mut Shared) {
        self.reading = None;
        let wait = shared.chance.millis(25);
        plan(shared, self.me, wait, ClientEvent::Act);
    }

    fn tell(&mut self, shared: &mut Shared, partition: PartitionIndex, kind: Kind, fetched: Option<Fetched>) {
        if !shared.plan.partitions[partition].promised {
            return;
        }
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
