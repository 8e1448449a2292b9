//! Consumer groups of real processes: `quipu consume --group` against brokers that stay, and that do not.

mod commands;
mod figures;
mod rolling;

use crate::support::{PATIENCE, QUIPU, Result, quipu, signal, without_configuration};
use quipu_client::{Client, ClientConfig, Offset, PartitionId, Producer, ProducerConfig, Record};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The group, where a test does not choose.
const GROUP: &str = "g";

/// One record as a member printed it.
#[derive(Clone, Debug)]
struct Line {
    at: Instant,
    partition: u32,
    offset: u64,
}

/// `quipu consume --group`, as a process. Dropped, it is killed.
struct Member {
    child: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Member {
    fn start(addresses: &str, topic: &str, more: &[&str]) -> Result<Self> {
        Self::start_in(GROUP, addresses, topic, more)
    }

    fn start_in(group: &str, addresses: &str, topic: &str, more: &[&str]) -> Result<Self> {
        let mut command = Command::new(QUIPU);
        without_configuration(&mut command);
        command
            .args(["consume", topic, "--group", group, "--format", r"%p %o\n"])
            .args(more)
            .env("QUIPU_BOOTSTRAP", addresses)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                let at = Instant::now();
                let mut words = text.split(' ');
                let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
                if let (Some(partition), Some(offset)) = (number(), number()) {
                    lock(&into).push(Line {
                        at,
                        partition: u32::try_from(partition).unwrap_or(u32::MAX),
                        offset,
                    });
                }
            }
        });
        Ok(Self {
            child,
            lines,
            reader: Some(reader),
        })
    }

    fn lines(&self) -> Vec<Line> {
        lock(&self.lines).clone()
    }

    fn count(&self) -> usize {
        lock(&self.lines).len()
    }

    /// SIGTERM, and waits for it.
    fn terminate(mut self) -> Result<(ExitStatus, Vec<Line>)> {
        signal(self.child.id(), rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, self.read_out()));
            }
            if Instant::now() > deadline {
                return Err("the member does not end".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: what it had printed.
    fn kill(mut self) -> Result<Vec<Line>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.read_out())
    }

    fn read_out(&mut self) -> Vec<Line> {
        if let Some(reader) = self.reader.take() {
            // Its last lines, and then the end.
            let _ = reader.join();
        }
        self.lines()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It is gone either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > deadline {
            return Err(format!("it did not come to hold that {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What `quipu group describe` says.
fn describe(addresses: &str) -> Result<Value> {
    describe_group(GROUP, addresses)
}

fn describe_group(group: &str, addresses: &str) -> Result<Value> {
    let text = quipu(addresses, &["group", "describe", group, "-o", "json"])?;
    let mut groups: Value = serde_json::from_str(&text)?;
    Ok(groups[0].take())
}

/// Waits until the group is stable with so many members, and every partition is somebody's.
fn until_shared(addresses: &str, members: usize, partitions: usize) -> Result<()> {
    until_shared_in(GROUP, addresses, members, partitions)
}

fn until_shared_in(group: &str, addresses: &str, members: usize, partitions: usize) -> Result<()> {
    until(
        &format!("{members} members share {partitions} partitions"),
        || {
            let Ok(group) = describe_group(group, addresses) else {
                return Ok(false);
            };
            let empty = Vec::new();
            let each = group["members"].as_array().unwrap_or(&empty);
            let owned = each
                .iter()
                .filter_map(|member| Some(member["owned"].as_array()?.len()));
            Ok(group["state"] == "stable" && each.len() == members && owned.sum::<usize>() == partitions)
        },
    )
}

/// Who has what: by instance id, or by member id.
fn owners(group: &Value) -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    for member in group["members"].as_array().into_iter().flatten() {
        let name = member["instance_id"].as_str().or(member["member_id"].as_str());
        for partition in member["owned"].as_array().into_iter().flatten() {
            if let (Some(partition), Some(name)) = (partition["partition"].as_u64(), name) {
                owners.insert(partition, name.to_owned());
            }
        }
    }
    owners
}

/// A producer that sends a record to each partition in turn, all the time.
struct Flow {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<std::result::Result<Vec<Offset>, String>>>,
}

impl Flow {
    /// A record to each of the partitions every so often.
    fn start(addresses: &str, topic: &'static str, partitions: u32, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, addresses) = (Arc::clone(&stop), addresses.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            runtime
                .block_on(flow(&addresses, topic, partitions, every, &stopped))
                .map_err(|error| error.to_string())
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// The end of each partition: everything below was acknowledged.
    fn stop(mut self) -> Result<Vec<Offset>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("stopped already")?;
        Ok(thread.join().map_err(|_| "the producer panicked")??)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn flow(
    addresses: &str,
    topic: &str,
    partitions: u32,
    every: Duration,
    stop: &AtomicBool,
) -> Result<Vec<Offset>> {
    let client = Client::connect(ClientConfig::new(addresses.split(','))).await?;
    let producer: Producer = client.producer(ProducerConfig::default()).await?;
    let to = producer.topic(topic).await?;
    let mut sent = Vec::new();
    let mut ticks = tokio::time::interval(every);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        for partition in 0..partitions {
            let record = Record::new(b"x").to(PartitionId::new(partition));
            sent.push((partition, to.send(record).await?));
        }
    }
    producer.flush().await?;
    let mut ends = vec![Offset::ZERO; partitions as usize];
    for (partition, delivery) in sent {
        if let Some(offset) = delivery.await?.offset {
            let end = &mut ends[partition as usize];
            *end = (*end).max(Offset::new(offset.get() + 1));
        }
    }
    Ok(ends)
}

/// What all members printed, together.
#[derive(Default)]
struct Seen {
    counts: BTreeMap<(u32, u64), u32>,
    /// When each partition's records were printed.
    times: BTreeMap<u32, Vec<Instant>>,
}

impl Seen {
    fn take(&mut self, lines: &[Line]) {
        for line in lines {
            *self.counts.entry((line.partition, line.offset)).or_default() += 1;
            self.times.entry(line.partition).or_default().push(line.at);
        }
    }

    /// Fails if a record below the ends is missing; says how many came more than once.
    fn check(&self, ends: &[Offset]) -> Result<(usize, u64)> {
        let (mut records, mut repeats) = (0, 0);
        for (partition, end) in (0..).zip(ends) {
            for offset in 0..end.get() {
                let count = self.counts.get(&(partition, offset)).copied().unwrap_or(0);
                if count == 0 {
                    return Err(format!("offset {offset} of partition {partition} was not processed").into());
                }
                records += 1;
                repeats += u64::from(count - 1);
            }
        }
        Ok((records, repeats))
    }

    /// How many different records there are below the ends.
    fn below(&self, ends: &[Offset]) -> usize {
        let within = self.counts.keys().filter(|(partition, offset)| {
            ends.get(*partition as usize)
                .is_some_and(|end| *offset < end.get())
        });
        within.count()
    }

    /// The longest time without a record of a partition, between two moments.
    fn pause(&self, partition: u32, from: Instant, to: Instant) -> Duration {
        let mut times: Vec<Instant> = self.times.get(&partition).cloned().unwrap_or_default();
        times.retain(|time| (from..to).contains(time));
        times.sort_unstable();
        let times: Vec<Instant> = std::iter::once(from).chain(times).chain([to]).collect();
        let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        gaps.max().unwrap_or_default()
    }
}
