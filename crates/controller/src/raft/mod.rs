//! Where openraft's names live, and nowhere else but in `group`.

pub(crate) mod convert;
mod log_store;
mod network;
mod runtime;
mod server;
mod state_machine;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(crate) use log_store::LogStore;
pub(crate) use network::Network;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use runtime::Process;
#[cfg(any(test, feature = "test-util"))]
pub use runtime::Seeded;
pub(crate) use runtime::{Runtime, Tokio};
pub(crate) use server::{Rpc, serve};
pub(crate) use state_machine::StateMachine;

use crate::snapshot::Contents;
use openraft::RaftTypeConfig;
use quipu_metadata::{Command, Reply};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The types that the group runs on, over the runtime `R`.
pub(crate) struct Types<R>(PhantomData<fn() -> R>);

impl<R: Runtime> RaftTypeConfig for Types<R> {
    type D = Proposal;
    type R = Replies;
    type NodeId = u64;
    type Node = Node;
    type Entry = openraft::Entry<Self>;
    type SnapshotData = Contents;
    type AsyncRuntime = R;
    type Responder = openraft::impls::OneshotResponder<Self>;
}

/// What is proposed: some commands, in order. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proposal(pub(crate) Arc<[Command]>);

/// The answers, in the same order; none for entries that hold no commands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

/// A controller, as the others must know it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Node {
    /// host:port.
    pub(crate) address: String,
}

// Deriving these would ask them of `R`, which is never held.
impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Types<R> {}
impl<R> Default for Types<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<R> Eq for Types<R> {}
impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

/// Runs what waits for the disk where it keeps nobody waiting; in a simulation, right here.
pub(crate) async fn blocking<R: Runtime, T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if R::THREADS {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going away, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    } else {
        work()
    }
}
