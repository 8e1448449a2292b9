//! Brokers restart one after another under a hundred members: no partition moves.

use super::{describe, lock, owners, until, until_shared};
use crate::support::cluster::Cluster;
use crate::support::{PATIENCE, Result, quipu};
use quipu_client::{
    Client, ClientConfig, GroupConfig, GroupPartition, PartitionId, ProducerConfig, Rebalance,
    RebalanceListener, Record,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

const MEMBERS: usize = 100;
const PARTITIONS: u32 = 100;

/// What the members heard, and how often each record came.
#[derive(Default)]
struct Heard {
    /// Partitions that were taken from anybody since the members settled.
    moved: Vec<String>,
    counts: BTreeMap<(u32, u64), u32>,
}

struct Listener(Arc<Mutex<Heard>>);

impl Listener {
    fn push(&self, what: &str, partitions: &[GroupPartition]) {
        let each = partitions.iter().map(|one| format!("{what} {}", one.partition));
        lock(&self.0).moved.extend(each);
    }
}

impl RebalanceListener for Listener {
    fn revoked(&mut self, partitions: &[GroupPartition], _: &mut Rebalance<'_>) {
        self.push("revoked", partitions);
    }

    fn lost(&mut self, partitions: &[GroupPartition]) {
        self.push("lost", partitions);
    }
}

/// Reads until told to stop, then leaves.
async fn consume(
    client: Client,
    heard: Arc<Mutex<Heard>>,
    mut stop: watch::Receiver<bool>,
) -> std::result::Result<(), String> {
    let config = GroupConfig::new("g").with_topics(["t"]);
    let listener = Listener(Arc::clone(&heard));
    let consumer = client.group_consumer_with(config, listener);
    let mut consumer = consumer.map_err(|error| error.to_string())?;
    loop {
        let batch = tokio::select! {
            batch = consumer.next() => batch.map_err(|error| error.to_string())?,
            _ = stop.changed() => break,
        };
        let mut heard = lock(&heard);
        for record in &batch {
            let offset = record.map_err(|error| error.to_string())?.offset.get();
            *heard.counts.entry((batch.partition().get(), offset)).or_default() += 1;
        }
    }
    consumer.close().await.map_err(|error| error.to_string())
}

/// A record to each partition; the offset after the last.
async fn send(client: &Client) -> Result<u64> {
    let producer = client.producer(ProducerConfig::default()).await?;
    let topic = producer.topic("t").await?;
    let mut deliveries = Vec::new();
    for partition in 0..PARTITIONS {
        deliveries.push(
            topic
                .send(Record::new(b"x").to(PartitionId::new(partition)))
                .await?,
        );
    }
    producer.flush().await?;
    let mut end = 0;
    for delivery in deliveries {
        end = delivery.await?.offset.map_or(end, |offset| offset.get() + 1);
    }
    Ok(end)
}

#[test]
fn brokers_restart_one_after_another_under_a_hundred_members() -> Result<()> {
    let mut cluster = Cluster::start(3, &std::env::temp_dir(), &[])?;
    let addresses = cluster.addresses();
    let partitions = PARTITIONS.to_string();
    quipu(&addresses, &["topic", "create", "t", "--partitions", &partitions])?;
    let runtime = Runtime::new()?;
    let client = runtime.block_on(Client::connect(ClientConfig::new(addresses.split(','))))?;
    let heard = Arc::new(Mutex::new(Heard::default()));
    let (stop, stopped) = watch::channel(false);
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        members.spawn_on(
            consume(client.clone(), Arc::clone(&heard), stopped.clone()),
            runtime.handle(),
        );
    }
    until_shared(&addresses, MEMBERS, PARTITIONS as usize)?;
    let mut end = runtime.block_on(send(&client))?;
    let all_seen = |end: u64| {
        until("every record is processed", || {
            let heard = lock(&heard);
            let seen = (0..PARTITIONS).all(|partition| heard.counts.contains_key(&(partition, end - 1)));
            Ok(seen)
        })
    };
    all_seen(end)?;
    let before = owners(&describe(&addresses)?);
    lock(&heard).moved.clear();
    let began = Instant::now();
    for id in 1..=3 {
        cluster.terminate(id)?;
        end = runtime.block_on(send(&client))?;
        all_seen(end)?;
        cluster.restart(id)?;
        until("all is well again", || {
            Ok(crate::support::run(&addresses, &["cluster", "check"], b"")?.code == Some(0))
        })?;
        println!(
            "broker {id} restarted; {:.1} s since the beginning",
            began.elapsed().as_secs_f64()
        );
    }
    end = runtime.block_on(send(&client))?.max(end);
    all_seen(end)?;
    let after = owners(&describe(&addresses)?);
    let (moved, repeats) = {
        let heard = lock(&heard);
        let repeats: u64 = heard.counts.values().map(|count| u64::from(count - 1)).sum();
        (heard.moved.clone(), repeats)
    };
    println!(
        "three brokers restarted under {MEMBERS} members: {} of {PARTITIONS} partitions moved, {} records, {repeats} repeated",
        moved.len(),
        lock(&heard).counts.len()
    );
    assert_eq!(before, after);
    assert_eq!(moved, Vec::<String>::new());
    stop.send_replace(true);
    let ended = runtime.block_on(async {
        let ending = async {
            while let Some(ended) = members.join_next().await {
                ended.map_err(|error| error.to_string())??;
            }
            Ok::<_, String>(())
        };
        tokio::time::timeout(PATIENCE, ending).await
    })?;
    Ok(ended?)
}
