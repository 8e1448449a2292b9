//! `quipu bench produce`.

use super::payload::Payload;
use super::{TopicArgs, output};
use crate::cli::Session;
use crate::cmd::produce::Tuning;
use crate::measure::{Latencies, Pace, ProduceReport};
use crate::output::{Ending, Failure, Outcome, progress_of};
use quipu_client::{Delivery, Producer, ProducerTopic, Record, SendError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Latencies measured at most, a hundred of them beyond the 99.9th percentile; all acknowledgements are counted.
const SAMPLES: u64 = 100_000;
const SAMPLES_WAITING: usize = 1 << 16;
/// How often the clock is read when there is no rate to keep.
const PROGRESS_RECORDS: u64 = 16_384;

/// Measure producing, as kafka-producer-perf-test.sh does
///
/// With --throughput, latency counts from when a record was due, not from when there was room to send
/// it: a stall cannot hide what it causes.
///
/// Examples:
///   quipu bench produce --record-size 1024 --records 1000000
///   quipu bench produce --record-size 100 --records 200000 --throughput 20000 --json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024)]
    record_size: usize,
    /// How many records
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Records a second; 0: as fast as it goes
    #[arg(long, default_value_t = 0)]
    throughput: u64,
    #[command(flatten)]
    tuning: Tuning,
    /// The same as -o json
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Outcome {
    let client = session.client().await?;
    args.topic.ensure(&client.admin()).await?;
    let producer = client.producer(args.tuning.producer_config()).await?;
    let topic = producer.topic(&args.topic.topic).await?;
    let sampler = Sampler::new(topic.partitions());

    let load = Load {
        payload: Payload::new(args.record_size),
        records: args.records,
        pace: Pace::new(Some(args.throughput)),
        runtime: Handle::current(),
        sampled: sampler.inputs(),
    };
    let started = Instant::now();
    let sending = {
        let producer = producer.clone();
        tokio::task::spawn_blocking(move || load.send(&producer, &topic, started))
    };
    sending.await.map_err(Failure::new)??;
    let flushed = producer.flush().await;
    let took = started.elapsed();
    let latencies = sampler.finish().await?;
    flushed?;

    let bytes = args.records * args.record_size as u64;
    let report = ProduceReport::new(args.records, bytes, took, latencies.report());
    output(session, args.json).result(&report, ProduceReport::to_string)?;
    Ok(Ending::Done)
}

/// What is to be sent. Runs on a thread of its own: pacing needs finer sleep than a runtime's timer gives.
struct Load {
    payload: Payload,
    records: u64,
    pace: Pace,
    runtime: Handle,
    sampled: Vec<mpsc::Sender<Sample>>,
}

impl Load {
    fn send(self, producer: &Producer, topic: &ProducerTopic, started: Instant) -> Result<(), Failure> {
        let bar = progress_of(self.records, "records");
        let sample_every = self.records.div_ceil(SAMPLES);
        for index in 0..self.records {
            let due = self.pace.due(index).map(|due| started + due);
            if let Some(wait) = due.and_then(|due| due.checked_duration_since(Instant::now())) {
                std::thread::sleep(wait);
            }
            let sampled = index.is_multiple_of(sample_every);
            let begun = if sampled {
                due.unwrap_or_else(Instant::now)
            } else {
                started
            };
            let delivery = self.send_one(topic, index)?;
            if sampled {
                let sample = Sample { begun, delivery };
                let partition = sample.delivery.partition().get() as usize;
                if let Some(input) = self.sampled.get(partition) {
                    // A sampler that ended has an error to tell, which finish() does.
                    let _ = input.blocking_send(sample);
                }
            }
            if index.is_multiple_of(PROGRESS_RECORDS) {
                bar.set_position(index);
                let stats = producer.stats();
                if stats.failed + stats.unknown > 0 {
                    break;
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn send_one(&self, topic: &ProducerTopic, index: u64) -> Result<Delivery, SendError> {
        let record = Record::new(self.payload.value(index));
        match topic.try_send(&record) {
            Err(SendError::BufferFull) => self.runtime.block_on(topic.send(record)),
            sent => sent,
        }
    }
}

/// A record whose latency is measured.
struct Sample {
    begun: Instant,
    delivery: Delivery,
}

/// Waits for the sampled records, partition by partition: within one, acknowledgements come in order.
struct Sampler {
    inputs: Vec<mpsc::Sender<Sample>>,
    tasks: Vec<JoinHandle<Vec<Duration>>>,
}

impl Sampler {
    fn new(partitions: u32) -> Self {
        let (inputs, tasks) = (0..partitions)
            .map(|_| {
                let (input, samples) = mpsc::channel(SAMPLES_WAITING);
                (input, tokio::spawn(wait_for(samples)))
            })
            .unzip();
        Self { inputs, tasks }
    }

    fn inputs(&self) -> Vec<mpsc::Sender<Sample>> {
        self.inputs.clone()
    }

    async fn finish(self) -> Result<Latencies, Failure> {
        drop(self.inputs);
        let mut latencies = Latencies::new();
        for task in self.tasks {
            for latency in task.await.map_err(Failure::new)? {
                latencies.record(latency);
            }
        }
        Ok(latencies)
    }
}

/// The latencies of those that were acknowledged; flush() tells of the others.
async fn wait_for(mut samples: mpsc::Receiver<Sample>) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while let Some(Sample { begun, delivery }) = samples.recv().await {
        if delivery.await.is_ok() {
            latencies.push(begun.elapsed());
        }
    }
    latencies
}
