//! `quipu produce`.

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, progress_bar};
use crate::text::{InputError, InputFormat, InputRecord, LineReader};
use clap::ValueEnum;
use quipu_client::{Acks, Codec, Header, PartitionId, Producer, ProducerConfig, ProducerTopic, Record};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Records that the reader of the input hands on together, at most.
const CHUNK_RECORDS: usize = 1000;
/// Chunks that may wait for the producer.
const CHUNKS_WAITING: usize = 4;
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Send records, one a line
///
/// Succeeds only when every line is acknowledged: by default, flushed to disk on every in-sync replica.
///
/// Examples:
///   echo hello | quipu produce greetings
///   echo 'N14228:UA 1545' | quipu produce flights --key-separator :
///   quipu consume flights --exit-at-end -o json | quipu produce copy --format json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Where the lines are [default: standard input]
    file: Option<PathBuf>,
    /// What a line is
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: InputFormat,
    /// A line is KEY<separator>VALUE, parted at the first one; a line without it has no key
    #[arg(long, short = 'K', value_name = "SEPARATOR")]
    key_separator: Option<String>,
    /// The partition [default: by the key as Kafka's clients do, without a key any]
    #[arg(long, short)]
    partition: Option<u32>,
    #[command(flatten)]
    tuning: Tuning,
}

/// How records are batched and acknowledged; `bench` takes the same.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Tuning {
    /// When a record counts as sent
    #[arg(long, value_enum, default_value = "all", value_name = "ACKS")]
    acks: AcksArg,
    /// How batches are compressed
    #[arg(long, short = 'z', value_enum, default_value = "none", value_name = "CODEC")]
    compression: CodecArg,
    /// Bytes of a batch, before compression
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<usize>,
    /// Milliseconds that a batch waits for more records
    #[arg(long, value_name = "MS")]
    linger_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AcksArg {
    /// Every in-sync replica holds it as durably as the topic says
    #[value(alias = "-1")]
    All,
    /// The leader holds it
    #[value(name = "1", alias = "leader")]
    Leader,
    /// It was taken in, and may be lost
    #[value(name = "0", alias = "none")]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CodecArg {
    None,
    Zstd,
}

impl Tuning {
    /// Whether a linger was asked for.
    pub(crate) fn has_linger(&self) -> bool {
        self.linger_ms.is_some()
    }

    /// As the SDK takes it. Fewer acknowledgements cannot be idempotent.
    pub(crate) fn producer_config(&self) -> ProducerConfig {
        let mut config = ProducerConfig {
            acks: match self.acks {
                AcksArg::All => Acks::All,
                AcksArg::Leader => Acks::Leader,
                AcksArg::None => Acks::None,
            },
            idempotent: self.acks == AcksArg::All,
            codec: match self.compression {
                CodecArg::None => Codec::None,
                CodecArg::Zstd => Codec::Zstd,
            },
            ..ProducerConfig::default()
        };
        if let Some(bytes) = self.batch_size {
            config.batch_bytes = bytes;
        }
        if let Some(millis) = self.linger_ms {
            config.linger = Duration::from_millis(millis);
        }
        config
    }
}

/// What became of the lines.
#[derive(Serialize)]
struct Summary {
    topic: String,
    records: u64,
    acknowledged: u64,
    failed: u64,
    unknown: u64,
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    let input = open(args.file.as_deref())?;
    session.block_on(async {
        let client = session.client().await?;
        let producer = client.producer(args.tuning.producer_config()).await?;
        let topic = producer.topic(&args.topic).await?;
        let records = read_aside(input, args.format, args.key_separator);
        let partition = args.partition.map(PartitionId::new);
        let sent = send_all(&producer, &topic, records, partition).await;
        // Whatever stopped the sending: what was taken is still to be acknowledged.
        let flushed = producer.flush().await;
        let stats = producer.stats();
        let summary = Summary {
            topic: args.topic,
            records: stats.records,
            acknowledged: stats.acknowledged,
            failed: stats.failed,
            unknown: stats.unknown,
        };
        if session.output().is_json() {
            crate::output::json_line(&summary)?;
        }
        let stored = |failure: Failure| {
            failure.note(format_args!("{} records were acknowledged", summary.acknowledged))
        };
        flushed.map_err(|error| stored(error.into()))?;
        sent.map_err(stored)?;
        Ok(Ending::Done)
    })
}

fn open(file: Option<&Path>) -> Result<Box<dyn Read + Send>, Failure> {
    match file {
        None => Ok(Box::new(io::stdin())),
        Some(path) if path.as_os_str() == "-" => Ok(Box::new(io::stdin())),
        Some(path) => {
            let file = File::open(path);
            Ok(Box::new(file.map_err(|e| {
                Failure::new(format_args!("cannot open {}: {e}", path.display()))
            })?))
        }
    }
}

type Chunk = Result<Vec<(u64, InputRecord)>, InputError>;

/// Reads records on a thread of their own, since reading blocks. A chunk ends where the input makes one wait.
fn read_aside(
    input: Box<dyn Read + Send>,
    format: InputFormat,
    key_separator: Option<String>,
) -> mpsc::Receiver<Chunk> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    std::thread::spawn(move || {
        let input = BufReader::with_capacity(READ_BUFFER_BYTES, input);
        let mut reader = LineReader::new(input, format, key_separator.as_deref());
        loop {
            let mut chunk = Vec::new();
            let end = loop {
                match reader.next_record() {
                    Ok(Some(record)) => chunk.push((reader.line(), record)),
                    Ok(None) => break Some(None),
                    Err(error) => break Some(Some(error)),
                }
                if chunk.len() >= CHUNK_RECORDS || !reader.has_line_buffered() {
                    break None;
                }
            };
            if sender.blocking_send(Ok(chunk)).is_err() {
                return;
            }
            match end {
                None => {}
                Some(None) => return,
                Some(Some(error)) => {
                    // If nobody listens any more, something worse was told already.
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        }
    });
    receiver
}

async fn send_all(
    producer: &Producer,
    topic: &ProducerTopic,
    mut records: mpsc::Receiver<Chunk>,
    partition: Option<PartitionId>,
) -> Result<(), Failure> {
    let bar = if io::stdin().is_terminal() {
        None
    } else {
        Some(progress_bar("records"))
    };
    while let Some(chunk) = records.recv().await {
        for (line, record) in chunk? {
            send(topic, &record, partition)
                .await
                .map_err(|error| error.note(format_args!("at line {line}")))?;
        }
        let stats = producer.stats();
        if stats.failed + stats.unknown > 0 {
            // flush() tells what happened.
            break;
        }
        if let Some(bar) = &bar {
            bar.set_position(stats.acknowledged);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(())
}

async fn send(
    topic: &ProducerTopic,
    record: &InputRecord,
    partition: Option<PartitionId>,
) -> Result<(), Failure> {
    let headers: Vec<Header<'_>> = record
        .headers
        .iter()
        .map(|(key, value)| Header {
            key,
            value: value.as_deref(),
        })
        .collect();
    let record = Record {
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
        timestamp: record.time,
        partition: partition.or(record.partition),
    };
    // flush() tells what becomes of it.
    drop(topic.send(record).await?);
    Ok(())
}
