//! The way of commands into the log.

use super::{Ask, elsewhere};
use crate::Unavailable;
use crate::controller::Committed;
use crate::raft::{Node, Proposal, Replies, Runtime, Types};
use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::{Raft, RaftMetrics};
use quipu_record::MetadataVersion;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// An entry takes no more commands once it has so many bytes.
const ENTRY_BYTES: usize = 1024 * 1024;

/// Proposes what is asked: all that waits while one entry is on its way becomes the next one. `patience` is how long after
/// it was deposed a controller waits to hear what became of an entry.
pub(super) async fn propose<R: Runtime>(
    raft: Raft<Types<R>>,
    mut asked: mpsc::Receiver<Ask>,
    patience: Duration,
) {
    while let Some(first) = asked.recv().await {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while bytes < ENTRY_BYTES {
            let Ok(next) = asked.try_recv() else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        // Whoever has given up, while the group had no majority, is not served late.
        batch.retain(|ask| !ask.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let (commands, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|ask| (ask.command, ask.answer)).unzip();
        let written = tokio::select! {
            biased;
            written = raft.client_write(Proposal(commands.into())) => written.map_err(unavailable),
            () = deposed::<R>(raft.metrics(), patience) => Err(Unavailable::Unknown),
        };
        match written {
            Ok(response) => {
                let version = MetadataVersion::new(response.log_id.index);
                let Replies(replies) = response.data;
                for (answer, outcome) in answers.into_iter().zip(replies) {
                    // Whoever asked may have gone.
                    let _ = answer.send(Ok(Committed { version, outcome }));
                }
            }
            Err(why) => {
                for answer in answers {
                    let _ = answer.send(Err(why.clone()));
                }
            }
        }
    }
}

pub(super) async fn read_index<R: Runtime>(raft: &Raft<Types<R>>) -> Result<MetadataVersion, Unavailable> {
    match raft.ensure_linearizable().await {
        Ok(id) => Ok(MetadataVersion::new(id.map_or(0, |id| id.index))),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => Err(elsewhere(to)),
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(Unavailable::NoQuorum),
        Err(RaftError::Fatal(_)) => Err(Unavailable::Stopped),
    }
}

fn unavailable(error: RaftError<u64, ClientWriteError<u64, Node>>) -> Unavailable {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => elsewhere(to),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) | RaftError::Fatal(_) => {
            Unavailable::Stopped
        }
    }
}

/// Ends a while after this controller was deposed: openraft says what became of an entry when it is overwritten or
/// applied, but not if a snapshot takes its place.
async fn deposed<R: Runtime>(mut metrics: watch::Receiver<RaftMetrics<u64, Node>>, patience: Duration) {
    // An error says that it has stopped, and then the write ends by itself.
    if metrics
        .wait_for(|metrics| !metrics.state.is_leader())
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
    R::sleep(patience).await;
}
