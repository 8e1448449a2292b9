//! Sends: several producers to every partition, each with several batches in flight.
//!
//! A burst of values is one operation and one batch, so that its values have offsets without a gap: whoever sends a burst
//! has the producer's partition for itself while it fills the batch, and the last value fills it to the brim.

use super::Workload;
use crate::chance::Chance;
use crate::error::WorkloadError;
use crate::recorder::Actor;
use crate::site::{AGAIN_AFTER, Pace, Site};
use crate::tasks::{Stop, Tasks, flat};
use crate::value::{value_bytes, value_of};
use quipu_checker::{Key, Op, Send, Value};
use quipu_client::{
    Client, Delivered, Delivery, DeliveryError, Offset, PartitionId, Producer, ProducerConfig, ProducerTopic,
    Record, SendError,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// A batch is closed by the value that fills it.
const BATCH_BYTES: usize = 8 * 1024;
/// So many values at most find room in it besides the one that fills it, however long they are.
const BURST_MOST: u32 = 50;
const VALUE_BYTES_LEAST: usize = 8;
const VALUE_BYTES_MOST: usize = 64;
/// What is left out of account is short beside this.
const LINGER: Duration = Duration::from_secs(60);

/// Sends: several producers to every partition, each with several batches in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Append {
    /// Idempotent producers; each has a client of its own and sends to every partition.
    pub producers: u32,
    /// Producers that are not idempotent, besides.
    pub plain_producers: u32,
    /// Bursts that each producer has under way for each partition.
    pub in_flight: u32,
    /// Values of a burst at most; 50 find room in a batch.
    pub burst: u32,
}

impl Default for Append {
    fn default() -> Self {
        Self {
            producers: 2,
            plain_producers: 0,
            in_flight: 3,
            burst: BURST_MOST,
        }
    }
}

impl Workload for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn spawn(&self, site: &Site, mut chance: Chance, tasks: &mut Tasks) {
        for number in 0..self.producers + self.plain_producers {
            let (site, work, chance) = (site.clone(), *self, chance.fork());
            let idempotent = number < self.producers;
            tasks.spawn(|stop| work.produce(site, chance, idempotent, stop));
        }
    }
}

impl Append {
    /// One producer after the other: an identity that was lost is followed by a new one.
    async fn produce(
        self,
        site: Site,
        mut chance: Chance,
        idempotent: bool,
        mut stop: Stop,
    ) -> Result<(), WorkloadError> {
        let Some(client) = site.client(&mut stop).await else {
            return Ok(());
        };
        while !stop.requested() {
            let Some((producer, topic)) = begin(&site, &client, idempotent, &mut stop).await else {
                continue;
            };
            let name = idempotent.then(|| site.recorder.new_producer());
            let mut senders = JoinSet::new();
            for (partition, key) in site.partitions() {
                let lane = Arc::new(Mutex::new(0));
                for _ in 0..self.in_flight {
                    let sender = Sender {
                        actor: site.recorder.actor(),
                        site: site.clone(),
                        topic: topic.clone(),
                        partition,
                        key: key.clone(),
                        producer: name,
                        lane: Arc::clone(&lane),
                        pause: self.pause(&site),
                        burst: u64::from(self.burst.clamp(1, BURST_MOST)),
                        chance: chance.fork(),
                    };
                    senders.spawn(sender.run(stop.clone()));
                }
            }
            while let Some(ended) = senders.join_next().await {
                flat(ended)?;
            }
            // What is to be known of its records is known.
            drop(producer.close().await);
        }
        Ok(())
    }

    /// Between two bursts of one sender.
    fn pause(&self, site: &Site) -> Duration {
        let senders = (self.producers + self.plain_producers) * self.in_flight * site.partition_count();
        let values = senders * (self.burst.clamp(1, BURST_MOST) + 1) / 2;
        Pace::pause(site.pace.records_per_second, values)
    }
}

/// A new producer, and the topic as it knows it. `None`: not yet, or it was asked to stop.
async fn begin(
    site: &Site,
    client: &Client,
    idempotent: bool,
    stop: &mut Stop,
) -> Option<(Producer, ProducerTopic)> {
    let config = ProducerConfig {
        idempotent,
        batch_bytes: BATCH_BYTES,
        batch_bytes_max: BATCH_BYTES,
        linger: LINGER,
        ..ProducerConfig::default()
    };
    let begun = async {
        let producer = client.producer(config).await?;
        let topic = producer.topic(&site.topic).await?;
        Ok::<_, SendError>((producer, topic))
    };
    match begun.await {
        Ok(begun) => Some(begun),
        Err(error) => {
            tracing::debug!(%error, "will try again");
            stop.pause(AGAIN_AFTER).await;
            None
        }
    }
}

/// One after the other sends bursts to one partition, and waits for the acknowledgement of each.
struct Sender {
    actor: Actor,
    site: Site,
    topic: ProducerTopic,
    partition: PartitionId,
    key: Key,
    producer: Option<u64>,
    /// Held while a burst fills its batch: how many the producer has sent to this partition.
    lane: Arc<Mutex<u64>>,
    pause: Duration,
    burst: u64,
    chance: Chance,
}

