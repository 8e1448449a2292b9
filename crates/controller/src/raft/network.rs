//! The network of the group, as openraft asks for it, over whatever carries bytes between controllers.

use super::{Node, Runtime, Types, blocking, wire};
use crate::ControllerId;
use crate::publish::Published;
use crate::snapshot;
use crate::transport::{Header, Transport, TransportError};
use openraft::error::{
    Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable as RaftUnreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{ErrorSubject, ErrorVerb, OptionalSend, Snapshot, Vote};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The ways to all the others.
#[derive(Debug)]
pub(crate) struct Network<T> {
    pub(crate) transport: Arc<T>,
    pub(crate) me: ControllerId,
    /// The image says which cluster this is, once it is one.
    pub(crate) published: Published,
    /// How long one that could not be reached is left alone.
    pub(crate) pause: Duration,
}

/// The way to one controller.
#[derive(Debug)]
pub(crate) struct Way<T> {
    transport: Arc<T>,
    me: ControllerId,
    published: Published,
    pause: Duration,
    target: ControllerId,
    address: String,
}

impl<T> Way<T> {
    fn header(&self) -> Header {
        Header {
            cluster: self.published.image().cluster_id(),
            from: self.me,
            to: self.target,
        }
    }

    /// An answer that makes no sense is as good as none.
    fn nonsense(&self, error: &wire::WireError) -> TransportError {
        TransportError::Refused {
            address: self.address.clone(),
            why: format!("its answer makes no sense: {error}"),
        }
    }
}

/// openraft waits a while before it tries again what was unreachable, and busily repeats any other failure.
fn unreachable(error: &TransportError) -> RaftUnreachable {
    RaftUnreachable::new(error)
}

impl<R: Runtime, T: Transport> RaftNetworkFactory<Types<R>> for Network<T> {
    type Network = Way<T>;

    async fn new_client(&mut self, target: u64, node: &Node) -> Way<T> {
        Way {
            transport: Arc::clone(&self.transport),
            me: self.me,
            published: self.published.clone(),
            pause: self.pause,
            target: ControllerId::new(target),
            address: node.address.clone(),
        }
    }
}

type RpcResult<T> = Result<T, RPCError<u64, Node, RaftError<u64>>>;

impl<R: Runtime, T: Transport> RaftNetwork<Types<R>> for Way<T> {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        let sent = wire::Sent::of(&request);
        let payload = wire::append_out(request);
        let answer = self
            .transport
            .append(&self.address, self.header(), payload, option.hard_ttl())
            .await
            .and_then(|answer| wire::append_answer_in(&answer, &sent).map_err(|error| self.nonsense(&error)));
        answer.map_err(|error| RPCError::Unreachable(unreachable(&error)))
    }

    async fn vote(&mut self, request: VoteRequest<u64>, option: RPCOption) -> RpcResult<VoteResponse<u64>> {
        let payload = wire::ask_out(&request);
        let answer = self
            .transport
            .vote(&self.address, self.header(), payload, option.hard_ttl())
            .await
            .and_then(|answer| wire::ask_answer_in(&answer).map_err(|error| self.nonsense(&error)));
        answer.map_err(|error| RPCError::Unreachable(unreachable(&error)))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types<R>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types<R>, Fatal<u64>>> {
        let contents = *snapshot.snapshot;
        let chunks = blocking::<R, _>(move || snapshot::chunks(&contents)).await;
        let chunks = chunks.map_err(|error| {
            let subject = ErrorSubject::Snapshot(None);
            super::convert::storage_error(subject, ErrorVerb::Read, error)
        })?;
        let sending = self.transport.snapshot(
            &self.address,
            self.header(),
            wire::snapshot_out(&vote),
            chunks,
            option.hard_ttl(),
        );
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = sending => answer,
        };
        let answer = answer
            .and_then(|answer| wire::snapshot_answer_in(&answer).map_err(|error| self.nonsense(&error)));
        answer.map_err(|error| StreamingError::Unreachable(unreachable(&error)))
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.pause))
    }
}
