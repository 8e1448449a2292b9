//! What three replicas cost: throughput held against what the disk and a bare stream give in the same run, and what a
//! cluster takes when nothing happens.
//!
//! | what | held against |
//! |---|---|
//! | produce, RF 3, `acks=all`, `durability=fsync`, one machine | a plain program that writes three files and calls fdatasync |
//! | produce, RF 3, `durability=replicated`, directories in memory, four producers | one bare tonic stream |
//! | 3,000 idle partitions of three replicas | processor time of each broker: 3% of one core |
//! | creating 1,000 partitions | 2 s |
//!
//! Brokers, producers and both ends of the peers are processes of their own. `cargo bench -p quipu --bench cluster -- --help`

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

#[path = "../peers/bare.rs"]
#[expect(dead_code, reason = "the other bench uses more of it")]
mod bare;
#[path = "../peers/disk.rs"]
mod disk;
mod idle;
mod produce;
#[path = "../peers/subject.rs"]
mod subject;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod support;
#[path = "../peers/table.rs"]
mod table;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use support::Result;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// A part of a measurement, run as a process of its own.
    #[command(subcommand)]
    part: Option<Part>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// What to measure, and where.
#[derive(clap::Args)]
struct Options {
    /// Measure only what contains this: disk, memory, idle
    #[arg(long, default_value = "")]
    only: String,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Megabytes that each measurement produces, all producers together
    #[arg(long, default_value_t = 1024)]
    megabytes: u64,
    /// Partitions of the idle cluster
    #[arg(long, default_value_t = 3000)]
    partitions: u32,
    /// A directory in memory
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// A directory on a disk
    #[arg(long, default_value = ".")]
    disk: PathBuf,
}

#[derive(Subcommand)]
enum Part {
    /// The bare server.
    #[command(name = "bare-serve", hide = true)]
    Serve,
    /// The bare producer.
    #[command(name = "bare-produce", hide = true)]
    Produce { address: String, count: u64 },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.part {
        None => all(&cli.options),
        Some(part) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(play(part)),
    }
}

/// Plays one part; what it measured goes to standard output.
async fn play(part: Part) -> Result<()> {
    let batch = subject::batch(produce::RECORD_BYTES, produce::BATCH_BYTES)?.bytes;
    match part {
        Part::Serve => bare::serve(batch).await,
        Part::Produce { address, count } => {
            let took = bare::produce(&address, batch, count).await?;
            tell!("{}", took.as_secs_f64());
            Ok(())
        }
    }
}

fn all(options: &Options) -> Result<()> {
    let wanted = |name: &str| name.contains(&options.only);
    let mut comparisons = Vec::new();
    if wanted("disk") {
        comparisons.push(produce::on_disk(options)?);
    }
    if wanted("memory") {
        comparisons.push(produce::in_memory(options)?);
    }
    if !comparisons.is_empty() {
        tell!("{}", table::markdown(&comparisons));
    }
    if wanted("idle") {
        idle::measure(options)?;
    }
    Ok(())
}
