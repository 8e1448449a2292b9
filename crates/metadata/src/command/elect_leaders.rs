//! Leaders are chosen because somebody asks for it, and not because a broker came or went.

use super::{Decision, PartitionAnswer, Refusal};
use crate::partition_change::{Election, PartitionChange, Standing as _};
use crate::{Image, Partition, Record};
use quipu_record::{BrokerId, ErrorCode, TopicPartition};
use std::collections::BTreeSet;

/// Elects leaders of many partitions. Each stands or falls by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElectLeaders {
    /// Of which partitions.
    pub partitions: Vec<TopicPartition>,
    /// In which way.
    pub kind: LeaderElection,
}

/// In which way a leader is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaderElection {
    /// The first of the replicas, if it is in sync.
    Preferred,
    /// Where nobody leads: any replica that is here, whatever it lacks. An operator says so: acknowledged records may be
    /// lost, and the partition says so from then on.
    Unclean,
    /// Where nobody leads and only replicas are here that recovery cut: the longest of them, without waiting for others.
    CutWaitOver,
}

/// Why no leader was elected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElectLeaderError {
    /// No such partition.
    #[error("there is no partition {0}")]
    Unknown(TopicPartition),
    /// It is named twice in one request.
    #[error("partition {0} is named twice")]
    Twice(TopicPartition),
    /// The preferred leader may not lead now.
    #[error("broker {preferred}, the preferred leader of partition {at}, is not in sync and ready to lead")]
    PreferredNotReady {
        /// The partition.
        at: TopicPartition,
        /// The first of its replicas.
        preferred: BrokerId,
    },
    /// Nobody is here that could lead.
    #[error("partition {0} has no replica that may lead now")]
    Nobody(TopicPartition),
}

impl Refusal for ElectLeaderError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
            Self::Twice(_) => ErrorCode::InvalidRequest,
            Self::PreferredNotReady { .. } | Self::Nobody(_) => ErrorCode::LeaderNotAvailable,
        }
    }
}

impl ElectLeaders {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let mut records = Vec::new();
        let mut named = BTreeSet::new();
        let mut answers = Vec::with_capacity(self.partitions.len());
        for at in self.partitions.iter().copied() {
            if !named.insert(at) {
                answers.push(Err(ElectLeaderError::Twice(at)));
                continue;
            }
            answers.push(self.one(image, at).map(|(state, changed)| {
                if changed {
                    records.push(Record::Partition {
                        at,
                        state: state.clone(),
                    });
                }
                PartitionAnswer { at, state }
            }));
        }
        Decision::done(records, answers)
    }

    /// The state after the election, and whether it is another one than before.
    fn one(&self, image: &Image, at: TopicPartition) -> Result<(Partition, bool), ElectLeaderError> {
        let before = image.partition(at).ok_or(ElectLeaderError::Unknown(at))?;
        let change = PartitionChange::new(before, image);
        let change = match self.kind {
            LeaderElection::Preferred => {
                let Some(preferred) = before.replicas.iter().next() else {
                    return Err(ElectLeaderError::Nobody(at));
                };
                if !before.isr.contains(preferred) || !image.is_active(preferred) {
                    return Err(ElectLeaderError::PreferredNotReady { at, preferred });
                }
                change.prefer(preferred)
            }
            // A leader that is there is never put aside for one that may lack something.
            _ if before.leader.is_some() => return Ok((before.clone(), false)),
            LeaderElection::Unclean => change.election(Election {
                unclean: true,
                wait_is_over: true,
            }),
            LeaderElection::CutWaitOver => change.election(Election {
                unclean: false,
                wait_is_over: true,
            }),
        };
        match change.build() {
            Some(after) => Ok((after, true)),
            None if before.leader.is_some() => Ok((before.clone(), false)),
            None => Err(ElectLeaderError::Nobody(at)),
        }
    }
}
