//! The messages of commands that name partitions and nothing else of them.

use super::command_message::{PlaceMessage, place_in, place_out};
use super::{DecodeError, list};
use crate::{ElectLeaders, LeaderElection, OfflineReplicas};
use prost::Message;
use quipu_record::{BrokerEpoch, BrokerId};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ElectLeadersMessage {
    #[prost(message, repeated, tag = "1")]
    partitions: Vec<PlaceMessage>,
    /// 1 preferred, 2 unclean, 3 the wait for cut replicas is over.
    #[prost(uint32, tag = "2")]
    kind: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OfflineReplicasMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    partitions: Vec<PlaceMessage>,
}

impl From<&ElectLeaders> for ElectLeadersMessage {
    fn from(c: &ElectLeaders) -> Self {
        Self {
            partitions: c.partitions.iter().copied().map(place_out).collect(),
            kind: match c.kind {
                LeaderElection::Preferred => 1,
                LeaderElection::Unclean => 2,
                LeaderElection::CutWaitOver => 3,
            },
        }
    }
}

impl TryFrom<ElectLeadersMessage> for ElectLeaders {
    type Error = DecodeError;

    fn try_from(message: ElectLeadersMessage) -> Result<Self, DecodeError> {
        let kind = match message.kind {
            1 => LeaderElection::Preferred,
            2 => LeaderElection::Unclean,
            3 => LeaderElection::CutWaitOver,
            _ => return Err(DecodeError::Field { field: "kind" }),
        };
        Ok(Self {
            partitions: list("partitions", message.partitions, |at| place_in(Some(at)))?,
            kind,
        })
    }
}

impl From<&OfflineReplicas> for OfflineReplicasMessage {
    fn from(c: &OfflineReplicas) -> Self {
        Self {
            id: c.id.get(),
            epoch: c.epoch.get(),
            partitions: c.partitions.iter().copied().map(place_out).collect(),
        }
    }
}

impl TryFrom<OfflineReplicasMessage> for OfflineReplicas {
    type Error = DecodeError;

    fn try_from(message: OfflineReplicasMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            id: BrokerId::new(message.id),
            epoch: BrokerEpoch::new(message.epoch),
            partitions: list("partitions", message.partitions, |at| place_in(Some(at)))?,
        })
    }
}
