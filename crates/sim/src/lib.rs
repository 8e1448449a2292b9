//! A seeded world around the very same driver that production runs: its own scheduler, fake disks, a fake network, fake
//! clocks, clients that retry, and faults of every kind. One number decides everything that happens in it.
//!
//! Invariants
//! - Two runs of one seed are equal, event for event: their trace hashes say so.
//! - Nothing in here decides what a broker would decide: the world only carries messages, bytes and time.
//! - Every invariant is a file in `invariants/`, looked at after every step; the clients' history is judged by
//!   `quipu-checker` at the end.
//! - A run that injected no fault of some kind proves nothing about it: counts are printed by kind.
//!
//! Where to look: `world.rs` is the loop, `plan.rs` what a seed decides beforehand, `broker/` the process around the
//! drivers, `clients/` who uses it, `nemesis.rs` the faults, `ghost.rs` what is true whatever brokers believe.

mod broker;
mod chance;
mod clients;
mod ghost;
mod invariants;
mod message;
mod nemesis;
mod network;
mod payload;
mod plan;
mod report;
mod schedule;
mod shared;
mod trace;
mod world;

pub use report::{Counts, Fault, Outcome, Violation};
pub use world::{Options, run};
