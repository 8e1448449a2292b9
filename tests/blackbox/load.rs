//! Load that is watched: clients that send and read without pause. What they did and saw is recorded by `quipu-workload`.
//!
//! Its workloads choose what they do from a seed, and pause; here every producer has a batch in flight at all times, so that
//! whatever is done to a broker is done in the middle of something.

use crate::support::{PATIENCE, Result};
use quipu_checker::{Key, Op, Poll, PolledPartition, Send};
use quipu_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Offset, PartitionId, Producer, ProducerConfig,
    ProducerTopic, Record, Start,
};
use quipu_workload::{
    Actor, Recorder, Site, Stop, Tasks, WorkloadError, poll_to_the_end, read_records, value_bytes, value_of,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Values differ in length, up to this.
const VALUE_BYTES_MOST: u64 = 300;

/// What is sent to, and by how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) topic: &'static str,
    pub(crate) partitions: u32,
    pub(crate) producers: u32,
    /// Each sends a record and waits for its acknowledgement; together they keep batches in flight at all times.
    pub(crate) senders_of_each: u32,
}

/// Sends one value after another to one partition until told to stop.
async fn send(
    site: Site,
    mut actor: Actor,
    topic: ProducerTopic,
    (partition, key): (PartitionId, Key),
    producer: u64,
    stop: Stop,
) -> std::result::Result<(), WorkloadError> {
    while !stop.requested() {
        for id in site.recorder.new_values(1) {
            let bytes = value_bytes(id, usize::try_from(id.0 % VALUE_BYTES_MOST).unwrap_or(0));
            let mut op = Send {
                producer: Some(producer),
                ..Send::new(key.clone(), vec![value_of(id, &bytes)])
            };
            actor.invoke(Op::Send(op.clone()))?;
            let Ok(delivery) = topic.send(Record::new(&bytes).to(partition)).await else {
                actor.fail(Op::Send(op))?;
                continue;
            };
            match delivery.await {
                Ok(delivered) => {
                    op.offset = delivered.offset;
                    actor.ok(Op::Send(op))?;
                }
                Err(error) if error.outcome_unknown() => drop(actor.info(Op::Send(op))?),
                Err(_) => drop(actor.fail(Op::Send(op))?),
            }
        }
    }
    Ok(())
}

/// Reads one partition's tail until told to stop. That the consumer fails is an error here: nothing that is done to
/// brokers may be seen by it.
async fn poll(
    mut actor: Actor,
    mut consumer: Consumer,
    key: Key,
    stop: Stop,
) -> std::result::Result<(), WorkloadError> {
    let mut from = Offset::ZERO;
    while !stop.requested() {
        let mut part = PolledPartition::asked(key.clone(), from);
        actor.invoke(Op::Poll(Poll::of(vec![part.clone()])))?;
        // An answer that does not come while we wait is an empty one.
        if let Ok(batch) = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await {
            let batch = batch.unwrap_or_else(|error| panic!("a reader of {key} is told of trouble: {error}"));
            part.records = read_records(&batch);
            part.high_watermark = Some(batch.high_watermark());
            from = batch.next_offset();
        }
        actor.ok(Op::Poll(Poll::of(vec![part])))?;
    }
    Ok(())
}

/// Clients at work.
pub(crate) struct Load {
    pub(crate) site: Site,
    producers: Vec<Producer>,
    tasks: Tasks,
}

impl Load {
    /// Producers with their senders, and one reader a partition, on a topic that there is. `address`: host:port, of one or
    /// of several with commas.
    pub(crate) async fn start(address: &str, shape: Shape) -> Result<Self> {
        let config = ClientConfig::new(address.split(','));
        let client = Client::connect(config.clone()).await?;
        let site = Site::new(&Recorder::new(), config, shape.topic, shape.partitions);
        let places: Vec<_> = site.partitions().map(|(at, key)| (at, key.clone())).collect();
        let mut tasks = Tasks::new();
        let mut producers = Vec::new();
        for _ in 0..shape.producers {
            let producer = client.producer(ProducerConfig::default()).await?;
            let number = site.recorder.new_producer();
            for place in places.iter().cycle().take(shape.senders_of_each as usize) {
                let topic = producer.topic(shape.topic).await?;
                let (site, actor, place) = (site.clone(), site.recorder.actor(), place.clone());
                tasks.spawn(|stop| send(site, actor, topic, place, number, stop));
            }
            producers.push(producer);
        }
        for (partition, key) in places {
            let mut consumer = client.consumer(ConsumerConfig::default());
            consumer
                .add_partition(shape.topic, partition, Start::Earliest)
                .await?;
            let actor = site.recorder.actor();
            tasks.spawn(|stop| poll(actor, consumer, key, stop));
        }
        Ok(Self {
            site,
            producers,
            tasks,
        })
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.site.recorder
    }

    /// Waits until so many more are acknowledged and a batch is in flight.
    pub(crate) fn until_in_flight(&self, more: u64) -> Result<()> {
        let recorder = self.recorder();
        let wanted = recorder.acked() + more;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let in_flight = self.producers.iter();
            let in_flight = in_flight.map(|producer| producer.stats().unacknowledged_batches);
            if in_flight.sum::<u64>() > 0 && recorder.acked() >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{} of {wanted} acknowledged, and no more", recorder.acked()).into());
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Ends it: every record that was sent is resolved. An error that reached a reader is an error here.
    pub(crate) async fn stop(self) -> Result<Site> {
        self.tasks.stop(PATIENCE).await?;
        Ok(self.site)
    }
}

/// The whole log of each partition, as new clients read it. Returns how many records that are.
pub(crate) async fn read_all(site: &Site) -> Result<u64> {
    site.recorder.tell(Op::FinalPolls)?;
    Ok(poll_to_the_end(site, PATIENCE).await?.records)
}
