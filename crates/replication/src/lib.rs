//! One partition's agreement: what is appended, when it counts as committed, and who is told.
//!
//! `rules/` holds the decisions, one a file, pure: no disk, no clock, no thread. [`Driver`] pairs them with one
//! `quipu_storage::Log`: an [`Input`] and the time go in, [`Effects`] come out, and the order in which the effects
//! may be carried out is written on them.
//!
//! Invariants
//! - An answer that says "appended" leaves only once the high watermark (or, with `acks=leader`, the leader's own flush)
//!   has passed the batch.
//! - The high watermark is the least that any replica that may be elected holds; it only grows.
//! - A producer's batch is appended once, however often it is sent, across restarts.
//! - The state of a replica, its producers included, is a function of its log and of the metadata.
//!
//! Elsewhere: segments, recovery and flush rounds are in `quipu-storage`; who leads is decided in `quipu-metadata`;
//! threads, sockets and waiting consumers are in `quipu-broker`; `quipu-sim` drives this crate from a seed.

#![warn(clippy::expect_used, clippy::panic)]

mod answer;
mod clock;
mod config;
mod driver;
mod effects;
mod error;
mod fetch;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod input;
mod isr_change;
pub mod rules;
mod view;

pub use answer::{Acks, Answer, Appended, Reached, Token};
pub use clock::{Now, Tick};
pub use config::{Durability, PartitionConfig};
pub use driver::{Driver, DriverOpenError, DriverOptions, Replayed};
pub use effects::Effects;
pub use error::{DeleteRecordsError, ProduceError, ReadError};
pub use fetch::{FetchResult, FetchToken, Fetched, FollowerFetch, FollowerHeard, Position, Verdict};
pub use input::{
    Append, CleanEnd, DeleteBefore, DeleteRecords, Followership, Input, LeaderRecord, Leadership, Resign,
    Settings,
};
pub use isr_change::{IsrAnswered, IsrProposal, IsrRefusal, IsrResult};
pub use view::{Following, Leading, View};
