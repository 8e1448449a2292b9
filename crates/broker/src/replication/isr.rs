//! Changes of in-sync replicas, from the leaders of this broker to the controllers and back: one task, one request at a
//! time.

use super::Common;
use crate::controllers::Controllers;
use crate::data_plane::leader_record;
use crate::partition::exchange::Proposed;
use crate::partition::thread::Command;
use quipu_controller::ProposeError;
use quipu_metadata::{
    AlterPartitionError, AlterPartitions, BrokerError, IsrChange, IsrMember, PartitionAnswer,
};
use quipu_record::{BrokerEpoch, BrokerId, TopicPartition};
use quipu_replication::{IsrAnswered, IsrProposal, IsrRefusal, IsrResult};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What became of each change of a request, in its order.
pub type IsrChanges = Vec<Result<PartitionAnswer, AlterPartitionError>>;

/// Why a request as a whole has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsrUnanswered {
    /// This broker is fenced, or registered in another lifetime.
    #[error("{0}")]
    Refused(BrokerError),
    /// Nobody answered: it may have happened.
    #[error("{0}")]
    Unknown(String),
}

/// Who takes changes of in-sync replicas to the controllers.
pub trait ProposeIsr: Send + Sync + fmt::Debug {
    /// Asks for them.
    fn propose(
        &self,
        request: AlterPartitions,
    ) -> Pin<Box<dyn Future<Output = Result<IsrChanges, IsrUnanswered>> + Send + '_>>;
}

/// A request that finds no active controller is given back, so that what changed meanwhile can go with it.
const PATIENCE: Duration = Duration::from_secs(5);

impl ProposeIsr for Controllers {
    fn propose(
        &self,
        request: AlterPartitions,
    ) -> Pin<Box<dyn Future<Output = Result<IsrChanges, IsrUnanswered>> + Send + '_>> {
        Box::pin(async move {
            match self.propose_within(request, PATIENCE).await {
                Ok(committed) => Ok(committed.outcome),
                Err(ProposeError::Refused(error)) => Err(IsrUnanswered::Refused(error)),
                Err(error) => Err(IsrUnanswered::Unknown(error.to_string())),
            }
        })
    }
}

/// Proposals wait so long for others, which then go in the same request.
const GATHER: Duration = Duration::from_millis(10);
/// Without an answer, the same is asked again after so long.
const AGAIN: Duration = Duration::from_millis(200);

/// Takes proposals until their leaders are gone.
pub(super) async fn run(
    common: Common,
    epoch: BrokerEpoch,
    proposer: Arc<dyn ProposeIsr>,
    mut proposed: mpsc::UnboundedReceiver<Proposed>,
) {
    let mut queue = Queue::default();
    loop {
        if queue.is_empty() {
            let Some(first) = proposed.recv().await else {
                return;
            };
            queue.push(first);
        }
        tokio::time::sleep(if queue.unanswered { AGAIN } else { GATHER }).await;
        while let Ok(more) = proposed.try_recv() {
            queue.push(more);
        }
        let request = queue.request(common.me, epoch);
        let answer = proposer.propose(request).await;
        if let Err(error) = &answer {
            tracing::warn!(%error, "changes of in-sync replicas are not answered");
        }
        let answers = queue.answered(answer);
        let command = |(at, answered)| (at, Command::IsrAnswered(at, answered));
        common.threads.command_all(answers.into_iter().map(command));
    }
}

/// The proposals that are not answered, at most one of a partition: a newer one takes the place of an older.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<TopicPartition, Waiting>,
    /// The last request had no answer.
    unanswered: bool,
}

#[derive(Debug)]
struct Waiting {
    proposal: IsrProposal,
    /// How often it was sent.
    sent: u32,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, (at, proposal): Proposed) {
        let same = self
            .waiting
            .get(&at)
            .is_some_and(|waiting| waiting.proposal == proposal);
        if !same {
            self.waiting.insert(at, Waiting { proposal, sent: 0 });
        }
    }

    /// All of them.
    fn request(&mut self, me: BrokerId, epoch: BrokerEpoch) -> AlterPartitions {
        let member = |(id, epoch): &(BrokerId, BrokerEpoch)| IsrMember {
            id: *id,
            epoch: *epoch,
        };
        let changes = self.waiting.iter_mut().map(|(at, waiting)| {
            waiting.sent += 1;
            let proposal = &waiting.proposal;
            IsrChange {
                at: *at,
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: proposal.isr.iter().map(member).collect(),
            }
        });
        AlterPartitions {
            id: me,
            epoch,
            changes: changes.collect(),
        }
    }

    /// What to tell the leaders. Without an answer the proposals stay: they may have been accepted.
    fn answered(&mut self, answer: Result<IsrChanges, IsrUnanswered>) -> Vec<(TopicPartition, IsrAnswered)> {
        self.unanswered = false;
        let results: Vec<_> = match answer {
            Ok(changes) => changes.into_iter().map(result).collect(),
            Err(IsrUnanswered::Refused(_)) => {
                vec![IsrResult::Refused(IsrRefusal::Fenced); self.waiting.len()]
            }
            Err(IsrUnanswered::Unknown(_)) => {
                self.unanswered = true;
                let unknown = self.waiting.iter();
                return unknown
                    .map(|(at, waiting)| (*at, waiting.answered(IsrResult::Unknown)))
                    .collect();
            }
        };
        let waiting = std::mem::take(&mut self.waiting).into_iter().zip(results);
        waiting
            .map(|((at, waiting), result)| (at, waiting.answered(result)))
            .collect()
    }
}

impl Waiting {
    fn answered(&self, result: IsrResult) -> IsrAnswered {
        IsrAnswered {
            proposal: self.proposal.clone(),
            repeated: self.sent > 1,
            result,
        }
    }
}

fn result(change: Result<PartitionAnswer, AlterPartitionError>) -> IsrResult {
    match change {
        Ok(PartitionAnswer { state, .. }) => IsrResult::Done(leader_record(&state)),
        Err(AlterPartitionError::IneligibleReplica { .. }) => IsrResult::Refused(IsrRefusal::Ineligible),
        Err(AlterPartitionError::InvalidUpdateVersion { .. }) => IsrResult::Refused(IsrRefusal::Outdated),
        Err(_) => IsrResult::Refused(IsrRefusal::Fenced),
    }
}
