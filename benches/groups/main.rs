//! What consumer groups cost, and how long they are without a coordinator.
//!
//! | what | at most |
//! |---|---|
//! | 1,000 groups of three members on one broker, at rest: its processor time | 10% of one core |
//! | many commits over 100,000 group-partitions, then SIGKILL of a coordinator: from the election to the first answer | 2 s |
//!
//! `cargo bench -p quipu --bench groups -- --help`

/// A line of results.
macro_rules! tell {
    ($($arg:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stdout(), $($arg)*)?
    }};
}
/// A line about how it goes.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stderr(), $($arg)*)?
    }};
}

mod failover;
mod idle;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod support;

use clap::Parser;
use std::path::PathBuf;
use support::Result;

#[derive(Parser)]
struct Options {
    /// Measure only what contains this: idle, failover
    #[arg(long, default_value = "")]
    only: String,
    /// Groups at rest, of three members each
    #[arg(long, default_value_t = 1_000)]
    groups: usize,
    /// Offsets that are committed before the coordinator is killed
    #[arg(long, default_value_t = 100_000_000)]
    commits: u64,
    /// A directory for the brokers
    #[arg(long, default_value = "/dev/shm")]
    directory: PathBuf,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    tell!("| measured | figure | at most |\n|---|---:|---:|");
    if "idle".contains(&options.only) {
        runtime.block_on(idle::measure(&options))?;
    }
    if "failover".contains(&options.only) {
        runtime.block_on(failover::measure(&options))?;
    }
    Ok(())
}
