//! Compaction of a table under load: what it leaves, what memory it takes, and what it costs producers.
//!
//! | what | limit |
//! |---|---|
//! | a table of 10 million updates over 1 million keys: keys whose latest value is not the last one written | 0 |
//! | anonymous memory of the broker (RssAnon) while it compacts, above what it was before | 64 MiB |
//! | producers' rate meanwhile, of their rate without (in the same run, before and after) | at least 80 % |
//!
//! A rate is the median of its seconds: a disk that stalls for one of them says nothing of compaction.
//!
//! The broker is the real process, with its defaults but for how often it looks for something to compact. What producers wrote
//! meanwhile is deleted every second: it takes some 5 GB of disk.
//! `cargo bench -p quipu --bench compaction -- --help`

#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod support;

mod load;

use clap::Parser;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Broker, Result, quipu};

const MIB: f64 = 1024.0 * 1024.0;
/// How long producers' rate is measured without compaction, each time.
const BASELINE: Duration = Duration::from_secs(25);
/// How long a compaction may take.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Parser)]
struct Cli {
    /// Updates of the table
    #[arg(long, default_value_t = 10_000_000)]
    updates: u64,
    /// Keys of the table
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// A directory on a disk
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Bytes that compaction may read and write in a second
    #[arg(long, default_value = "32MiB")]
    rate: String,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let keys = cli.keys.min(cli.updates.max(1));
    let settings = [
        "storage.cleaner.backoff.ms=200".to_owned(),
        format!("storage.cleaner.bytes.per.second={}", cli.rate),
    ];
    let broker = Broker::start_with(&cli.disk, &settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let address = broker.address().to_owned();
    let segment = ["--config", "segment.bytes=67108864"];
    quipu(&address, &[&["topic", "create", "table"][..], &segment].concat())?;
    quipu(
        &address,
        &["topic", "create", "other", "--config", "segment.bytes=134217728"],
    )?;

    let begun = Instant::now();
    runtime.block_on(load::fill(&address, cli.updates, keys))?;
    say(format!(
        "{} updates in {:.1} s",
        cli.updates,
        begun.elapsed().as_secs_f64()
    ))?;
    // The last of them in a segment of their own: the active one is never compacted.
    let size_before = log_bytes(&broker)?;

    // What the table left to be written is not the baseline's to wait for.
    rustix::fs::sync();
    runtime.spawn(load::trim(address.clone()));
    let before = rate(&runtime, &address, BASELINE)?;
    let anonymous = rss_anon(broker.pid())?;
    let peak = Peak::watch(broker.pid());
    quipu(
        &address,
        &["topic", "alter", "table", "--config", "cleanup.policy=compact"],
    )?;
    let (during, took) = rate_until_compacted(&runtime, &broker)?;
    let peak = peak.end()?;
    let after = rate(&runtime, &address, BASELINE)?;
    let size_after = log_bytes(&broker)?;
    let wrong = runtime.block_on(load::check(&address, cli.updates, keys))?;

    let without = f64::midpoint(before, after);
    let mut out = std::io::stdout();
    writeln!(out, "| measured | figure | limit |\n|---|---:|---:|")?;
    writeln!(out, "| updates, keys | {}, {keys} | |", cli.updates)?;
    writeln!(out, "| keys whose latest value is wrong | {} | 0 |", wrong.wrong)?;
    writeln!(
        out,
        "| records left, of them in the active segment or above | {} | |",
        wrong.records
    )?;
    writeln!(
        out,
        "| bytes of the table before, after | {:.0} MiB, {:.0} MiB | |",
        size_before / MIB,
        size_after / MIB
    )?;
    writeln!(out, "| compaction took | {:.1} s | |", took.as_secs_f64())?;
    writeln!(
        out,
        "| RssAnon before, growth at its peak | {:.0} MiB, {:.0} MiB | 64 MiB |",
        mib(anonymous),
        mib(peak.saturating_sub(anonymous))
    )?;
    writeln!(
        out,
        "| producers without, before and after | {before:.1} MB/s, {after:.1} MB/s | |"
    )?;
    writeln!(out, "| producers while it compacts | {during:.1} MB/s | |")?;
    writeln!(
        out,
        "| of their rate without | {:.0} % | 80 % |",
        during / without * 100.0
    )?;
    Ok(())
}

fn say(what: String) -> Result<()> {
    writeln!(std::io::stderr(), "{what}")?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Megabytes that a producer of another topic gets through in a second.
fn rate(runtime: &tokio::runtime::Runtime, address: &str, time: Duration) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let produced = load::produce(address, &stop, Instant::now() + time);
    Ok(median_mb(runtime.block_on(produced)?))
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn median_mb(mut bytes: Vec<u64>) -> f64 {
    bytes.sort_unstable();
    bytes.get(bytes.len() / 2).copied().unwrap_or(0) as f64 / 1e6
}

/// The same until the table is compacted, and how long that took.
fn rate_until_compacted(runtime: &tokio::runtime::Runtime, broker: &Broker) -> Result<(f64, Duration)> {
    let begun = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let (address, told) = (broker.address().to_owned(), Arc::clone(&stop));
    let producing = runtime.spawn(async move {
        let produced = load::produce(&address, &told, begun + PATIENCE).await;
        produced.map_err(|error| error.to_string())
    });
    while metric(broker, "quipu_compaction_runs_total")? < 1.0 {
        if begun.elapsed() > PATIENCE {
            return Err("the table was not compacted in time".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = begun.elapsed();
    stop.store(true, Ordering::Release);
    Ok((median_mb(runtime.block_on(producing)??), took))
}

/// Bytes of the table's log.
#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn log_bytes(broker: &Broker) -> Result<f64> {
    let described = quipu(
        broker.address(),
        &["topic", "describe", "table", "--output", "json"],
    )?;
    let described: serde_json::Value = serde_json::from_str(&described)?;
    let one = described.get(0).unwrap_or(&described);
    let id = one["topic_id"].as_str().ok_or("the topic has no id")?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(broker.data_dir().join("logs").join(id).join("0"))? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "log")
        {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes as f64)
}

fn rss_anon(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line
        .ok_or("no RssAnon")?
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()?;
    Ok(kib * 1024)
}

/// Watches a process's anonymous memory.
struct Peak {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<std::result::Result<u64, String>>,
}

impl Peak {
    fn watch(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Acquire) {
                peak = peak.max(rss_anon(pid).map_err(|error| error.to_string())?);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(peak)
        });
        Self { stop, thread }
    }

    fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Release);
        Ok(self.thread.join().map_err(|_| "the watch panicked")??)
    }
}

/// A metric of the broker's.
fn metric(broker: &Broker, name: &str) -> Result<f64> {
    let mut stream = TcpStream::connect(broker.http())?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0))
}
