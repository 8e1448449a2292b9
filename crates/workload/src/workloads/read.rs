//! Reads: several consumers of every partition, each from wherever it likes, and the linearizable question for the ends of
//! the logs.

use super::Workload;
use crate::chance::Chance;
use crate::error::WorkloadError;
use crate::recorder::Actor;
use crate::site::{AGAIN_AFTER, Pace, Site};
use crate::tasks::{Stop, Tasks};
use crate::value::{damaged_at, read_records};
use quipu_checker::{Assign, Key, Latest, Op, Poll, PolledPartition};
use quipu_client::{
    CallError, Client, ConsumeError, Consumer, ConsumerConfig, FetchedBatch, Offset, PartitionId, Start,
};
use std::time::Duration;
use tokio::time::timeout;

/// An answer that does not come in this time is an empty one.
const POLL_WITHIN: Duration = Duration::from_millis(500);
/// Bytes that a broker sends ahead: little, since a reader moves often.
const WINDOW_BYTES: usize = 256 * 1024;
/// Reads from one place on, on average, before the reader moves to another.
const POLLS_OF_A_VISIT: u64 = 64;
/// A reader that moves goes this far below the end at most, most of the time.
const NEAR_THE_END: u64 = 500;
/// One visit in so many begins anywhere.
const ANYWHERE_ONE_IN: u64 = 4;
/// One visit in so many ends with the client dropped in the middle of it all.
const CRASH_ONE_IN: u64 = 8;

/// Reads: several consumers of every partition, and the linearizable question for the ends of the logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// Consumers of each partition.
    pub readers: u32,
    /// Clients that ask for the ends of logs.
    pub askers: u32,
}

impl Default for Read {
    fn default() -> Self {
        Self {
            readers: 2,
            askers: 2,
        }
    }
}

impl Workload for Read {
    fn name(&self) -> &'static str {
        "read"
    }

    fn spawn(&self, site: &Site, mut chance: Chance, tasks: &mut Tasks) {
        for (partition, key) in site.partitions() {
            for _ in 0..self.readers {
                let reader = Reader {
                    actor: site.recorder.actor(),
                    site: site.clone(),
                    partition,
                    key: key.clone(),
                    chance: chance.fork(),
                };
                tasks.spawn(|stop| reader.run(stop));
            }
        }
        for _ in 0..self.askers {
            let (site, chance, pause) = (
                site.clone(),
                chance.fork(),
                Pace::pause(site.pace.calls_per_second, self.askers),
            );
            tasks.spawn(|stop| ask_for_ends(site, chance, pause, stop));
        }
    }
}

/// Reads one partition, from one place after the other.
struct Reader {
    actor: Actor,
    site: Site,
    partition: PartitionId,
    key: Key,
    chance: Chance,
}

impl Reader {
    async fn run(mut self, mut stop: Stop) -> Result<(), WorkloadError> {
        while let Some(client) = self.site.client(&mut stop).await {
            let mut consumer = client.consumer(ConsumerConfig {
                window_bytes: WINDOW_BYTES,
                ..ConsumerConfig::default()
            });
            loop {
                if stop.requested() {
                    return Ok(());
                }
                if !self.visit(&client, &mut consumer, &mut stop).await? && !stop.pause(AGAIN_AFTER).await {
                    return Ok(());
                }
                if self.chance.one_in(CRASH_ONE_IN) {
                    self.actor.invoke(Op::Crash)?;
                    self.actor.info(Op::Crash)?;
                    break;
                }
                // Whoever moves has no past.
                self.actor.renew();
            }
        }
        Ok(())
    }

    /// Goes somewhere and reads on from there for a while. Whether all went well.
    async fn visit(
        &mut self,
        client: &Client,
        consumer: &mut Consumer,
        stop: &mut Stop,
    ) -> Result<bool, WorkloadError> {
        let Ok(mut from) = self.somewhere(client).await else {
            return Ok(false);
        };
        let start = Start::Offset(from);
        if consumer
            .add_partition(&self.site.topic, self.partition, start)
            .await
            .is_err()
        {
            return Ok(false);
        }
        let assign = Op::Assign(Assign {
            keys: vec![self.key.clone()],
            from_beginning: false,
        });
        self.actor.invoke(assign.clone())?;
        self.actor.ok(assign)?;
        let pause = Pace::pause(self.site.pace.polls_per_second, 1);
        for _ in 0..=self.chance.below(2 * POLLS_OF_A_VISIT) {
            match poll(&mut self.actor, consumer, &self.key, from).await? {
                Some(came) => from = came.next,
                None => return Ok(false),
            }
            if !stop.pause(self.chance.around(pause)).await {
                break;
            }
        }
        Ok(true)
    }

