//! The network of the group, as openraft asks for it, over whatever carries bytes between controllers.

use super::{Node, Runtime, Types};
use openraft::error::{
    Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable as RaftUnreachable,
};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot, Vote};
use std::future::Future;

/// No way leads to another controller: a group of one has none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network;

/// This build knows no other controllers.
#[derive(Clone, Debug, thiserror::Error)]
#[error("controller {id} at {address:?} cannot be reached: this controller runs alone")]
pub(crate) struct Alone {
    id: u64,
    address: String,
}

/// The way to one controller.
#[derive(Clone, Debug)]
pub(crate) struct Way(Alone);

impl Way {
    /// openraft waits a while before it tries again what was unreachable, and busily repeats any other failure.
    fn unreachable(&self) -> RaftUnreachable {
        RaftUnreachable::new(&self.0)
    }
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, node: &Node) -> Way {
        Way(Alone {
            id: target,
            address: node.address.clone(),
        })
    }
}

type RpcResult<T> = Result<T, RPCError<u64, Node, RaftError<u64>>>;

impl<R: Runtime> RaftNetwork<Types<R>> for Way {
    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Types<R>>,
        _: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(&mut self, _: VoteRequest<u64>, _: RPCOption) -> RpcResult<VoteResponse<u64>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote<u64>,
        _: Snapshot<Types<R>>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types<R>, Fatal<u64>>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
