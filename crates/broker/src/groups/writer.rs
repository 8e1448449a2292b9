//! The way of records into the log: batches in order, many on the way at once, and none after one that was refused.
//!
//! What a coordinator decides rests on everything that it decided before. So a batch must not be appended where one
//! before it was not: the [`Chain`] they share breaks with the first that fails, and the partition's thread refuses what
//! comes later by it.

use crate::partition::clock::Clock;
use crate::partition::replica::Replica;
use crate::partition::reply::{Answered, Chain, Reply, Tag};
use crate::partition::thread::{Command, Produce};
use quipu_coordinator::GroupRecord;
use quipu_record::{Batch, BatchBuilder, BatchError, Codec, PushError, RecordsSummary, Timestamp};
use quipu_replication::{Acks, Now, ProduceError};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;

/// A batch is closed before it grows beyond this, unless one request alone makes it.
const BATCH_BYTES: usize = 256 << 10;
/// What is larger is compressed: keys repeat themselves.
const PLAIN_BYTES_MAX: usize = 128 << 10;
/// The largest batch that can be.
const CHECK_BYTES_MAX: usize = 256 << 20;
/// How long a batch may wait for its replicas. Who asked has long given up.
const COMMIT_MAX: Duration = Duration::from_secs(600);

/// Why nothing more can be written: the coordinator is to be dropped.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum WriteError {
    /// The partition's thread refused a batch, or could not commit it.
    #[error("{0}")]
    Refused(#[from] ProduceError),
    /// A record fits no batch.
    #[error("{0}")]
    Record(#[from] PushError),
    /// What was built is no batch.
    #[error("{0}")]
    Batch(#[from] BatchError),
}

/// Writes the records of one coordinator.
#[derive(Debug)]
pub(crate) struct Writer {
    replica: Arc<Replica>,
    clock: Clock,
    chain: Arc<Chain>,
    open: Vec<GroupRecord>,
    open_bytes: usize,
    to: mpsc::UnboundedSender<Answered>,
    answers: mpsc::UnboundedReceiver<Answered>,
    /// Batches handed over.
    submitted: u64,
    /// Batches committed: these and all before.
    committed: u64,
}

impl Writer {
    /// Writes to a partition that is led here.
    pub(crate) fn new(replica: Arc<Replica>, clock: Clock) -> Self {
        let (to, answers) = mpsc::unbounded_channel();
        Self {
            replica,
            clock,
            chain: Arc::default(),
            open: Vec::new(),
            open_bytes: 0,
            to,
            answers,
            submitted: 0,
            committed: 0,
        }
    }

    /// Adds the records of one step, which stay together; [`Writer::close`] sends them. Says which batch must be
    /// committed before anybody may hear of what was decided so far.
    pub(crate) fn push(
        &mut self,
        records: impl ExactSizeIterator<Item = GroupRecord>,
        now: Now,
    ) -> Result<u64, WriteError> {
        if records.len() > 0 {
            let from = self.open.len();
            self.open.extend(records);
            let added: usize = self.open[from..].iter().map(bound).sum();
            if from > 0 && self.open_bytes + added > BATCH_BYTES {
                let step = self.open.split_off(from);
                self.close(now)?;
                self.open = step;
            }
            self.open_bytes += added;
        }
        Ok(self.submitted + u64::from(!self.open.is_empty()))
    }

    /// Sends what was added, as one batch.
    pub(crate) fn close(&mut self, now: Now) -> Result<(), WriteError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let (batch, summary) = build(&self.open, self.open_bytes, now.wall)?;
        self.open.clear();
        self.open_bytes = 0;
        self.submitted += 1;
        let reply = Reply {
            to: self.to.clone(),
            tag: Tag {
                lane: 0,
                number: self.submitted,
                request: 0,
                acks: Acks::All,
                received: now.mono,
                held: 0,
            },
            replica: Arc::clone(&self.replica),
            charge: None,
            chain: Some(Arc::clone(&self.chain)),
        };
        // Beside the inbox's bound: who asks is bounded by the budget of groups, and a refusal would cost a reload.
        self.replica.thread.command(Command::Produce(Produce {
            batch,
            summary,
            acks: Acks::All,
            deadline: self.clock.now().mono.after(COMMIT_MAX),
            reply,
        }));
        Ok(())
    }

    /// Waits until more is committed. Cancel-safe.
    pub(crate) async fn progress(&mut self) -> Result<(), WriteError> {
        let Some(first) = self.answers.recv().await else {
            // A sender is in `self`.
            return std::future::pending().await;
        };
        let mut next = Some(first);
        while let Some(answered) = next {
            answered.result?;
            self.committed = self.committed.max(answered.tag.number);
            next = self.answers.try_recv().ok();
        }
        Ok(())
    }

    /// How many batches are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What is still on its way must not follow on what a new coordinator has read.
        self.chain.break_off();
    }
}

fn bound(record: &GroupRecord) -> usize {
    BatchBuilder::record_bound(Some(&record.key), record.value.as_deref(), &[])
}

fn build(
    records: &[GroupRecord],
    bytes: usize,
    wall: Timestamp,
) -> Result<(Batch, RecordsSummary), WriteError> {
    let codec = match bytes > PLAIN_BYTES_MAX {
        true => Codec::Zstd,
        false => Codec::None,
    };
    let mut builder = BatchBuilder::new(codec, bytes);
    for record in records {
        builder.push(wall, Some(&record.key), record.value.as_deref(), &[])?;
    }
    let decoded_bytes = builder.size();
    let summary = RecordsSummary {
        count: builder.count(),
        keyless: 0,
        min_timestamp: wall,
        max_timestamp: wall,
        decoded_bytes,
    };
    let batch = Batch::check(builder.finish(None)?, CHECK_BYTES_MAX)?;
    Ok((batch, summary))
}
