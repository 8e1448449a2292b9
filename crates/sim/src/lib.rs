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
//! Where to look: `cluster/` is the cluster (`cluster.rs` is the loop, `plan.rs` what a seed decides beforehand,
//! `broker/` the process around the drivers, `controller.rs` those who decide, `clients/` who uses it, `nemesis.rs` the
//! faults, `story.rs` where they follow a plot, `ghost.rs` what is true whatever brokers believe); `alone/` is the same
//! for one broker and its disk, and `groups/` for consumer groups.

#![warn(clippy::expect_used, clippy::panic)]

mod alone;
mod chance;
mod cluster;
mod groups;
mod invariants;
mod options;
mod payload;
mod report;
mod schedule;
mod trace;

pub use options::{Options, World, run};
pub use report::{ACKED_MIN, Counts, Deed, FAULTS_MIN, Fault, Outcome, Violation};
