//! How a partition thread answers: by handing the result to whoever asked, without waiting for them.

use super::budget::Charge;
use super::replica::Replica;
use quipu_replication::{Acks, Appended, ProduceError, Tick};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// What an answer is about, in the words of who asked; comes back untouched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    /// The lane: one partition on one stream.
    pub(crate) lane: u32,
    /// The request's number within its lane.
    pub(crate) number: u64,
    /// The client's own number for it.
    pub(crate) request: u64,
    /// What was to be waited for.
    pub(crate) acks: Acks,
    /// When it came in.
    pub(crate) received: Tick,
    /// Bytes that it takes up of its stream's window until it is answered.
    pub(crate) held: usize,
}

/// One batch's way back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Where to. Without a bound of its own: the asker's window bounds what can be on the way.
    pub(crate) to: mpsc::UnboundedSender<Answered>,
    /// What it is about.
    pub(crate) tag: Tag,
    /// The partition asked.
    pub(crate) replica: Arc<Replica>,
    /// The bytes that the batch is charged for; given back once the answer has gone to the network.
    pub(crate) charge: Option<Charge>,
    /// What it follows on; `None`: on nothing.
    pub(crate) chain: Option<Arc<Chain>>,
}

/// Batches of which each rests on those before it: after one that failed no later one is appended.
#[derive(Debug, Default)]
pub(crate) struct Chain(AtomicBool);

impl Chain {
    /// Nothing more is appended by it.
    pub(crate) fn break_off(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether something failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// An answer on its way to the client.
#[derive(Debug)]
pub(crate) struct Answered {
    /// What it is about.
    pub(crate) tag: Tag,
    /// When the partition's thread took it up.
    pub(crate) taken: Tick,
    /// The partition that answers.
    pub(crate) replica: Arc<Replica>,
    /// What became of the batch.
    pub(crate) result: Result<Appended, ProduceError>,
    /// Held until the answer has gone.
    pub(crate) _charge: Option<Charge>,
}

impl Reply {
    /// Answers. Who is gone by now wants no answer.
    pub(crate) fn send(self, taken: Tick, result: Result<Appended, ProduceError>) {
        if let (Some(chain), Err(_)) = (&self.chain, &result) {
            chain.break_off();
        }
        let _ = self.to.send(Answered {
            tag: self.tag,
            taken,
            replica: self.replica,
            result,
            _charge: self.charge,
        });
    }
}
