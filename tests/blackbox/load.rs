//! Load that is watched: clients that send and read without pause, and the history of what they did and saw, for
//! `quipu-checker`.

use crate::support::{PATIENCE, Result};
use quipu_checker::{
    Event, Fault, Final, History, Key, Kind, Op, Poll, PolledPartition, Process, ReadRecord, Send, Time,
    Value, ValueId, Verdict, check,
};
use quipu_client::{
    BrokerId, Client, ClientConfig, Consumer, ConsumerConfig, FetchedBatch, Offset, PartitionId, Producer,
    ProducerConfig, ProducerTopic, Record, RecordView, Start,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What is sent to, and by how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) topic: &'static str,
    pub(crate) partitions: u32,
    pub(crate) producers: u64,
    /// Each sends a record and waits for its acknowledgement; together they keep batches in flight at all times.
    pub(crate) senders_of_each: u32,
}

/// What clients did and saw, as it happens.
pub(crate) struct Recorder {
    shape: Shape,
    history: Mutex<History>,
    started: Instant,
    processes: AtomicU64,
    values: AtomicU64,
    acked: AtomicU64,
    /// When each partition acknowledged something.
    acks: Mutex<Vec<Vec<Instant>>>,
    stop: AtomicBool,
}

impl Recorder {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            history: Mutex::default(),
            started: Instant::now(),
            processes: AtomicU64::new(0),
            values: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            acks: Mutex::new(vec![Vec::new(); shape.partitions as usize]),
            stop: AtomicBool::new(false),
        }
    }

    fn process(&self) -> Process {
        Process::Client(self.processes.fetch_add(1, Ordering::Relaxed))
    }

    /// The time is taken under the lock: events are in the order of their times.
    fn push(&self, process: Process, kind: Kind, op: Op) -> Result<()> {
        let mut history = lock(&self.history);
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

    fn key(&self, partition: PartitionId) -> Key {
        Key::new(&format!("{}/{partition}", self.shape.topic))
    }

    fn acknowledged(&self, partition: PartitionId) {
        self.acked.fetch_add(1, Ordering::Relaxed);
        lock(&self.acks)[partition.get() as usize].push(Instant::now());
    }

    /// Records acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Something was done to the brokers.
    pub(crate) fn fault(&self, what: String) -> Result<()> {
        self.push(Process::Nemesis, Kind::Info, Op::Fault(Fault::told(what)))
    }

    /// When a partition acknowledged something, in order.
    pub(crate) fn acks_of(&self, partition: PartitionId) -> Vec<Instant> {
        lock(&self.acks)[partition.get() as usize].clone()
    }

    /// What the checker says of it all.
    pub(crate) fn verdict(&self) -> Verdict {
        check(&lock(&self.history))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            producer: Some(producer),
            ..Send::new(recorder.key(partition), vec![value])
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
                recorder.acknowledged(partition);
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
    consumer
        .add_partition(recorder.shape.topic, partition, Start::Earliest)
        .await?;
    let mut from = Offset::ZERO;
    while !recorder.stopped() {
        let asked = PolledPartition::asked(recorder.key(partition), from);
        let mut got = asked.clone();
        recorder.push(process, Kind::Invoke, Op::Poll(Poll::of(vec![asked])))?;
        // An answer that does not come while we wait is an empty one.
        if let Ok(batch) = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await {
            let batch = batch?;
            got.records = read_records(&batch)?;
            got.high_watermark = Some(batch.high_watermark());
            from = batch.next_offset();
        }
        recorder.push(process, Kind::Ok, Op::Poll(Poll::of(vec![got])))?;
    }
    Ok(())
}

/// The whole log of each partition, as a new client reads it. Returns how many records that are.
pub(crate) async fn read_all(recorder: &Recorder, client: &Client) -> Result<u64> {
    let mut count = 0;
    let Shape {
        topic, partitions, ..
    } = recorder.shape;
    for partition in (0..partitions).map(PartitionId::new) {
        let end = client
            .admin()
            .list_offsets(vec![(topic.to_owned(), partition, Start::Latest)])
            .await?[0]
            .offset;
        let mut consumer = client.consumer(ConsumerConfig::default());
        consumer.add_partition(topic, partition, Start::Earliest).await?;
        let mut records = Vec::new();
        let mut at = Offset::ZERO;
        while at < end {
            let batch = tokio::time::timeout(PATIENCE, consumer.next()).await??;
            at = batch.next_offset();
            records.extend(read_records(&batch)?);
        }
        count += records.len() as u64;
        let key = recorder.key(partition);
        let last = Final::new(BrokerId::new(0), key, Offset::ZERO, records);
        recorder.push(Process::Nemesis, Kind::Info, Op::Final(last))?;
    }
    Ok(count)
}

/// Clients at work.
pub(crate) struct Load {
    pub(crate) recorder: Arc<Recorder>,
    producers: Vec<Producer>,
    tasks: JoinSet<std::result::Result<(), String>>,
}

impl Load {
    /// Producers with their senders, and one reader a partition, on a topic that there is. `address`: host:port, of one or
    /// of several with commas.
    pub(crate) async fn start(address: &str, shape: Shape) -> Result<Self> {
        let client = Client::connect(ClientConfig::new(address.split(','))).await?;
        let recorder = Arc::new(Recorder::new(shape));
        let mut tasks = JoinSet::new();
        let mut producers = Vec::new();
        for number in 0..shape.producers {
            let producer = client.producer(ProducerConfig::default()).await?;
            for sender in 0..shape.senders_of_each {
                let partition = PartitionId::new(sender % shape.partitions);
                let topic = producer.topic(shape.topic).await?;
                let sending = send(Arc::clone(&recorder), topic, partition, number);
                tasks.spawn(async { sending.await.map_err(|error| error.to_string()) });
            }
            producers.push(producer);
        }
        for partition in (0..shape.partitions).map(PartitionId::new) {
            let consumer = client.consumer(ConsumerConfig::default());
            let polling = poll(Arc::clone(&recorder), consumer, partition);
            tasks.spawn(async { polling.await.map_err(|error| error.to_string()) });
        }
        Ok(Self {
            recorder,
            producers,
            tasks,
        })
    }

    /// Waits until so many more are acknowledged and a batch is in flight.
    pub(crate) fn until_in_flight(&self, more: u64) -> Result<()> {
        let wanted = self.recorder.acked() + more;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let in_flight = self.producers.iter();
            let in_flight = in_flight.map(|producer| producer.stats().unacknowledged_batches);
            if in_flight.sum::<u64>() > 0 && self.recorder.acked() >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(
                    format!("{} of {wanted} acknowledged, and no more", self.recorder.acked()).into(),
                );
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Ends it: every record that was sent is resolved. An error that reached a reader is an error here.
    pub(crate) async fn stop(mut self) -> Result<Arc<Recorder>> {
        self.recorder.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task??;
        }
        Ok(self.recorder)
    }
}
