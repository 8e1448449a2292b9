//! Consumer groups: real coordinators, real hosted members, clients that process what they get, and everything between them
//! that can go wrong. What the cluster does for the offsets topic is taken as promised here (`cluster/` proves it): a
//! record is committed once its leader is heard by a majority, and a new leader has every committed record.
//!
//! `world.rs` is the loop; `log.rs` the partition of `__consumer_offsets`; `coordinator.rs` and `stream.rs` the shells around
//! the two cores, as thin as the broker's; `client.rs` who consumes; `nemesis.rs` the faults; `truth.rs` what is true whatever
//! anybody believes, and what the invariants look at.

mod client;
mod coordinator;
mod log;
mod nemesis;
mod shared;
mod stream;
mod topics;
mod truth;
mod world;

pub(crate) use truth::{Claim, Committed, Place};
pub(crate) use world::run;
