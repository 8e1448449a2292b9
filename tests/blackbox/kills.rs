//! A broker killed with SIGKILL twenty times under load: every acknowledged record is read back, once, in order, as it
//! was sent. What clients did and saw goes through `quipu-checker`.
//!
//! (SIGKILL leaves the page cache: what a power cut leaves is for the crash histories over the fake disk.)

use crate::support::{Broker, PATIENCE, Result, quipu, signal};
use quipu_checker::{
    Acks, Event, Final, History, Key, Kind, Op, Poll, PolledPartition, Process, ReadRecord, Send, Time,
    Value, ValueId, Verdict, check,
};
use quipu_client::{
    BrokerId, Client, ClientConfig, Consumer, ConsumerConfig, FetchedBatch, Offset, PartitionId, Producer,
    ProducerConfig, ProducerTopic, Record, RecordView, Start,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const KILLS: usize = 20;
const TOPIC: &str = "t";
const PARTITIONS: u32 = 4;
const PRODUCERS: usize = 2;
/// Each sends a record and waits for its acknowledgement; together they keep batches in flight at all times.
const SENDERS_OF_EACH: usize = 16;
/// Acknowledged between one kill and the next.
const ACKED_BETWEEN: u64 = 200;

/// What clients did and saw, as it happens.
struct Recorder {
    history: Mutex<History>,
    started: Instant,
    processes: AtomicU64,
    values: AtomicU64,
    acked: AtomicU64,
    stop: AtomicBool,
}

impl Recorder {
    fn new() -> Self {
        Self {
            history: Mutex::default(),
            started: Instant::now(),
            processes: AtomicU64::new(0),
            values: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn process(&self) -> Process {
        Process::Client(self.processes.fetch_add(1, Ordering::Relaxed))
    }

    /// The time is taken under the lock: events are in the order of their times.
    fn push(&self, process: Process, kind: Kind, op: Op) -> Result<()> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Time(u64::try_from(self.started.elapsed().as_nanos())?);
        history.push(Event {
            time,
            process,
            kind,
            op,
        })?;
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn key(partition: PartitionId) -> Key {
    Key::new(&format!("{TOPIC}/{partition}"))
}

/// FNV-1a: any function will do that sender and reader share.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// A value's bytes: its name, and filler that differs from value to value.
fn bytes_of(id: u64) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.resize(8 + usize::try_from(id % 300).unwrap_or(0), id.to_le_bytes()[0]);
    bytes
}

fn read_record(record: &RecordView<'_>) -> ReadRecord {
    let bytes = record.value.unwrap_or_default();
    let id = bytes
        .first_chunk::<8>()
        .map(|id| ValueId(u64::from_be_bytes(*id)));
    ReadRecord {
        offset: record.offset,
        value: id,
        hash: hash(bytes),
    }
}

fn read_records(batch: &FetchedBatch) -> Result<Vec<ReadRecord>> {
    batch.iter().map(|record| Ok(read_record(&record?))).collect()
}

/// Sends one value after another to one partition until told to stop.
async fn send(
    recorder: Arc<Recorder>,
    topic: ProducerTopic,
    partition: PartitionId,
    producer: u64,
) -> Result<()> {
    let mut process = recorder.process();
    while !recorder.stopped() {
        let id = recorder.values.fetch_add(1, Ordering::Relaxed);
        let bytes = bytes_of(id);
        let value = Value {
            id: ValueId(id),
            hash: hash(&bytes),
        };
        let mut op = Send {
            key: key(partition),
            values: vec![value],
            acks: Acks::All,
            producer: Some(producer),
            offset: None,
        };
        recorder.push(process, Kind::Invoke, Op::Send(op.clone()))?;
        let delivered = match topic.send(Record::new(&bytes).to(partition)).await {
            Ok(delivery) => delivery.await,
            Err(_) => {
                recorder.push(process, Kind::Fail, Op::Send(op))?;
                continue;
            }
        };
        match delivered {
            Ok(delivered) => {
                op.offset = delivered.offset;
                recorder.push(process, Kind::Ok, Op::Send(op))?;
                recorder.acked.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.outcome_unknown() => {
                recorder.push(process, Kind::Info, Op::Send(op))?;
                process = recorder.process();
            }
            Err(_) => recorder.push(process, Kind::Fail, Op::Send(op))?,
        }
    }
    Ok(())
}

/// Reads one partition's tail until told to stop.
async fn poll(recorder: Arc<Recorder>, mut consumer: Consumer, partition: PartitionId) -> Result<()> {
    let process = recorder.process();
    consumer.add_partition(TOPIC, partition, Start::Earliest).await?;
    let mut from = Offset::ZERO;
    while !recorder.stopped() {
        let asked = PolledPartition {
            key: key(partition),
            from,
            records: Vec::new(),
            high_watermark: None,
        };
        let mut got = asked.clone();
        recorder.push(
            process,
            Kind::Invoke,
            Op::Poll(Poll {
                partitions: vec![asked],
            }),
        )?;
        // An answer that does not come while we wait is an empty one.
        if let Ok(batch) = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await {
            let batch = batch?;
            got.records = read_records(&batch)?;
            got.high_watermark = Some(batch.high_watermark());
            from = batch.next_offset();
        }
        recorder.push(
            process,
            Kind::Ok,
            Op::Poll(Poll {
                partitions: vec![got],
            }),
        )?;
    }
    Ok(())
}

/// The whole log of each partition, as a new client reads it.
async fn read_all(recorder: &Recorder, client: &Client) -> Result<u64> {
    let mut count = 0;
    for partition in (0..PARTITIONS).map(PartitionId::new) {
        let end = client
            .admin()
            .list_offsets(vec![(TOPIC.to_owned(), partition, Start::Latest)])
            .await?[0]
            .offset;
        let mut consumer = client.consumer(ConsumerConfig::default());
        consumer.add_partition(TOPIC, partition, Start::Earliest).await?;
        let mut records = Vec::new();
        let mut at = Offset::ZERO;
        while at < end {
            let batch = tokio::time::timeout(PATIENCE, consumer.next()).await??;
            at = batch.next_offset();
            records.extend(read_records(&batch)?);
        }
        count += records.len() as u64;
        let last = Final {
            replica: BrokerId::new(0),
            key: key(partition),
            log_start: Offset::ZERO,
            leader_epoch: None,
            records,
        };
        recorder.push(Process::Nemesis, Kind::Info, Op::Final(last))?;
    }
    Ok(count)
}

/// Waits until so many are acknowledged and a batch is in flight.
fn until_in_flight(recorder: &Recorder, producers: &[Producer], acked: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let in_flight = producers
            .iter()
            .any(|producer| producer.stats().unacknowledged_batches > 0);
        if in_flight && recorder.acked.load(Ordering::Relaxed) >= acked {
            return Ok(());
        }
        if Instant::now() > deadline {
            let acked_now = recorder.acked.load(Ordering::Relaxed);
            return Err(format!("{acked_now} of {acked} acknowledged, and no more").into());
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Kills and restarts; returns the broker that lives.
fn kill_again_and_again(recorder: &Recorder, producers: &[Producer], mut broker: Broker) -> Result<Broker> {
    for kill in 1..=KILLS {
        let acked = recorder.acked.load(Ordering::Relaxed) + ACKED_BETWEEN;
        until_in_flight(recorder, producers, acked)?;
        let what = format!("kill {kill} of broker process {}", broker.pid());
        recorder.push(Process::Nemesis, Kind::Info, Op::Fault { what })?;
        signal(broker.pid(), rustix::process::Signal::KILL)?;
        broker = broker.kill()?.start()?;
        println!(
            "kill {kill}: back after {:.3} s, {acked} acknowledged",
            broker.took.as_secs_f64()
        );
    }
    let acked = recorder.acked.load(Ordering::Relaxed) + ACKED_BETWEEN;
    until_in_flight(recorder, producers, acked)?;
    Ok(broker)
}

/// Twenty kills under load: what the checker says of it, and how many records are stored at the end.
async fn storm(broker: Broker) -> Result<(Verdict, u64)> {
    quipu(
        broker.address(),
        &["topic", "create", TOPIC, "--partitions", &PARTITIONS.to_string()],
    )?;
    let config = ClientConfig::new([broker.address()]);
    let client = Client::connect(config.clone()).await?;
    let recorder = Arc::new(Recorder::new());

    let mut tasks = tokio::task::JoinSet::new();
    let mut producers = Vec::new();
    for number in 0..PRODUCERS as u64 {
        let producer = client.producer(ProducerConfig::default()).await?;
        for sender in 0..SENDERS_OF_EACH {
            let partition = PartitionId::new(u32::try_from(sender)? % PARTITIONS);
            let topic = producer.topic(TOPIC).await?;
            let sending = send(Arc::clone(&recorder), topic, partition, number);
            tasks.spawn(async { sending.await.map_err(|error| error.to_string()) });
        }
        producers.push(producer);
    }
    for partition in (0..PARTITIONS).map(PartitionId::new) {
        let consumer = client.consumer(ConsumerConfig::default());
        let polling = poll(Arc::clone(&recorder), consumer, partition);
        tasks.spawn(async { polling.await.map_err(|error| error.to_string()) });
    }

    let killer = Arc::clone(&recorder);
    let killing = tokio::task::spawn_blocking(move || {
        kill_again_and_again(&killer, &producers, broker).map_err(|error| error.to_string())
    });
    let broker = killing.await?;
    recorder.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    // It lives until everything was read back.
    let _broker = broker?;
    let stored = read_all(&recorder, &Client::connect(config).await?).await?;
    let verdict = check(&recorder.history.lock().unwrap_or_else(PoisonError::into_inner));
    println!("{verdict}");
    assert_eq!(verdict.counts.faults, KILLS);
    Ok((verdict, stored))
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_acknowledged() -> Result<()> {
    let (verdict, stored) = storm(Broker::start()?).await?;
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.unchecked.is_empty(), "{verdict}");
    assert!(
        verdict.counts.acked as u64 >= ACKED_BETWEEN * KILLS as u64,
        "{verdict}"
    );
    assert!(stored >= verdict.counts.acked as u64, "{verdict}");
    Ok(())
}

/// The check can fail: a broker that does not recognise repeated batches is caught.
#[cfg(feature = "test-util")]
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgets_producers_is_caught() -> Result<()> {
    let broker = Broker::start_told(&std::env::temp_dir(), &["--planted-bug", "no-producer-dedup"])?;
    let (verdict, _) = storm(broker).await?;
    let found = verdict.found.contains_key(&quipu_checker::AnomalyKind::Duplicate);
    assert!(found, "{verdict}");
    Ok(())
}
