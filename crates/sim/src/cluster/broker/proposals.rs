//! Leaders' proposals to change the in-sync replicas: sent until they are answered.

use super::Broker;
use super::control::leader_record;
use crate::cluster::message::{Address, BrokerEvent, Message, PartitionIndex, RequestId};
use crate::cluster::shared::Shared;
use quipu_metadata::{
    AlterPartitionError, AlterPartitions, BrokerError, IsrChange, IsrMember, PartitionAnswer, Request as _,
};
use quipu_replication::{Input, IsrAnswered, IsrProposal, IsrRefusal, IsrResult, Tick};
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer that has not come after so long is lost.
const PATIENCE: Duration = Duration::from_millis(300);

/// One under way for each partition at most.
#[derive(Debug, Default)]
pub(super) struct Proposals(BTreeMap<PartitionIndex, Pending>);

#[derive(Debug)]
struct Pending {
    proposal: IsrProposal,
    sent: Tick,
    ids: Vec<RequestId>,
    /// How many copies went; the network may make two of one.
    copies: u32,
}

impl Broker {
    pub(super) fn propose_isr(
        &mut self,
        shared: &mut Shared,
        partition: PartitionIndex,
        proposal: IsrProposal,
    ) {
        let Some(process) = &mut self.process else { return };
        let pending = Pending {
            proposal,
            sent: Tick::default(),
            ids: Vec::new(),
            copies: 0,
        };
        process.proposals.0.insert(partition, pending);
        self.send_proposal(shared, partition);
    }

    fn send_proposal(&mut self, shared: &mut Shared, partition: PartitionIndex) {
        let (id, now) = (shared.new_request(), shared.schedule.now());
        let broker = self.id;
        let Some(process) = &mut self.process else { return };
        let (Some(epoch), Some(pending)) =
            (process.lifecycle.epoch(), process.proposals.0.get_mut(&partition))
        else {
            return;
        };
        pending.sent = now;
        pending.ids.push(id);
        let proposal = &pending.proposal;
        let members = proposal.isr.iter().map(|(id, epoch)| IsrMember {
            id: *id,
            epoch: *epoch,
        });
        let command = AlterPartitions {
            id: broker,
            epoch,
            changes: vec![IsrChange {
                at: shared.plan.partitions[partition].partition,
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: members.collect(),
            }],
        };
        let command = command.into_command();
        let propose = Message::Propose { id, command };
        let copies = shared.send(self.address(), Address::Controller, propose);
        let pending = self
            .process
            .as_mut()
            .and_then(|process| process.proposals.0.get_mut(&partition));
        if let Some(pending) = pending {
            pending.copies += copies;
        }
        self.plan(shared, PATIENCE, BrokerEvent::Propose);
    }

    pub(super) fn repeat_proposals(&mut self, shared: &mut Shared) {
        let now = shared.schedule.now();
        let Some(process) = &mut self.process else { return };
        let late: Vec<PartitionIndex> = (process.proposals.0.iter())
            .filter(|(_, pending)| now.since(pending.sent) >= PATIENCE)
            .map(|(partition, _)| *partition)
            .collect();
        for partition in late {
            self.send_proposal(shared, partition);
        }
    }

    /// The controllers answered.
    pub(super) fn isr_decided(
        &mut self,
        shared: &mut Shared,
        id: RequestId,
        result: Result<Vec<Result<PartitionAnswer, AlterPartitionError>>, BrokerError>,
    ) {
        let Some(process) = &mut self.process else { return };
        let of = process
            .proposals
            .0
            .iter()
            .find(|(_, pending)| pending.ids.contains(&id));
        let Some(partition) = of.map(|(partition, _)| *partition) else {
            return;
        };
        let Some(pending) = process.proposals.0.remove(&partition) else {
            return;
        };
        let first = result.map(|answers| answers.into_iter().next());
        let result = match first {
            Ok(Some(Ok(answer))) => IsrResult::Done(leader_record(&answer.state)),
            Ok(Some(Err(error))) => IsrResult::Refused(match error {
                AlterPartitionError::IneligibleReplica { .. } => IsrRefusal::Ineligible,
                AlterPartitionError::InvalidUpdateVersion { .. } => IsrRefusal::Outdated,
                _ => IsrRefusal::Fenced,
            }),
            Ok(None) => IsrResult::Unknown,
            Err(_) => IsrResult::Refused(IsrRefusal::Fenced),
        };
        let answered = IsrAnswered {
            proposal: pending.proposal,
            repeated: pending
                .copies
                .max(u32::try_from(pending.ids.len()).unwrap_or(u32::MAX))
                > 1,
            result,
        };
        self.step(shared, partition, Input::IsrAnswered(answered));
    }
}
