//! Clients that do something to a cluster, and the history of what they did and saw, for `quipu-checker`.
//!
//! Why a crate of its own: the black-box tests, `quipu check` and the chaos harness put the very same load on a cluster
//! and believe the very same record of it.
//!
//! Invariants
//! - One clock, one history, and every event checked against the rules of histories as it comes.
//! - An operation begins in the history before anything of it is sent, and ends there after its answer came.
//! - `fail` is said only of what certainly did not happen: the cluster refused it, or nothing was sent. All else that is
//!   not `ok` is `info`, and whoever said it goes on as a new process.
//! - Every value is sent by one operation only, and tells its own name.
//! - A workload draws everything that it decides from its seed.
//!
//! Elsewhere: what may not happen in a history is in `quipu-checker`; faults are the caller's to inject and to tell
//! ([`Recorder::fault`]). A workload is a file in `workloads/`, and adding one is adding a file and a line in
//! `workloads/mod.rs`. What came of a run is told by [`report`].

#![warn(clippy::expect_used, clippy::panic)]

mod chance;
mod dump;
mod error;
mod finals;
mod live;
mod recorder;
pub mod report;
mod site;
mod tasks;
mod value;
pub mod workloads;

pub use chance::Chance;
pub use dump::{DumpError, replica_ops};
pub use error::WorkloadError;
pub use finals::{Polled, poll_to_the_end};
pub use live::{Live, Sample, What};
pub use recorder::{Actor, Recorder, write_lines};
pub use site::{Pace, Site};
pub use tasks::{Stop, Tasks};
pub use value::{read_records, value_bytes, value_of};
pub use workloads::Workload;
