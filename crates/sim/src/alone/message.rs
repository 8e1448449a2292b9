//! What travels, and what happens.

use crate::report::Fault;
use bytes::Bytes;
use quipu_checker::ReadRecord;
use quipu_record::{BrokerId, Offset};
use quipu_replication::{Acks, Appended, DeleteBefore, DeleteRecordsError, ProduceError};
use std::time::Duration;

/// A partition's place in the plan.
pub(crate) type PartitionIndex = usize;
/// A client's place in the world.
pub(crate) type ClientIndex = usize;

/// A client's name for something it has under way; comes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RequestId(pub(crate) u64);

/// Who sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Address {
    Broker(BrokerId),
    Client(ClientIndex),
}

/// What a client asks.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) client: ClientIndex,
    pub(crate) partition: PartitionIndex,
    pub(crate) ask: Ask,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Produce {
        batch: Bytes,
        acks: Acks,
        timeout: Duration,
    },
    Fetch {
        from: Offset,
        max_bytes: usize,
    },
    DeleteRecords {
        before: DeleteBefore,
    },
}

/// What a broker answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) id: RequestId,
    pub(crate) partition: PartitionIndex,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Produced(Result<Appended, ProduceError>),
    Fetched(Result<Fetched, FetchError>),
    Deleted(Result<Offset, DeleteRecordsError>),
}

#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) records: Vec<ReadRecord>,
    pub(crate) next: Offset,
    pub(crate) high_watermark: Offset,
}

#[derive(Clone, Debug)]
pub(crate) enum FetchError {
    /// Read on from there.
    OutOfRange { log_start: Offset },
    /// Ask again.
    TryAgain,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Request(Request),
    Reply(Reply),
}

/// What the schedule brings.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Deliver {
        to: Address,
        message: Message,
    },
    /// Meant for one life of a broker; in another one it is void.
    Broker {
        broker: BrokerId,
        life: u64,
        what: BrokerEvent,
    },
    Client {
        client: ClientIndex,
        what: ClientEvent,
    },
    Nemesis(NemesisEvent),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum BrokerEvent {
    /// The process starts.
    Boot,
    /// A partition thread drains its queue.
    Drain,
    /// The flush round ends.
    RoundEnds,
    /// A driver's deadline.
    Tick(PartitionIndex),
    /// House-keeping.
    Retain,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientEvent {
    /// Time to begin something.
    Act,
    /// The answer to this attempt should have come.
    Timeout { request: RequestId, attempt: u32 },
    /// Time to send it again.
    Again { request: RequestId },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum NemesisEvent {
    /// Time for a fault.
    Strike,
    /// A fault that lasted is over.
    Lift(Fault),
    /// No more faults, no more new work.
    Rest,
}
