//! What may be asked of the cluster's truth: one file a command, each with its outcome, its refusals and its decision.
//!
//! A command is decided inside the state machine, against the very state it changes, so nothing a proposer believed can
//! be out of date. Deciding reads; only [`crate::Image::replay`] changes.

mod alloc_producer_ids;
mod alter_partitions;
mod begin_shutdown;
mod create_partitions;
mod create_topic;
mod delete_topic;
mod elect_leaders;
mod ensure_offsets_topic;
mod fence_brokers;
mod grow_topic;
mod init_cluster;
mod offline_replicas;
mod register_broker;
mod unfence_broker;
mod update_topic_config;

pub use alloc_producer_ids::{AllocProducerIds, PRODUCER_ID_BLOCK, ProducerIdBlock};
pub use alter_partitions::{
    AlterPartitionError, AlterPartitions, Ineligible, IsrChange, IsrMember, PartitionAnswer,
};
pub use begin_shutdown::{BeginShutdown, ShutdownBegun};
pub use create_partitions::{CreatePartitions, CreatePartitionsError, PartitionsCreated};
pub use create_topic::{CreateTopic, CreateTopicError, PARTITIONS_PER_TOPIC_MAX, TopicCreated, TopicMistake};
pub use delete_topic::{DeleteTopic, DeleteTopicError, TopicDeleted};
pub use elect_leaders::{ElectLeaderError, ElectLeaders, LeaderElection};

pub use ensure_offsets_topic::{
    EnsureOffsetsTopic, EnsureOffsetsTopicError, OFFSETS_PARTITIONS, OFFSETS_TOPIC,
};
pub use fence_brokers::{BrokerFence, BrokersFenced, FenceBrokers};
pub(crate) use grow_topic::Steps;
pub use grow_topic::{GrowTopic, GrowTopicError, TopicGrown};
pub use init_cluster::{ClusterInitialized, InitCluster, InitClusterError};
pub use offline_replicas::{OfflineReplicas, ReplicasOffline};
pub use register_broker::{CutPartition, RegisterBroker, RegisterBrokerError, Registered};
pub use unfence_broker::{BrokerUnfenced, UnfenceBroker};
pub use update_topic_config::{ConfigUpdated, UpdateTopicConfig, UpdateTopicConfigError};

use crate::{FeatureLevel, Image, Record};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode};

/// Something that can be asked, with the types of its answer.
pub trait Request: Sized {
    /// What is answered when it is done.
    type Outcome;
    /// Why it may be refused.
    type Refusal: Refusal;

    /// As it is logged.
    fn into_command(self) -> Command;

    /// The answer to it out of a reply; `None`: the reply is another command's.
    fn from_reply(reply: Reply) -> Option<Result<Self::Outcome, Self::Refusal>>;
}

/// Why a command was refused: a fact about the state it met, not a failure.
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// How a client is told.
    fn code(&self) -> ErrorCode;
}

impl Refusal for std::convert::Infallible {
    fn code(&self) -> ErrorCode {
        match *self {}
    }
}

/// A broker spoke that the metadata does not know, or no longer knows in this lifetime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Never registered.
    #[error("broker {0} is not registered")]
    Unknown(BrokerId),
    /// A newer process of this broker has registered, or this one never did.
    #[error("broker {id} is registered with epoch {registered}, not {given}: it must register again")]
    StaleEpoch {
        /// The broker.
        id: BrokerId,
        /// The epoch that holds.
        registered: BrokerEpoch,
        /// The epoch it named.
        given: BrokerEpoch,
    },
    /// It must be unfenced first.
    #[error("broker {0} is fenced")]
    Fenced(BrokerId),
}

impl Refusal for BrokerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) | Self::Fenced(_) => ErrorCode::NotReady,
            Self::StaleEpoch { .. } => ErrorCode::VersionMismatch,
        }
    }
}

/// What a command does: records to replay, and what to answer once they are committed.
#[must_use]
pub(crate) struct Decision<R: Request> {
    pub(crate) records: Vec<Record>,
    pub(crate) answer: Result<R::Outcome, R::Refusal>,
}

