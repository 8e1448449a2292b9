//! `quipu bench e2e`.

use super::payload::Payload;
use super::{TopicArgs, output};
use crate::cli::Session;
use crate::cmd::produce::Tuning;
use crate::measure::{EndToEndReport, Latencies, Pace};
use crate::output::{Ending, Failure, Outcome, progress_of};
use quipu_client::{Consumer, ConsumerConfig, ProducerTopic, Record, SendError, Start};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Each value begins with its record's number.
const NUMBER_BYTES: usize = 8;
const SILENCE: Duration = Duration::from_secs(30);

/// Measure the way from producer to consumer, as kafka.tools.EndToEndLatency does
///
/// Latency counts from when a record was due to when a consumer at the tail has it. Records are sent
/// at a steady rate, whatever became of those before.
///
/// Example:
///   quipu bench e2e --records 10000 --throughput 1000 --record-size 100
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    /// Bytes of a value, at least 8
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..))]
    record_size: u32,
    /// How many records
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Records a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
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
    let mut config = args.tuning.producer_config();
    if !args.tuning.has_linger() {
        config.linger = Duration::ZERO;
    }
    let producer = client.producer(config).await?;
    let topic = producer.topic(&args.topic.topic).await?;
    // The ends are found before the first record is sent: none can be missed.
    let mut consumer = client.consumer(ConsumerConfig::default());
    let ends = {
        let partitions = (0..topic.partitions()).map(quipu_client::PartitionId::new);
        let queries = partitions.map(|partition| (args.topic.topic.clone(), partition, Start::Latest));
        client.admin().list_offsets(queries.collect()).await?
    };
    for end in ends {
        consumer
            .add_partition(&end.topic, end.partition, Start::Offset(end.offset))
            .await?;
    }

    let pace = Pace::new(Some(args.throughput));
    let started = Instant::now();
    let load = Load {
        payload: Payload::new(args.record_size as usize - NUMBER_BYTES),
        records: args.records,
        pace,
        started,
        runtime: Handle::current(),
    };
    let sending = tokio::task::spawn_blocking(move || load.send(&topic));
    let mut receiving = Receiving {
        latencies: Latencies::new(),
        pace,
        started,
        records: args.records,
    };
    receiving.receive(&mut consumer).await?;
    sending.await.map_err(Failure::new)??;
    producer.flush().await?;

    let seconds = started.elapsed().as_secs_f64();
    let report = EndToEndReport {
        records: args.records,
        seconds,
        latency: receiving.latencies.report(),
    };
    output(session, args.json).result(&report, EndToEndReport::to_string)?;
    Ok(Ending::Done)
}

struct Load {
    payload: Payload,
    records: u64,
    pace: Pace,
    started: Instant,
    runtime: Handle,
}

impl Load {
    fn send(self, topic: &ProducerTopic) -> Result<(), SendError> {
        let mut value = Vec::new();
        for index in 0..self.records {
            let due = self.started + self.pace.due(index).unwrap_or_default();
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            value.clear();
            value.extend_from_slice(&index.to_be_bytes());
            value.extend_from_slice(self.payload.value(index));
            drop(self.runtime.block_on(topic.send(Record::new(&value)))?);
        }
        Ok(())
    }
}

struct Receiving {
    latencies: Latencies,
    pace: Pace,
    started: Instant,
    records: u64,
}

impl Receiving {
    async fn receive(&mut self, consumer: &mut Consumer) -> Result<(), Failure> {
        let bar = progress_of(self.records, "records");
        while self.latencies.count() < self.records {
            let Ok(batch) = tokio::time::timeout(SILENCE, consumer.next()).await else {
                let what = format!(
                    "{} of {} records came, then none",
                    self.latencies.count(),
                    self.records
                );
                return Err(Failure::new(what));
            };
            let batch = batch?;
            let now = self.started.elapsed();
            for record in &batch {
                let record = record.map_err(Failure::new)?;
                let Some(number) = record.value.and_then(|value| value.first_chunk::<NUMBER_BYTES>()) else {
                    return Err(foreign());
                };
                let index = u64::from_be_bytes(*number);
                if index >= self.records {
                    return Err(foreign());
                }
                self.latencies
                    .record(now.saturating_sub(self.pace.due(index).unwrap_or_default()));
            }
            bar.set_position(self.latencies.count());
        }
        bar.finish_and_clear();
        Ok(())
    }
}

fn foreign() -> Failure {
    Failure::new("someone else sends to this topic").next("measure on a topic of its own, with --topic")
}
