//! Producing to three replicas on one machine.

use crate::support::cluster::Cluster;
use crate::support::{Result, quipu};
use crate::table::{Comparison, median};
use crate::{Options, disk, subject};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub(crate) const RECORD_BYTES: usize = 1024;
pub(crate) const BATCH_BYTES: usize = 1 << 20;
const MEGABYTE: u64 = 1 << 20;
const BROKERS: usize = 3;
const PARTITIONS: &str = "12";

/// One producer at first is what a disk is measured with; more of them keep all three flushers busy.
const DISK_PRODUCERS: u64 = 2;
const MEMORY_PRODUCERS: u64 = 4;

/// RF 3 with `fsync`, against three files written and synced by a plain program at once.
pub(crate) fn on_disk(options: &Options) -> Result<Comparison> {
    let (mut quipu_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let peer = plain_copies(&options.disk, options.megabytes)?;
        let quipu = through_cluster(&options.disk, "fsync", DISK_PRODUCERS, options.megabytes)?;
        say!("disk, round {round}: Quipu {quipu:.0} MB/s, plain program {peer:.0} MB/s, three copies each");
        peer_rounds.push(peer);
        quipu_rounds.push(quipu);
    }
    Ok(comparison(
        "produce, RF 3, acks=all, fsync, three brokers on one disk",
        "three files, 1 MiB + fdatasync, two in flight each",
        0.6,
        (quipu_rounds, peer_rounds),
    ))
}

/// RF 3 in memory with `replicated`, against one bare stream.
pub(crate) fn in_memory(options: &Options) -> Result<Comparison> {
    let (mut quipu_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let peer = bare_stream(options.megabytes)?;
        let quipu = through_cluster(&options.memory, "replicated", MEMORY_PRODUCERS, options.megabytes)?;
        say!("memory, round {round}: Quipu {quipu:.0} MB/s, bare stream {peer:.0} MB/s");
        peer_rounds.push(peer);
        quipu_rounds.push(quipu);
    }
    Ok(comparison(
        "produce, RF 3, acks=all, replicated, in memory, four producers",
        "one bare stream",
        0.2,
        (quipu_rounds, peer_rounds),
    ))
}

fn comparison(name: &str, peer: &str, target: f64, rounds: (Vec<f64>, Vec<f64>)) -> Comparison {
    let (quipu_rounds, peer_rounds) = rounds;
    let (quipu, peer_figure) = (median(&quipu_rounds), median(&peer_rounds));
    Comparison {
        name: name.to_owned(),
        unit: "MB/s",
        peer: peer.to_owned(),
        quipu_rounds,
        peer_rounds,
        quipu,
        peer_figure,
        ratio: quipu / peer_figure,
        target,
        command: "quipu bench produce".to_owned(),
    }
}

/// Megabytes of values a second that some producers together get acknowledged.
fn through_cluster(parent: &Path, durability: &str, producers: u64, megabytes: u64) -> Result<f64> {
    let cluster = Cluster::start(BROKERS, parent, &[])?;
    let addresses = cluster.addresses();
    let durability = format!("durability={durability}");
    let create = ["topic", "create", "bench", "--partitions", PARTITIONS];
    let create = [
        &create[..],
        &["--replication-factor", "3", "--config", &durability],
    ]
    .concat();
    quipu(&addresses, &create)?;
    let records = (megabytes * MEGABYTE / RECORD_BYTES as u64 / producers).to_string();
    let batch = BATCH_BYTES.to_string();
    let produce = [
        "bench",
        "produce",
        "--json",
        "--acks",
        "all",
        "--record-size",
        "1024",
    ];
    let produce = [&produce[..], &["--batch-size", &batch, "--records", &records]].concat();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..producers)
            .map(|_| scope.spawn(|| quipu(&addresses, &produce).map_err(|error| error.to_string())))
            .collect();
        let mut together = 0.0;
        for producer in running {
            let report = producer.join().map_err(|_| "a producer's thread panicked")??;
            let report: Value = serde_json::from_str(&report)?;
            together += report["megabytes_per_second"]
                .as_f64()
                .ok_or("a report without a figure")?;
        }
        Ok(together)
    })
}

/// Three files at once: megabytes a second of one copy.
fn plain_copies(parent: &Path, megabytes: u64) -> Result<f64> {
    let dirs = (0..BROKERS)
        .map(|_| tempfile::tempdir_in(parent))
        .collect::<std::io::Result<Vec<_>>>()?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let writing: Vec<_> = dirs
            .iter()
            .map(|dir| scope.spawn(|| disk::write(dir.path(), megabytes)))
            .collect();
        writing.into_iter().try_for_each(|one| match one.join() {
            Ok(written) => Ok(written.map(drop)?),
            Err(_) => Err("a writer panicked".into()),
        })
    })
    .map_err(|error: Box<dyn std::error::Error>| error)?;
    Ok(megabytes as f64 / begun.elapsed().as_secs_f64())
}

/// The bare server, a process of its own; killed when dropped.
struct BareServer(Child);

impl Drop for BareServer {
    fn drop(&mut self) {
        // It is gone either way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bare_stream(megabytes: u64) -> Result<f64> {
    let batch = subject::batch(RECORD_BYTES, BATCH_BYTES)?;
    let values = batch.records * RECORD_BYTES as u64;
    let count = (megabytes * MEGABYTE).div_ceil(values);
    let this = std::env::current_exe()?;
    let mut server = Command::new(&this)
        .arg("bare-serve")
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = server.stdout.take().ok_or("no standard output")?;
    let _server = BareServer(server);
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    let output = Command::new(&this)
        .args(["bare-produce", address.trim(), &count.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let seconds: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok((count * values) as f64 / MEGABYTE as f64 / seconds)
}
