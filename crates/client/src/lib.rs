//! The SDK: producer, consumer, admin; routing, retries, batching.
//!
//! Why a thick client when any broker takes any request: it sends each batch to the partition's leader itself, encodes
//! and checks batches itself, and so neither makes the cluster forward nor decode.
//!
//! Invariants
//! - Every call has one deadline; retries happen under it, with jittered backoff.
//! - What cannot be known is said to be unknown: no error means "did not happen" unless it cannot have happened.
//! - A producer never reorders the records of a partition, has at most five batches of it in flight, and resolves every
//!   record that it took exactly once.
//! - A consumer gives a partition's records in order, each once, however often it reconnects.
//! - Nothing is allocated per record.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quipu_client::{Client, ClientConfig, ConsumerConfig, NewTopic, ProducerConfig, Record, Start};
//!
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:4600"])).await?;
//! client.admin().create_topic(NewTopic::new("greetings").with_partitions(3)).await?;
//!
//! let producer = client.producer(ProducerConfig::default()).await?;
//! let delivery = producer.send("greetings", Record::keyed(b"en", b"hello")).await?;
//! println!("stored at {:?}", delivery.await?.offset);
//!
//! let mut consumer = client.consumer(ConsumerConfig::default());
//! consumer.add_topic("greetings", Start::Earliest).await?;
//! for record in &consumer.next().await? {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(()) }
//! ```
//!
//! Elsewhere: the bytes of a batch are in `quipu-record`, the wire's messages in `quipu-proto`. What decides is pure
//! (`producer/core`, `routing/table.rs`, `backoff.rs`); tokio is only in the shell around it.

#![warn(clippy::expect_used, clippy::panic)]

mod admin;
mod backoff;
mod client;
mod clock;
mod config;
mod connection;
mod consumer;
mod error;
mod group;
mod loopback;
mod moment;
mod producer;
mod routing;

pub use admin::{
    Admin, BrokerDescription, CheckReport, ClusterDescription, CommittedOffset, ConfigChange, ConfigEntry,
    ControllerDescription, ControllersDescription, DeletedRecords, Finding, FoundOffset, GroupDescription,
    GroupList, GroupOffset, GroupState, GroupSummary, ListenerDescription, MemberDescription, NewTopic,
    OffsetReset, PartitionDescription, PartitionRoute, ResetOffsets, ResetTo, RoutingDescription, Severity,
    TopicChanged, TopicDescription, TopicRoute,
};
pub use client::Client;
pub use config::{ClientConfig, ConfigError};
pub use consumer::{
    ConsumeError, Consumer, ConsumerConfig, FetchedBatch, FetchedIter, Position, Reset, Start,
};
pub use error::{CallError, ConnectError};
pub use group::{
    AssignmentEpoch, Assignor, CloseError, CommitError, CommitMode, CommitOffset, Committing, GroupConfig,
    GroupConsumer, GroupEpoch, GroupError, GroupPartition, MemberEpoch, Rebalance, RebalanceListener,
};
pub use producer::{
    Acks, Delivered, Delivery, DeliveryError, Durability, FlushError, Producer, ProducerConfig,
    ProducerStats, ProducerTopic, Record, SendError,
};
/// Terms shared with the rest of Quipu.
pub use quipu_record::{
    BrokerId, Codec, ErrorCode, Header, LeaderEpoch, MetadataVersion, Offset, PartitionId, RecordView,
    Timestamp, TopicId,
};
