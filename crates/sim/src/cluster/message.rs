//! What travels, and what happens.

use crate::report::Fault;
use bytes::Bytes;
use quipu_checker::ReadRecord;
use quipu_metadata::{Command, Delta, Heartbeat, HeartbeatAnswer, Image, Reply as Decided};
use quipu_record::Tick;
use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset};
use quipu_replication::{
    Acks, Appended, DeleteRecordsError, Fetched as ReplicaFetched, Position, ProduceError,
};
use std::sync::Arc;
use std::time::Duration;

/// A partition's place in the plan.
pub(crate) type PartitionIndex = usize;
/// A client's place in the world.
pub(crate) type ClientIndex = usize;
/// A broker's place in the plan.
pub(crate) type BrokerIndex = usize;

/// A name for something that somebody has under way; comes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RequestId(pub(crate) u64);

/// Who sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Address {
    Broker(BrokerIndex),
    Client(ClientIndex),
    Controller,
}

/// What a client asks of a broker.
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
    /// The offset after the last committed record.
    Latest,
    DeleteRecords {
        before: Offset,
    },
    /// Who leads the partition?
    Metadata,
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
    Latest(Option<Offset>),
    Deleted(Result<Offset, DeleteRecordsError>),
    Metadata(Option<(BrokerId, LeaderEpoch)>),
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
    /// Ask who leads.
    NotLeader,
    /// Ask again.
    TryAgain,
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Request(Request),
    Reply(Reply),
    /// A command for the controllers.
    Propose {
        id: RequestId,
        command: Command,
    },
    /// What became of it.
    Decided {
        id: RequestId,
        reply: Decided,
    },
    /// A broker connects to the active controller.
    OpenStream(BrokerId, BrokerEpoch),
    StreamOpened(BrokerEpoch),
    /// The connection is gone.
    StreamReset,
    /// A broker's sign of life.
    Heartbeat(Box<Heartbeat>),
    /// To the lifetime that it names.
    HeartbeatAnswer(BrokerEpoch, HeartbeatAnswer),
    /// A broker wants all that was decided after a version.
    Watch {
        from: MetadataVersion,
    },
    Snapshot(Box<Image>),
    Deltas(Vec<Arc<Delta>>),
    Replicate(ReplicateRequest),
    Replicated(ReplicateResponse),
}

/// What a follower asks of one leader.
#[derive(Clone, Debug)]
pub(crate) struct ReplicateRequest {
    pub(crate) broker_epoch: BrokerEpoch,
    /// Counts a follower's requests of a leader.
    pub(crate) number: u64,
    /// Nothing that was said before counts.
    pub(crate) anew: bool,
    pub(crate) positions: Vec<(PartitionIndex, Position)>,
    /// When it was sent, by the world's own clock.
    pub(crate) sent: Tick,
}

/// What a leader answers.
#[derive(Clone, Debug)]
pub(crate) struct ReplicateResponse {
    pub(crate) number: u64,
    /// The request that was answered before: if that answer did not come, what was said in it is not known.
    pub(crate) after: u64,
    pub(crate) parts: Vec<(PartitionIndex, ReplicaFetched)>,
}

/// What the schedule brings.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Deliver {
        from: Address,
        to: Address,
        message: Box<Message>,
    },
    /// Meant for one life of a broker; in another one it is void.
    Broker {
        broker: BrokerIndex,
        life: u64,
        what: BrokerEvent,
    },
    Client {
        client: ClientIndex,
        what: ClientEvent,
    },
    Controller(ControllerEvent),
    Nemesis(NemesisEvent),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum BrokerEvent {
    /// The process starts.
    Boot,
    /// It was standing still, and goes on.
    Resume,
    /// A partition thread drains its queue.
    Drain,
    /// The flush round ends.
    RoundEnds,
    /// A driver's deadline.
    Tick(PartitionIndex),
    /// House-keeping.
    Retain,
    /// A deadline of its own life: a heartbeat, say.
    Beat,
    /// Time to ask for decisions that may have been missed.
    Watch,
    /// The answer to this should have come.
    NoAnswer(RequestId),
    /// Time to look at what is under way with other brokers.
    Replicate,
    /// Time to send proposals again.
    Propose,
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
pub(crate) enum ControllerEvent {
    /// The next entry of the log is committed.
    Commit,
    /// A deadline of the sessions.
    Tick,
    /// A broker's connection was reset.
    StreamLost(BrokerIndex),
    /// Somebody became the active controller.
    TakesOver,
    /// Real controllers: time goes by for them too.
    Step,
    /// The one at this place comes back.
    ComesBack(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum NemesisEvent {
    /// Time for a fault.
    Strike,
    /// A fault that lasted is over.
    Lift(Fault),
    /// The next act of the seed's story.
    Act(u32),
    /// The next broker of a rolling restart.
    Roll(BrokerIndex),
    /// No more faults, no more new work.
    Rest,
    /// Time to look whether the world has come to rest.
    Look,
}
