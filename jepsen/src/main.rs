//! The harness: three to five real `quipu` processes, each in a network of its own, under real faults; what their clients
//! did and saw goes through `quipu-checker`.
//!
//! Why: simulation proves the cores, this proves the glue around them. The binary is the one that is shipped.
//!
//! Invariants
//! - Nothing of a run touches the machine around it. The harness runs itself again in network, mount and process
//!   namespaces of its own ([`isolate`]); they end with it, however it ends.
//! - A run is drawn from its seed: which faults, on whom, for how long. What the processes make of it is theirs.
//! - Each fault heals what it broke, and whatever it leaves behind is healed before the next one.
//! - A run proves nothing without faults, or without acknowledgements: that is an end of its own, not a clean one.
//! - What the harness cannot do is told apart from what Quipu does wrong: an error here is never an anomaly.
//!
//! Elsewhere: clients and their histories are in `quipu-workload`, what may not happen in `quipu-checker`. A new fault is a file in
//! `faults/` and a line in its list. `docs/chaos.md` is for those who run it.

#![warn(clippy::expect_used, clippy::panic)]

mod chance;
mod cli;
mod clock;
mod cluster;
mod disk;
mod faults;
mod finale;
mod isolate;
mod load;
mod network;
mod output;
mod phases;
mod planted;
mod proxy;
mod report;
mod schedule;
mod shell;

use clap::Parser;
use std::process::ExitCode;

/// What the harness could not do, in words.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    let ended = cli::Args::parse()
        .checked()
        .and_then(|plan| match isolate::enter(plan.seed)? {
            isolate::Place::Outside(ended) => Ok(ended),
            isolate::Place::Inside => phases::run(&plan),
        });
    ended.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::from(output::NOT_RUN)
    })
}
