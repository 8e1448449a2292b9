//! `quipu bench consume`.

use super::output;
use crate::cli::Session;
use crate::measure::ConsumeReport;
use crate::output::{Ending, Failure, Outcome, progress_of};
use crate::text::Start;
use quipu_client::{Consumer, ConsumerConfig, FetchedBatch};
use std::time::{Duration, Instant};

/// Measure consuming, as kafka-consumer-perf-test.sh does
///
/// Reads and decodes so many records of all partitions, in their order.
///
/// Example:
///   quipu bench consume --topic bench --records 1000000
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The topic
    #[arg(long, default_value = "bench")]
    topic: String,
    /// How many records to read
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Where to begin: beginning, end, an offset, or a time
    #[arg(long, default_value = "beginning", value_name = "WHERE")]
    from: Start,
    /// Give up if no record comes for so many milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    timeout: u64,
    /// Bytes that the broker may send ahead
    #[arg(long, value_name = "BYTES")]
    window: Option<usize>,
    /// The same as -o json
    #[arg(long)]
    json: bool,
}

/// What was read so far.
#[derive(Default)]
struct Count {
    records: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, batch: &FetchedBatch) -> Result<(), Failure> {
        for record in batch {
            let record = record.map_err(Failure::new)?;
            self.records += 1;
            self.bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
        }
        Ok(())
    }
}

pub(super) async fn run(args: Args, session: &Session) -> Outcome {
    let client = session.client().await?;
    let mut config = ConsumerConfig::default();
    if let Some(window) = args.window {
        config.window_bytes = window;
    }
    let mut consumer = client.consumer(config);
    let wall = jiff::Timestamp::now();
    let started = Instant::now();
    consumer.add_topic(&args.topic, args.from.into()).await?;

    let bar = progress_of(args.records, "records");
    let mut count = Count::default();
    let mut first = None;
    while count.records < args.records {
        let batch = next(&mut consumer, &args, &count).await?;
        first.get_or_insert_with(|| started.elapsed());
        count.add(&batch)?;
        bar.set_position(count.records);
    }
    bar.finish_and_clear();
    let took = started.elapsed();
    let report = ConsumeReport::new(count.records, count.bytes, wall, took, first.unwrap_or_default());
    output(session, args.json).result(&report, ConsumeReport::to_string)?;
    Ok(Ending::Done)
}

async fn next(consumer: &mut Consumer, args: &Args, count: &Count) -> Result<FetchedBatch, Failure> {
    match tokio::time::timeout(Duration::from_millis(args.timeout), consumer.next()).await {
        Ok(batch) => Ok(batch?),
        Err(_) => {
            let what = format!(
                "{} of {} records came, then none for {} ms",
                count.records, args.records, args.timeout
            );
            Err(Failure::new(what)
                .next("ask for fewer with --records, or produce more with `quipu bench produce`"))
        }
    }
}