    /// A place at or below the end: most of the time near it, and the beginning now and then.
    async fn somewhere(&mut self, client: &Client) -> Result<Offset, CallError> {
        let end = offset_at(client, &self.site.topic, self.partition, Start::Latest).await?;
        let span = if self.chance.one_in(ANYWHERE_ONE_IN) {
            end.get()
        } else {
            end.get().min(NEAR_THE_END)
        };
        let back = self.chance.below(span + 1);
        Ok(Offset::new(end.get() - back))
    }
}

/// What a read came to: where the next one goes on, and what came.
pub(crate) struct Came {
    pub(crate) next: Offset,
    pub(crate) batch: Option<FetchedBatch>,
}

/// One read from `from`, in so many words for the history. `None`: the consumer reads no further.
pub(crate) async fn poll(
    actor: &mut Actor,
    consumer: &mut Consumer,
    key: &Key,
    from: Offset,
) -> Result<Option<Came>, WorkloadError> {
    let mut part = PolledPartition::asked(key.clone(), from);
    actor.invoke(Op::Poll(Poll::of(vec![part.clone()])))?;
    let batch = match timeout(POLL_WITHIN, consumer.next()).await {
        Ok(Ok(batch)) => batch,
        // The transport loses no bits: it was stored so, or made so by a broker.
        Ok(Err(ConsumeError::BadBatch { offset, error, .. })) => {
            tracing::debug!(%error, %key, "a read came damaged");
            part.records = vec![damaged_at(offset)];
            actor.ok(Op::Poll(Poll::of(vec![part])))?;
            return Ok(None);
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, %key, "a read failed");
            actor.fail(Op::Poll(Poll::of(vec![part])))?;
            return Ok(None);
        }
        // Dropping the wait loses nothing.
        Err(_) => {
            actor.ok(Op::Poll(Poll::of(vec![part])))?;
            return Ok(Some(Came {
                next: from,
                batch: None,
            }));
        }
    };
    part.records = read_records(&batch);
    part.high_watermark = Some(batch.high_watermark());
    actor.ok(Op::Poll(Poll::of(vec![part])))?;
    Ok(Some(Came {
        next: batch.next_offset(),
        batch: Some(batch),
    }))
}

/// Where a partition begins or ends.
pub(crate) async fn offset_at(
    client: &Client,
    topic: &str,
    partition: PartitionId,
    at: Start,
) -> Result<Offset, CallError> {
    let queries = vec![(topic.to_owned(), partition, at)];
    let found = client.admin().list_offsets(queries).await?;
    found
        .first()
        .map(|found| found.offset)
        .ok_or(CallError::BadAnswer {
            operation: "list offsets",
            problem: "it is empty".to_owned(),
        })
}

/// Asks for the end of a partition, in so many words for the history.
pub(crate) async fn latest(
    actor: &mut Actor,
    client: &Client,
    site: &Site,
    partition: PartitionId,
) -> Result<Result<Offset, CallError>, WorkloadError> {
    let mut op = Latest {
        key: site.key(partition),
        high_watermark: None,
    };
    actor.invoke(Op::Latest(op.clone()))?;
    let found = offset_at(client, &site.topic, partition, Start::Latest).await;
    match &found {
        Ok(offset) => {
            op.high_watermark = Some(*offset);
            actor.ok(Op::Latest(op))?;
        }
        // A question that was not answered changes nothing.
        Err(_) => drop(actor.fail(Op::Latest(op))?),
    }
    Ok(found)
}

async fn ask_for_ends(
    site: Site,
    mut chance: Chance,
    pause: Duration,
    mut stop: Stop,
) -> Result<(), WorkloadError> {
    let Some(client) = site.client(&mut stop).await else {
        return Ok(());
    };
    let mut actor = site.recorder.actor();
    while stop.pause(chance.around(pause)).await {
        let partition = chance.below(site.partition_count().into());
        let partition = PartitionId::new(u32::try_from(partition).unwrap_or(0));
        if latest(&mut actor, &client, &site, partition).await?.is_err() {
            stop.pause(AGAIN_AFTER).await;
        }
    }
    Ok(())
}
