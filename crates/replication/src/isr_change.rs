//! A leader's proposals to change the in-sync replicas, and what becomes of them.

use crate::input::LeaderRecord;
use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch};

/// A change of the in-sync replicas that a leader wants. It is sent until it is answered, always the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrProposal {
    /// The epoch it leads in.
    pub leader_epoch: LeaderEpoch,
    /// The state it saw: the proposal is refused if there is a newer one.
    pub partition_epoch: PartitionEpoch,
    /// Who shall be in sync, each in the lifetime in which it was heard (KIP-903).
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// What became of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrAnswered {
    /// The proposal, as it was sent.
    pub proposal: IsrProposal,
    /// It was sent more than once: after a refusal, a copy of it may still arrive and be taken.
    pub repeated: bool,
    /// What the controllers say.
    pub result: IsrResult,
}

/// What the controllers say to a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IsrResult {
    /// The partition's record after it. Who may come to be in sync the leader learns from the metadata alone.
    Done(LeaderRecord),
    /// Nothing changed.
    Refused(IsrRefusal),
    /// No answer came: it may have happened.
    Unknown,
}

/// Why a proposal was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum IsrRefusal {
    /// Somebody in it may not be in sync now.
    Ineligible,
    /// The record has changed since: by this very proposal, if an earlier answer was lost. The metadata will tell.
    Outdated,
    /// Another leader epoch, or this broker is fenced. The metadata will tell.
    Fenced,
}
