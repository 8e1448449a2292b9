//! What a broker may cost: memory, descriptors and the time of a restart, each held against its limit in figures.
//!
//! | what | limit |
//! |---|---|
//! | idle broker, resident | 30 MiB |
//! | 10,000 empty partitions: resident, descriptors, restart after a clean stop and after SIGKILL | 80 MiB, 4,096, 5 s |
//! | 10 GiB of log in 1 GiB segments: restart after a clean stop | 1 s |
//! | the same, after SIGKILL under a load of single 100-byte records | 3 s |
//!
//! The broker is the real process. `cargo bench -p quipu --bench limits -- --help`

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod support;

mod load;
mod process;

use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use support::{Broker, Result, quipu};

const MIB: f64 = 1024.0 * 1024.0;
const PARTITIONS: u32 = 10_000;
const PARTITIONS_A_TOPIC: u32 = 1_000;
/// How long a broker is left alone before it counts as idle.
const SETTLE: Duration = Duration::from_secs(3);
const LOAD: Duration = Duration::from_secs(3);

#[derive(Parser)]
struct Cli {
    /// Measure only what contains this
    #[arg(long, default_value = "")]
    only: String,
    /// A directory on a disk
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Gigabytes of log to recover
    #[arg(long, default_value_t = 10)]
    gigabytes: u64,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A figure and its limit.
struct Figure {
    what: String,
    figure: f64,
    limit: f64,
    unit: &'static str,
}

type Section = fn(&Cli) -> Result<Vec<Figure>>;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut figures = Vec::new();
    let sections: [(&str, Section); 3] = [("idle", idle), ("partitions", partitions), ("recovery", recovery)];
    for (_, measure) in sections.iter().filter(|(name, _)| name.contains(&cli.only)) {
        figures.extend(measure(&cli)?);
    }
    let mut out = std::io::stdout();
    writeln!(out, "| measured | figure | at most |\n|---|---:|---:|")?;
    for Figure {
        what,
        figure,
        limit,
        unit,
    } in figures
    {
        let mark = if figure <= limit { "" } else { " (missed)" };
        let digits = if unit == "s" { 2 } else { 0 };
        writeln!(
            out,
            "| {what} | {figure:.digits$} {unit} | {limit} {unit}{mark} |"
        )?;
    }
    Ok(())
}

fn figure(what: impl Into<String>, figure: f64, limit: f64, unit: &'static str) -> Figure {
    Figure {
        what: what.into(),
        figure,
        limit,
        unit,
    }
}

fn seconds(what: impl Into<String>, took: Duration, limit: f64) -> Figure {
    figure(what, took.as_secs_f64(), limit, "s")
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn resident(what: impl Into<String>, broker: &Broker, limit: f64) -> Result<Figure> {
    Ok(figure(
        what,
        process::resident(broker.pid())? as f64 / MIB,
        limit,
        "MiB",
    ))
}

fn idle(cli: &Cli) -> Result<Vec<Figure>> {
    let broker = Broker::start_with(&cli.disk, &[])?;
    std::thread::sleep(SETTLE);
    Ok(vec![resident("idle broker, resident", &broker, 30.0)?])
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn partitions(cli: &Cli) -> Result<Vec<Figure>> {
    let broker = Broker::start_with(&cli.disk, &[])?;
    for topic in 0..PARTITIONS / PARTITIONS_A_TOPIC {
        let (name, count) = (format!("t{topic}"), PARTITIONS_A_TOPIC.to_string());
        quipu(
            broker.address(),
            &["topic", "create", &name, "--partitions", &count],
        )?;
    }
    std::thread::sleep(SETTLE);
    let mut figures = vec![
        resident("10,000 partitions, resident", &broker, 80.0)?,
        figure(
            "10,000 partitions, descriptors",
            process::descriptors(broker.pid())? as f64,
            4_096.0,
            "",
        ),
        figure(
            "10,000 partitions, memory maps",
            process::maps(broker.pid())? as f64,
            32_765.0,
            "",
        ),
    ];
    let broker = broker.restart()?;
    figures.push(seconds(
        "10,000 partitions, restart after a clean stop",
        broker.took,
        5.0,
    ));
    std::thread::sleep(SETTLE);
    figures.push(resident(
        "10,000 partitions, resident after the restart",
        &broker,
        80.0,
    )?);
    let broker = broker.kill()?.start()?;
    figures.push(seconds(
        "10,000 partitions, restart after SIGKILL",
        broker.took,
        5.0,
    ));
    quipu(broker.address(), &["cluster", "check"])?;
    Ok(figures)
}

fn recovery(cli: &Cli) -> Result<Vec<Figure>> {
    let broker = Broker::start_with(&cli.disk, &[])?;
    let config = [
        "--config",
        "segment.bytes=1073741824",
        "--config",
        "retention.ms=-1",
    ];
    quipu(
        broker.address(),
        &[&["topic", "create", "bench"][..], &config].concat(),
    )?;
    let records = (cli.gigabytes << 30) / 1024;
    let produce = [
        "bench",
        "produce",
        "--record-size",
        "1024",
        "--batch-size",
        "1048576",
    ];
    quipu(
        broker.address(),
        &[&produce[..], &["--records", &records.to_string()]].concat(),
    )?;
    let broker = broker.restart()?;
    let what = format!(
        "{} GiB in 1 GiB segments: restart after a clean stop",
        cli.gigabytes
    );
    let mut figures = vec![seconds(what, broker.took, 1.0)];

    // Every record in a batch of its own, and killed in the midst of it.
    let runtime = tokio::runtime::Runtime::new()?;
    let address = broker.address().to_owned();
    let load = runtime.spawn(async move {
        let broken = load::until_broken(&address, "bench").await;
        broken.map_err(|error| error.to_string())
    });
    std::thread::sleep(LOAD);
    let home = broker.kill()?;
    let acknowledged = runtime.block_on(load)??;
    let broker = home.start()?;
    writeln!(
        std::io::stderr(),
        "{acknowledged} single records were acknowledged before the kill"
    )?;
    let what = format!(
        "{} GiB: restart after SIGKILL under single 100-byte records",
        cli.gigabytes
    );
    figures.push(seconds(what, broker.took, 3.0));
    quipu(broker.address(), &["cluster", "check"])?;
    Ok(figures)
}
