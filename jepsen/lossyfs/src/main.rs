//! `lossyfs mount` mounts and stays in the foreground; `lossyfs ask` says something to its control socket.

#![warn(clippy::expect_used, clippy::panic)]

use clap::{Parser, Subcommand};
use quipu_lossyfs::{Daemon, Limits, Options, ask};
use std::path::PathBuf;
use std::process::ExitCode;

/// A file system for tests that loses what was not synced when the power goes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Mounts, and obeys the control socket until it says `stop`.
    Mount {
        /// A directory that is there.
        #[arg(long)]
        at: PathBuf,
        /// A folder for durable bytes; nothing is left in it.
        #[arg(long)]
        backing: PathBuf,
        /// The control socket; it is there once the file system is mounted.
        #[arg(long)]
        control: PathBuf,
        /// The disk's size in bytes.
        #[arg(long, default_value_t = Limits::default().capacity)]
        capacity: u64,
    },
    /// Says one command to a control socket: drop, torn SEED, off drop, off torn SEED, on, fail-fsync N, full BYTES,
    /// slow MS, clear, stats, stop.
    Ask {
        /// The control socket.
        control: PathBuf,
        /// The command's words.
        #[arg(required = true)]
        words: Vec<String>,
    },
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's own output")]
fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Verb::Mount {
            at,
            backing,
            control,
            capacity,
        } => {
            let limits = Limits {
                capacity,
                ..Limits::default()
            };
            let options = Options {
                at,
                backing,
                control,
                limits,
            };
            Daemon::run(options).map_err(|error| error.to_string())
        }
        Verb::Ask { control, words } => ask(&control, &words.join(" "))
            .map(|said| println!("{said}"))
            .map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lossyfs: {why}");
            ExitCode::FAILURE
        }
    }
}