impl<R: Request> Decision<R> {
    pub(crate) const fn refused(refusal: R::Refusal) -> Self {
        Self {
            records: Vec::new(),
            answer: Err(refusal),
        }
    }

    pub(crate) const fn done(records: Vec<Record>, outcome: R::Outcome) -> Self {
        Self {
            records,
            answer: Ok(outcome),
        }
    }
}

macro_rules! commands {
    ($( $(#[$doc:meta])* $name:ident($kind:ident) => $outcome:ty, $refusal:ty; )*) => {
        /// Every command. Logged and replicated as it is.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Command { $( $(#[$doc])* $name($name), )* }

        /// The answer to a command, by the same name.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Reply { $( $(#[$doc])* $name(Result<$outcome, $refusal>), )* }

        $(
            impl Request for $name {
                type Outcome = $outcome;
                type Refusal = $refusal;

                fn into_command(self) -> Command {
                    Command::$name(self)
                }

                fn from_reply(reply: Reply) -> Option<Result<$outcome, $refusal>> {
                    if let Reply::$name(answer) = reply { Some(answer) } else { None }
                }
            }
        )*

        impl Image {
            /// What `command` does to this image, and what is answered. Changes nothing: replay the records for that.
            /// The image's version must be the one of the entry that holds the command.
            #[must_use]
            pub fn decide(&self, command: &Command) -> (Vec<Record>, Reply) {
                match command {
                    $( Command::$name(command) => {
                        let decision = command.decide(self);
                        (decision.records, Reply::$name(decision.answer))
                    } )*
                }
            }
        }

        impl Command {
            /// Its name, for logs and metrics.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $( Self::$name(_) => stringify!($name), )* }
            }
        }
    };
}

commands! {
    /// Gives the cluster its id.
    InitCluster(init_cluster) => ClusterInitialized, InitClusterError;
    /// A broker's process introduces itself.
    RegisterBroker(register_broker) => Registered, RegisterBrokerError;
    /// A broker is ready to lead.
    UnfenceBroker(unfence_broker) => BrokerUnfenced, BrokerError;
    /// Brokers are lost.
    FenceBrokers(fence_brokers) => BrokersFenced, std::convert::Infallible;
    /// A broker wants to go.
    BeginShutdown(begin_shutdown) => ShutdownBegun, BrokerError;
    /// A new topic.
    CreateTopic(create_topic) => TopicCreated, CreateTopicError;
    /// A topic goes.
    DeleteTopic(delete_topic) => TopicDeleted, DeleteTopicError;
    /// A topic's configs change.
    UpdateTopicConfig(update_topic_config) => ConfigUpdated, UpdateTopicConfigError;
    /// A topic gets more partitions.
    CreatePartitions(create_partitions) => PartitionsCreated, CreatePartitionsError;
    /// Leaders change who is in sync.
    AlterPartitions(alter_partitions) => Vec<Result<PartitionAnswer, AlterPartitionError>>, BrokerError;
    /// A broker needs producer ids.
    AllocProducerIds(alloc_producer_ids) => ProducerIdBlock, BrokerError;
    /// Leaders are chosen because somebody asks.
    ElectLeaders(elect_leaders) => Vec<Result<PartitionAnswer, ElectLeaderError>>, std::convert::Infallible;
    /// Replicas have bad bytes.
    OfflineReplicas(offline_replicas) => ReplicasOffline, BrokerError;
    /// Groups need the topic that they keep their state in.
    EnsureOffsetsTopic(ensure_offsets_topic) => TopicCreated, EnsureOffsetsTopicError;
    /// There are more brokers than an internal topic has replicas on.
    GrowTopic(grow_topic) => TopicGrown, GrowTopicError;
}

impl Command {
    /// The feature level a cluster must be at before this command may be logged.
    #[must_use]
    pub const fn feature_level(&self) -> FeatureLevel {
        FeatureLevel::V1
    }
}
