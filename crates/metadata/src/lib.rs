//! The cluster's truth: brokers, topics, partitions, who leads them, configs. Pure.
//!
//! A [`Command`] is decided against the [`Image`] of the moment into [`Record`]s and a [`Reply`]; replaying the records is
//! the only thing that changes an image. The Raft log holds commands, and every member decides them for itself.
//!
//! Invariants
//! - Deciding and replaying are deterministic: no clock, no randomness, no order of a hash. A change that could alter a
//!   result takes a new [`FeatureLevel`].
//! - In-sync replicas are never fenced, and nobody is both in sync and eligible; both are replicas. A leader is one of the
//!   in-sync replicas. With `min_insync` or more in sync nobody is eligible.
//! - Epochs only grow. A topic's id is never used again.
//! - A record that is not understood stops the replay: it is never skipped.
//!
//! Elsewhere: the group that agrees on the commands is `quipu-controller`; what leaders and followers do with the result
//! is `quipu-replication`.

#![warn(clippy::expect_used, clippy::panic)]

mod balance;
mod broker;
mod chunk_map;
mod codec;
mod command;
mod growth;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod ids;
mod image;
mod index;
mod lifecycle;
mod liveness;
mod partition;
mod partition_change;
mod placement;
mod record;
mod replica_set;
mod topic;
mod topic_config;

pub use balance::{Balance, BalanceConfig};
pub use broker::{Broker, Listener};
pub use codec::{COMMAND_BYTES_MAX, DecodeError, RECORD_BYTES_MAX, REPLY_BYTES_MAX};
pub use command::{
    AllocProducerIds, AlterPartitionError, AlterPartitions, BeginShutdown, BrokerError, BrokerFence,
    BrokerUnfenced, BrokersFenced, ClusterInitialized, Command, ConfigUpdated, CreatePartitions,
    CreatePartitionsError, CreateTopic, CreateTopicError, CutPartition, DeleteTopic, DeleteTopicError,
    ElectLeaderError, ElectLeaders, EnsureOffsetsTopic, EnsureOffsetsTopicError, FenceBrokers, GrowTopic,
    GrowTopicError, Ineligible, InitCluster, InitClusterError, IsrChange, IsrMember, LeaderElection,
    OFFSETS_PARTITIONS, OFFSETS_TOPIC, OfflineReplicas, PARTITIONS_PER_TOPIC_MAX, PRODUCER_ID_BLOCK,
    PartitionAnswer, PartitionsCreated, ProducerIdBlock, Refusal, RegisterBroker, RegisterBrokerError,
    Registered, ReplicasOffline, Reply, Request, ShutdownBegun, TopicCreated, TopicDeleted, TopicGrown,
    TopicMistake, UnfenceBroker, UpdateTopicConfig, UpdateTopicConfigError,
};
pub use growth::Growth;
pub use ids::{ClusterId, DirectoryId, FeatureLevel, Incarnation};
pub use image::{Image, ReplayError};
pub use lifecycle::{Ending, Lifecycle, LifecycleConfig, LifecycleEffect, LifecycleEvent, LifecycleStage};
pub use liveness::{Heartbeat, HeartbeatAnswer, Liveness, LivenessConfig, Proposal, Settled, Ticket};
pub use partition::{CutReplica, Partition, Rare};
pub use record::{Delta, Record};
pub use replica_set::ReplicaSet;
pub use topic::{Partitions, Topic};
pub use topic_config::{
    CONFIGS, CONFIGS_NOT_HERE, CleanupPolicy, ConfigChange, ConfigEntry, ConfigKey, ConfigKind,
    ConfigMistake, ConfigSpec, Durability, MAX_MESSAGE_BYTES_LIMIT, RATIO_ONE, TopicConfig,
};
