//! Quipu beside its peers, in one run on one machine: ratios mean something where figures alone do not.
//!
//! | what | peer |
//! |---|---|
//! | produce through the SDK, data directory in memory | a bare tonic stream carrying the same batches ([`bare`]) |
//! | produce on a disk, `durability=fsync` | a plain program writing 1 MiB and fdatasync, two in flight ([`disk`]) |
//! | consume the tail, and sealed segments | a bare tonic stream giving out the same batches |
//!
//! Broker, client and both ends of the peer are processes of their own. Measurements alternate, so that a slow minute of
//! the machine falls on both sides; each figure is the median of its rounds.
//!
//! `cargo bench -p quipu --bench peers -- --help`

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

mod bare;
mod disk;
mod run;
mod subject;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod support;
mod table;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

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
    /// Measure only comparisons whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Megabytes that each measurement in memory moves
    #[arg(long, default_value_t = 2048)]
    megabytes: u64,
    /// Megabytes that each measurement on the disk writes
    #[arg(long, default_value_t = 1024)]
    disk_megabytes: u64,
    /// A directory in memory
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// A directory on a disk
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Bytes of a batch
    #[arg(long, default_value_t = 1 << 20)]
    batch_size: usize,
    /// Write the results to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// The bare server.
    #[command(name = "bare-serve", hide = true)]
    Serve { record_size: usize, batch_size: usize },
    /// The bare producer.
    #[command(name = "bare-produce", hide = true)]
    Produce {
        address: String,
        record_size: usize,
        batch_size: usize,
        count: u64,
    },
    /// The bare consumer.
    #[command(name = "bare-consume", hide = true)]
    Consume { address: String, count: u64 },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    match cli.part {
        None => run::all(&cli.options),
        Some(part) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(play(part)),
    }
}

/// Plays one part; what it measured goes to standard output.
async fn play(part: Part) -> Result<(), Box<dyn std::error::Error>> {
    match part {
        Part::Serve {
            record_size,
            batch_size,
        } => bare::serve(subject::batch(record_size, batch_size)?.bytes).await,
        Part::Produce {
            address,
            record_size,
            batch_size,
            count,
        } => {
            let batch = subject::batch(record_size, batch_size)?;
            let took = bare::produce(&address, batch.bytes, count).await?;
            tell!("{}", took.as_secs_f64());
            Ok(())
        }
        Part::Consume { address, count } => {
            let (bytes, took) = bare::consume(&address, count).await?;
            tell!("{} {bytes}", took.as_secs_f64());
            Ok(())
        }
    }
}
