//! As a member of a group: what is printed is committed.

use super::Args;
use super::printer::Printer;
use crate::output::{Ending, Failure, Outcome, say};
use crate::owner;
use quipu_client::{
    Admin, Client, ErrorCode, FetchedBatch, GroupConfig, GroupConsumer, Offset, PartitionId, Start,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

/// How often is looked whether the others have read to the end.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(client: &Client, group: &str, args: &Args, mut printer: Printer) -> Outcome {
    // Listened to before anything is read: what is printed is committed.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let admin = client.admin();
    let mut ends = if args.exit_at_end {
        Some(Ends::ask(admin, group, args).await?)
    } else {
        tell_of_missing(&admin, &args.topics).await?;
        None
    };
    let mut config = GroupConfig::new(group)
        .with_topics(&args.topics)
        .with_start(args.from.into())
        .with_session_timeout(Duration::from_secs(args.session_timeout));
    config.instance_id.clone_from(&args.instance_id);
    config.reset = args.reset.into();
    let mut consumer = client.group_consumer(config)?;
    let ended = tokio::select! {
        ended = read(&mut consumer, &mut printer, ends.as_mut()) => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = owner::is_gone(args.stop_with_stdin) => Ok(()),
    };
    // What could not be printed was not processed: without a word to the group it goes to another.
    ended?;
    consumer.close().await?;
    Ok(Ending::Done)
}

async fn tell_of_missing(admin: &Admin, topics: &[String]) -> Result<(), Failure> {
    for topic in topics {
        match admin.get_topic(topic).await {
            Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition => {
                say(format_args!(
                    "there is no topic {topic:?} yet; it is read as soon as it is made"
                ));
            }
            answer => drop(answer?),
        }
    }
    Ok(())
}

async fn read(
    consumer: &mut GroupConsumer,
    printer: &mut Printer,
    mut ends: Option<&mut Ends>,
) -> Result<(), Failure> {
    while !printer.had_enough() {
        let batch = match &mut ends {
            None => consumer.next().await?,
            Some(ends) => {
                if ends.reached(consumer).await? {
                    return Ok(());
                }
                match timeout(LOOK_EVERY, consumer.next()).await {
                    Ok(batch) => batch?,
                    Err(_) => continue,
                }
            }
        };
        let end = ends.as_ref().and_then(|ends| ends.of(&batch));
        if let Some(unprinted) = printer.print(&batch, end)? {
            // It goes to whoever comes next, and not to this one.
            let (topic, partition) = (batch.topic(), batch.partition());
            consumer.seek(topic, partition, Start::Offset(unprinted))?;
            consumer.pause(topic, partition)?;
        }
    }
    Ok(())
}

/// How far the group shall read: the high watermarks as they were at the start. What is read so far, by whomever, is gone
/// from it.
struct Ends {
    admin: Admin,
    group: String,
    all: HashMap<(Arc<str>, PartitionId), Offset>,
    left: HashMap<(Arc<str>, PartitionId), Offset>,
    /// When to ask again how far the others are.
    ask_at: Instant,
}

impl Ends {
    async fn ask(admin: Admin, group: &str, args: &Args) -> Result<Self, Failure> {
        let mut partitions = Vec::new();
        for topic in &args.topics {
            let described = admin.get_topic(topic).await?;
            let each = described.partitions.iter().map(|p| (topic.clone(), p.partition));
            partitions.extend(each);
        }
        let at = |start: Start| {
            let queries = partitions
                .iter()
                .map(|(topic, partition)| (topic.clone(), *partition, start));
            admin.list_offsets(queries.collect())
        };
        let ends = at(Start::Latest).await?;
        let starts = at(Start::Earliest).await?;
        // Of what is empty nobody ever commits anything.
        let unread = ends
            .into_iter()
            .zip(starts)
            .filter(|(end, start)| start.offset < end.offset);
        let all: HashMap<_, _> = unread
            .map(|(end, _)| ((Arc::from(end.topic), end.partition), end.offset))
            .collect();
        Ok(Self {
            admin,
            group: group.to_owned(),
            left: all.clone(),
            all,
            ask_at: Instant::now(),
        })
    }

    /// The offset to stop at in the batch's partition.
    fn of(&self, batch: &FetchedBatch) -> Option<Offset> {
        let key = (Arc::clone(batch.topic()), batch.partition());
        Some(self.all.get(&key).copied().unwrap_or(Offset::ZERO))
    }

    /// Whether everything is read: handed out here, or committed by others.
    async fn reached(&mut self, consumer: &GroupConsumer) -> Result<bool, Failure> {
        for position in consumer.assignment() {
            self.got_to(position.topic, position.partition, position.offset);
        }
        if !self.left.is_empty() && self.ask_at <= Instant::now() {
            self.ask_at = Instant::now() + LOOK_EVERY;
            match self.admin.group_offsets(&self.group).await {
                Ok(offsets) => {
                    for known in offsets {
                        self.got_to(known.partition.topic, known.partition.partition, known.committed);
                    }
                }
                Err(error) if error.code() == ErrorCode::UnknownGroup || error.retryable() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.left.is_empty())
    }

    fn got_to(&mut self, topic: Arc<str>, partition: PartitionId, offset: Option<Offset>) {
        let key = (topic, partition);
        if let (Some(end), Some(offset)) = (self.left.get(&key), offset)
            && offset >= *end
        {
            self.left.remove(&key);
        }
    }
}
