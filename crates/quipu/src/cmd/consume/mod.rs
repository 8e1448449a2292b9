//! `quipu consume`: all partitions, or with `--group` what the group gives it.

mod member;
mod printer;

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome};
use crate::text::{RecordFormat, Start};
use printer::Printer;
use quipu_client::{Admin, Consumer, ConsumerConfig, FetchedBatch, Offset, PartitionId};
use std::collections::HashMap;
use std::sync::Arc;

/// Read records, one value a line
///
/// Prints records and nothing else on standard output, for ever unless told when to stop.
///
/// With --group it is one of those that share the topics: run it several times, on any machines. What
/// was printed is committed, so that whoever comes next goes on there; SIGINT and SIGTERM commit,
/// leave the group and end it.
///
/// The tokens of --format, as kcat's:
///   %t topic   %p partition   %o offset   %k key   %v value   %T time in ms   %h headers
///   %K and %S: the lengths of key and value, -1 for null;  %%: a percent sign;  \n \t \r \0 \\ \xHH
///
/// Examples:
///   quipu consume flights --exit-at-end
///   quipu consume flights --from end --format '%p %o %k %v\n'
///   quipu consume flights --from 2013-01-31T19:00:00Z --count 10 -o json
///   quipu consume flights --group billing
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// As a member of this group
    #[arg(long, short, value_name = "GROUP", conflicts_with = "partition")]
    group: Option<String>,
    /// Static membership: an id that outlives this process, and whose partitions wait for it
    #[arg(long, value_name = "ID", requires = "group")]
    instance_id: Option<String>,
    /// Seconds without a sign of life after which the group gives its partitions to others
    #[arg(long, value_name = "SECONDS", requires = "group", default_value_t = 45)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1800))]
    session_timeout: u64,
    /// Where to begin: beginning, end, an offset, or a time. With --group: where nothing was committed
    #[arg(long, default_value = "beginning", value_name = "WHERE")]
    from: Start,
    /// Only this partition; may be repeated
    #[arg(long, short)]
    partition: Vec<u32>,
    /// Stop after so many records
    #[arg(long, short, value_name = "RECORDS")]
    count: Option<u64>,
    /// Stop at the high watermark seen at the start: after all that was acknowledged until then
    #[arg(long, short = 'e')]
    exit_at_end: bool,
    /// Where to go on if what was to be read is gone; none: fail
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    reset: Reset,
    /// Leave the group and stop when standard input ends, for a program that owns this member
    #[arg(long, hide = true, requires = "group")]
    stop_with_stdin: bool,
    /// How to print a record; without it, its value and a line feed
    #[arg(long, short, value_parser = RecordFormat::parse)]
    format: Option<RecordFormat>,
}

/// Where to go on in a partition when the offset is out of range.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Reset {
    /// Nowhere: fail
    #[default]
    None,
    /// At the oldest record there is
    Earliest,
    /// At the high watermark
    Latest,
}

impl From<Reset> for quipu_client::Reset {
    fn from(reset: Reset) -> Self {
        match reset {
            Reset::None => Self::None,
            Reset::Earliest => Self::Earliest,
            Reset::Latest => Self::Latest,
        }
    }
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    let json = session.output().is_json();
    if json && args.format.is_some() {
        return Err(Failure::usage("--format and -o json exclude each other").next("give one of them"));
    }
    session.block_on(async {
        if args.count == Some(0) {
            return Ok(Ending::Done);
        }
        let client = session.client().await?;
        if let Some(group) = &args.group {
            let printer = Printer::new(if json { None } else { Some(args.format.clone()) }, args.count);
            return member::run(&client, group, &args, printer).await;
        }
        let mut consumer = client.consumer(ConsumerConfig {
            reset: args.reset.into(),
            ..ConsumerConfig::default()
        });
        let mut ends = None;
        if args.exit_at_end {
            ends = Some(Ends::ask(&client.admin(), &args).await?);
        }
        assign(&mut consumer, &args).await?;
        let mut printer = Printer::new(if json { None } else { Some(args.format.clone()) }, args.count);
        while ends.as_ref().is_none_or(Ends::remain) && !printer.had_enough() {
            let batch = consumer.next().await?;
            printer.print(&batch, ends.as_ref().and_then(|ends| ends.of(&batch)))?;
            if let Some(ends) = &mut ends {
                ends.reached(&batch);
            }
        }
        Ok(Ending::Done)
    })
}

async fn assign(consumer: &mut Consumer, args: &Args) -> Result<(), Failure> {
    let start = args.from.into();
    for topic in &args.topics {
        if args.partition.is_empty() {
            consumer.add_topic(topic, start).await?;
        }
        for &partition in &args.partition {
            consumer
                .add_partition(topic, PartitionId::new(partition), start)
                .await?;
        }
    }
    Ok(())
}

impl From<Start> for quipu_client::Start {
    fn from(start: Start) -> Self {
        match start {
            Start::Beginning => Self::Earliest,
            Start::End => Self::Latest,
            Start::Offset(offset) => Self::Offset(offset),
            Start::Time(time) => Self::Timestamp(time),
        }
    }
}

/// How far to read in each partition: the high watermarks as they were at the start. Partitions that are read so far
/// are gone from it.
struct Ends {
    left: HashMap<(Arc<str>, PartitionId), Offset>,
}

impl Ends {
    async fn ask(admin: &Admin, args: &Args) -> Result<Self, Failure> {
        let mut partitions = Vec::new();
        for topic in &args.topics {
            let described = admin.get_topic(topic).await?;
            let all = described.partitions.iter().map(|p| p.partition);
            let wanted = all.filter(|p| args.partition.is_empty() || args.partition.contains(&p.get()));
            partitions.extend(wanted.map(|partition| (topic.clone(), partition)));
        }
        let at = |start: quipu_client::Start| {
            let queries = partitions
                .iter()
                .map(|(topic, partition)| (topic.clone(), *partition, start));
            admin.list_offsets(queries.collect())
        };
        let ends = at(quipu_client::Start::Latest).await?;
        let starts: HashMap<_, _> = match args.from {
            // Nothing that was there at the start is wanted.
            Start::End => return Ok(Self { left: HashMap::new() }),
            // The broker says whether there is such an offset as soon as it is read.
            Start::Offset(offset) => ends
                .iter()
                .map(|end| ((end.topic.clone(), end.partition), offset.min(end.offset)))
                .collect(),
            Start::Beginning | Start::Time(_) => {
                let starts = at(args.from.into()).await?;
                starts
                    .into_iter()
                    .map(|start| ((start.topic, start.partition), start.offset))
                    .collect()
            }
        };
        let unread = ends.into_iter().filter(|end| {
            starts
                .get(&(end.topic.clone(), end.partition))
                .is_none_or(|start| *start < end.offset)
        });
        Ok(Self {
            left: unread
                .map(|end| ((Arc::from(end.topic), end.partition), end.offset))
                .collect(),
        })
    }

    fn remain(&self) -> bool {
        !self.left.is_empty()
    }

    /// The offset to stop at in the batch's partition; 0 if that is behind already.
    fn of(&self, batch: &FetchedBatch) -> Option<Offset> {
        let key = (Arc::clone(batch.topic()), batch.partition());
        Some(self.left.get(&key).copied().unwrap_or(Offset::ZERO))
    }

    fn reached(&mut self, batch: &FetchedBatch) {
        let key = (Arc::clone(batch.topic()), batch.partition());
        if self.left.get(&key).is_some_and(|end| batch.next_offset() >= *end) {
            self.left.remove(&key);
        }
    }
}