/// What became of a burst.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Stored(Option<Delivered>),
    NotStored { over: bool },
    Unknown { over: bool },
}

impl Sender {
    async fn run(mut self, mut stop: Stop) -> Result<(), WorkloadError> {
        while stop.pause(self.chance.around(self.pause)).await {
            let over = match self.send().await? {
                Outcome::Stored(_) => false,
                Outcome::NotStored { over } | Outcome::Unknown { over } => {
                    over || !stop.pause(AGAIN_AFTER).await
                }
            };
            if over {
                break;
            }
        }
        Ok(())
    }

    /// One burst.
    async fn send(&mut self) -> Result<Outcome, WorkloadError> {
        let count = 1 + self.chance.below(self.burst);
        let ids: Vec<_> = self.site.recorder.new_values(count).collect();
        let lengths = lengths(&mut self.chance, ids.len());
        let values: Vec<Vec<u8>> = ids
            .iter()
            .zip(lengths)
            .map(|(id, length)| value_bytes(*id, length))
            .collect();
        let named: Vec<Value> = ids
            .iter()
            .zip(&values)
            .map(|(id, bytes)| value_of(*id, bytes))
            .collect();
        let mut op = Send::new(self.key.clone(), named);
        op.producer = self.producer;
        let taken = {
            let mut lane = self.lane.lock().await;
            // A producer that is not idempotent has one batch in flight: it keeps its order by waiting.
            op.sequence = self.producer.map(|_| *lane);
            *lane += 1;
            self.actor.invoke(Op::Send(op.clone()))?;
            take(&self.topic, self.partition, &values).await
        };
        let outcome = match taken {
            Ok(deliveries) => resolve(deliveries).await,
            // Those that were taken wait in a batch that nobody fills.
            Err((0, error)) => Outcome::NotStored {
                over: !error.retryable(),
            },
            Err((_, error)) => Outcome::Unknown {
                over: !error.retryable(),
            },
        };
        match &outcome {
            Outcome::Stored(first) => {
                op.offset = first.and_then(|first| first.offset);
                op.leader_epoch = first.map(|first| first.leader_epoch);
                self.actor.ok(Op::Send(op))?;
            }
            Outcome::NotStored { .. } => drop(self.actor.fail(Op::Send(op))?),
            Outcome::Unknown { .. } => drop(self.actor.info(Op::Send(op))?),
        }
        Ok(outcome)
    }
}

/// How long the values of a burst are: the last one is as long as it takes to close the batch with it.
///
/// A batch is closed when another record like the last one would not fit. With `s` bytes before it, framing left out of
/// account, a last one of `(BATCH_BYTES - s) / 2 + 1` bytes is just too long to fit twice; and what the framing adds is
/// less than what then is left.
fn lengths(chance: &mut Chance, count: usize) -> Vec<usize> {
    let span = (VALUE_BYTES_MOST - VALUE_BYTES_LEAST) as u64;
    let mut lengths: Vec<usize> = (1..count)
        .map(|_| VALUE_BYTES_LEAST + usize::try_from(chance.below(span)).unwrap_or(0))
        .collect();
    let before: usize = lengths.iter().sum();
    lengths.push((BATCH_BYTES - before) / 2 + 1);
    lengths
}

/// Hands a burst to the producer. An error tells how many it took before.
async fn take(
    topic: &ProducerTopic,
    partition: PartitionId,
    values: &[Vec<u8>],
) -> Result<Vec<Delivery>, (usize, SendError)> {
    let mut deliveries = Vec::with_capacity(values.len());
    for value in values {
        match topic.send(Record::new(value).to(partition)).await {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => return Err((deliveries.len(), error)),
        }
    }
    Ok(deliveries)
}

async fn resolve(deliveries: Vec<Delivery>) -> Outcome {
    let mut results = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        results.push(delivery.await);
    }
    outcome(&results)
}

/// What became of the whole, if it has one fate. All are of one batch: anything else is not known for sure.
fn outcome(results: &[Result<Delivered, DeliveryError>]) -> Outcome {
    if results
        .iter()
        .all(|result| matches!(result, Err(error) if !error.outcome_unknown()))
    {
        let over = results.contains(&Err(DeliveryError::Closed));
        return Outcome::NotStored { over };
    }
    let Some(stored) = results.iter().cloned().collect::<Result<Vec<_>, _>>().ok() else {
        return Outcome::Unknown { over: false };
    };
    let base = stored.first().and_then(|first| first.offset);
    let dense = stored
        .iter()
        .zip(0..)
        .all(|(one, index)| one.offset.is_some() && one.offset == base.map(|base: Offset| base.plus(index)));
    // Stored it is in any case; where, is told only of a burst without a gap.
    Outcome::Stored(stored.first().copied().filter(|_| dense))
}

#[cfg(test)]
mod tests;
