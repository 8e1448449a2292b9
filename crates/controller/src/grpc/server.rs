//! Messages from other controllers.

use super::message::header;
use super::{MESSAGE_MAX, SNAPSHOT_MAX};
use crate::{Controller, RpcError, SnapshotChunk};
use quipu_proto::internal as wire;
use tonic::{Request, Response, Status, Streaming};
use wire::raft_service_server::{RaftService, RaftServiceServer};

/// Answers the other controllers, for one controller.
#[derive(Clone, Debug)]
pub struct RaftServer {
    controller: Controller,
}

/// The service for the internal listener.
#[must_use]
pub fn raft_service(controller: Controller) -> RaftServiceServer<RaftServer> {
    RaftServiceServer::new(RaftServer { controller })
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX)
}

fn refused(error: &RpcError) -> Status {
    let what = error.to_string();
    match error {
        RpcError::OtherCluster { .. } | RpcError::OtherController { .. } => Status::failed_precondition(what),
        RpcError::Malformed(_) => Status::invalid_argument(what),
        RpcError::Stopped => Status::unavailable(what),
    }
}

#[tonic::async_trait]
impl RaftService for RaftServer {
    async fn append_entries(
        &self,
        request: Request<wire::AppendEntriesRequest>,
    ) -> Result<Response<wire::AppendEntriesResponse>, Status> {
        let request = request.into_inner();
        let header = header(request.header).map_err(Status::invalid_argument)?;
        let answer = self.controller.handle_append(header, request.payload).await;
        let payload = answer.map_err(|error| refused(&error))?;
        Ok(Response::new(wire::AppendEntriesResponse { payload }))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteResponse>, Status> {
        let request = request.into_inner();
        let header = header(request.header).map_err(Status::invalid_argument)?;
        let answer = self.controller.handle_vote(header, request.payload).await;
        let payload = answer.map_err(|error| refused(&error))?;
        Ok(Response::new(wire::VoteResponse { payload }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::InstallSnapshotRequest>>,
    ) -> Result<Response<wire::InstallSnapshotResponse>, Status> {
        let mut messages = request.into_inner();
        let first = messages
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("nothing was sent"))?;
        let header = header(first.header).map_err(Status::invalid_argument)?;
        // Before a stranger's snapshot is taken into memory.
        self.controller.check(&header).map_err(|error| refused(&error))?;
        let mut chunks = Vec::new();
        let mut room = SNAPSHOT_MAX;
        while let Some(message) = messages.message().await? {
            let chunk = SnapshotChunk {
                bytes: message.chunk,
                crc: message.crc,
            };
            if !chunk.is_whole() {
                return Err(Status::invalid_argument("the checksum of a chunk does not match"));
            }
            if chunk.bytes.is_empty() {
                return Err(Status::invalid_argument("a chunk of nothing"));
            }
            room = room
                .checked_sub(chunk.bytes.len())
                .ok_or_else(|| Status::invalid_argument("the snapshot is too large"))?;
            chunks.push(chunk);
        }
        let answer = self.controller.handle_snapshot(header, first.meta, chunks).await;
        let payload = answer.map_err(|error| refused(&error))?;
        Ok(Response::new(wire::InstallSnapshotResponse { payload }))
    }
}
