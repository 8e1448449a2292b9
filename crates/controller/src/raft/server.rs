//! What other controllers ask of this one: checked, given to openraft, answered.

use super::state_machine::described;
use super::{Runtime, Types, blocking, wire};
use crate::RpcError;
use crate::snapshot;
use crate::transport::SnapshotChunk;
use bytes::Bytes;
use openraft::Raft;

/// A question of another controller, as bytes.
#[derive(Debug)]
pub(crate) enum Rpc {
    Append(Bytes),
    Vote(Bytes),
    Snapshot { meta: Bytes, chunks: Vec<SnapshotChunk> },
}

/// Answers it.
pub(crate) async fn serve<R: Runtime>(raft: &Raft<Types<R>>, rpc: Rpc) -> Result<Bytes, RpcError> {
    match rpc {
        Rpc::Append(payload) => {
            let request = wire::append_in::<R>(&payload).map_err(malformed)?;
            let answer = raft
                .append_entries(request)
                .await
                .map_err(|_| RpcError::Stopped)?;
            Ok(wire::append_answer_out(&answer))
        }
        Rpc::Vote(payload) => {
            let request = wire::ask_in(&payload).map_err(malformed)?;
            let answer = raft.vote(request).await.map_err(|_| RpcError::Stopped)?;
            Ok(wire::ask_answer_out(&answer))
        }
        Rpc::Snapshot { meta, chunks } => {
            let vote = wire::snapshot_in(&meta).map_err(malformed)?;
            let contents = blocking::<R, _>(move || snapshot::from_chunks(&chunks)).await;
            let contents = contents.map_err(|error| RpcError::Malformed(error.to_string()))?;
            wire::check_membership(&contents.membership).map_err(malformed)?;
            let answer = raft.install_full_snapshot(vote, described(contents)).await;
            let answer = answer.map_err(|_| RpcError::Stopped)?;
            Ok(wire::snapshot_out(&answer.vote))
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: wire::WireError) -> RpcError {
    RpcError::Malformed(error.to_string())
}
