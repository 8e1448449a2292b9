//! The comparisons: what is run against what, in turns.

use crate::subject;
use crate::support::{Broker, quipu};
use crate::table::{Comparison, markdown, median};
use crate::{Options, disk};
use serde_json::Value;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MEGABYTE: u64 = 1 << 20;
/// Memory of the broker for the tail, when consuming the tail is measured: what is consumed fits in.
const TAIL_BYTES_FACTOR: u64 = 2;

/// One comparison: how to measure each side once, in megabytes of values a second.
struct Plan<'a> {
    name: String,
    peer: &'static str,
    target: f64,
    command: String,
    quipu: Box<dyn Fn() -> Result<f64> + 'a>,
    other: Box<dyn Fn() -> Result<f64> + 'a>,
}

/// Runs all comparisons asked for and prints what came out.
pub(crate) fn all(options: &Options) -> Result<()> {
    let plans = [
        produce_in_memory(options, 1024),
        produce_in_memory(options, 100),
        produce_on_disk(options),
        consume(options, Place::Tail),
        consume(options, Place::Sealed),
    ];
    let mut comparisons = Vec::new();
    for plan in plans.iter().filter(|plan| plan.name.contains(&options.only)) {
        let (mut quipu_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            peer_rounds.push((plan.other)()?);
            quipu_rounds.push((plan.quipu)()?);
            let (q, p) = (quipu_rounds[round - 1], peer_rounds[round - 1]);
            say!(
                "{}, round {round}: Quipu {q:.0} MB/s, peer {p:.0} MB/s: {:.0}%",
                plan.name,
                q / p * 100.0
            );
        }
        let (quipu, peer_figure) = (median(&quipu_rounds), median(&peer_rounds));
        comparisons.push(Comparison {
            name: plan.name.clone(),
            unit: "MB/s",
            peer: plan.peer.to_owned(),
            quipu_rounds,
            peer_rounds,
            quipu,
            peer_figure,
            ratio: quipu / peer_figure,
            target: plan.target,
            command: plan.command.clone(),
        });
    }
    tell!("{}", markdown(&comparisons));
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&comparisons)?)?;
    }
    Ok(())
}

fn produce_in_memory(options: &Options, record_size: usize) -> Plan<'_> {
    let values = options.megabytes * MEGABYTE;
    Plan {
        name: format!("produce, {record_size}-byte records, data in memory"),
        peer: "bare stream",
        target: 0.35,
        command: format!("quipu bench produce --partitions 1 --record-size {record_size}"),
        quipu: Box::new(move || {
            let broker = Broker::start_with(&options.memory, &[])?;
            produce(&broker, options, record_size, values)
        }),
        other: Box::new(move || bare_produce(options, record_size, values)),
    }
}

fn produce_on_disk(options: &Options) -> Plan<'_> {
    let values = options.disk_megabytes * MEGABYTE;
    Plan {
        name: "produce, 1024-byte records, durability=fsync on a disk".to_owned(),
        peer: "1 MiB + fdatasync, two in flight",
        target: 0.8,
        command: "quipu bench produce --partitions 1 --record-size 1024".to_owned(),
        quipu: Box::new(move || {
            let broker = Broker::start_with(&options.disk, &[])?;
            produce(&broker, options, 1024, values)
        }),
        other: Box::new(move || {
            let directory = tempfile::tempdir_in(&options.disk)?;
            let took = disk::write(directory.path(), options.disk_megabytes)?;
            Ok(rate(values, took.as_secs_f64()))
        }),
    }
}

/// What is consumed.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Recent batches that the broker still has in memory.
    Tail,
    /// Segments that were sealed before the broker was started.
    Sealed,
}

fn consume(options: &Options, place: Place) -> Plan<'_> {
    let record_size = 1024;
    let values = options.megabytes * MEGABYTE;
    let name = match place {
        Place::Tail => "consume the tail, 1024-byte records",
        Place::Sealed => "consume sealed segments, 1024-byte records",
    };
    Plan {
        name: name.to_owned(),
        peer: "bare stream",
        target: 0.5,
        command: "quipu bench consume".to_owned(),
        quipu: Box::new(move || {
            let tail_bytes = if place == Place::Tail {
                values * TAIL_BYTES_FACTOR
            } else {
                0
            };
            let settings = [format!("limits.tail.bytes={tail_bytes}")];
            let mut broker = Broker::start_with(&options.memory, &settings)?;
            produce(&broker, options, record_size, values)?;
            if place == Place::Sealed {
                broker = broker.restart()?;
            }
            let records = (values / record_size as u64).to_string();
            let report = quipu(
                broker.address(),
                &["bench", "consume", "--json", "--records", &records],
            )?;
            megabytes_per_second(&report)
        }),
        other: Box::new(move || bare_consume(options, record_size, values)),
    }
}

/// `quipu bench produce` as a process of its own: megabytes of values a second.
fn produce(broker: &Broker, options: &Options, record_size: usize, values: u64) -> Result<f64> {
    let report = quipu(
        broker.address(),
        &[
            "bench",
            "produce",
            "--json",
            "--partitions",
            "1",
            "--acks",
            "all",
            "--record-size",
            &record_size.to_string(),
            "--records",
            &(values / record_size as u64).to_string(),
            "--batch-size",
            &options.batch_size.to_string(),
        ],
    )?;
    megabytes_per_second(&report)
}

fn megabytes_per_second(report: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(report)?;
    report["megabytes_per_second"]
        .as_f64()
        .ok_or_else(|| format!("no figure in {report}").into())
}

fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / MEGABYTE as f64 / seconds
}

/// The bare server, a process of its own; killed when dropped.
struct BareServer {
    child: Child,
    address: String,
}

impl BareServer {
    fn start(record_size: usize, batch_size: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare-serve", &record_size.to_string(), &batch_size.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut address)?;
        Ok(Self {
            child,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // It is gone either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn part(args: &[&str]) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(args)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{args:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn bare_produce(options: &Options, record_size: usize, values: u64) -> Result<f64> {
    let batch = subject::batch(record_size, options.batch_size)?;
    let count = values.div_ceil(batch.records * record_size as u64);
    let server = BareServer::start(record_size, options.batch_size)?;
    let (size, batch_size) = (record_size.to_string(), options.batch_size.to_string());
    let seconds: f64 = part(&[
        "bare-produce",
        &server.address,
        &size,
        &batch_size,
        &count.to_string(),
    ])?
    .trim()
    .parse()?;
    Ok(rate(count * batch.records * record_size as u64, seconds))
}

fn bare_consume(options: &Options, record_size: usize, values: u64) -> Result<f64> {
    let batch = subject::batch(record_size, options.batch_size)?;
    let count = values.div_ceil(batch.records * record_size as u64);
    let server = BareServer::start(record_size, options.batch_size)?;
    let said = part(&["bare-consume", &server.address, &count.to_string()])?;
    let (seconds, bytes) = said.trim().split_once(' ').ok_or("seconds and bytes")?;
    if bytes.parse::<u64>()? != count * batch.bytes.len() as u64 {
        return Err(format!("the bare stream brought {bytes} bytes").into());
    }
    Ok(rate(count * batch.records * record_size as u64, seconds.parse()?))
}
