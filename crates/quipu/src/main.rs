//! `quipu`: the whole of Quipu in one binary.
//!
//! `cli` is the shape of the command line, `cmd` has one file a command. `output` is what all of them print through,
//! `failure` turns errors into what to do next. `text` and `measure` are pure; `demo` is the proof on real data;
//! `broker_process` runs brokers as processes of their own, `local_cluster` several of them, and `brokers` does things to
//! these, for `dev`, `demo` and `check`. `allocator` sets up memory.

#![warn(clippy::expect_used, clippy::panic)]

mod allocator;
mod broker_process;
mod brokers;
mod cli;
mod cmd;
mod demo;
mod failure;
mod local_cluster;
mod measure;
mod output;
mod owner;
mod text;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::keep_buffers();
    match cli::Cli::parse().run() {
        Ok(ending) => ending.into(),
        Err(failure) => failure.tell(),
    }
}
