//! SIGTERM is a clean stop: what was taken in is answered, and the next start has nothing to repair.

use crate::support::{Broker, PATIENCE, Result, quipu, quipu_with_input, signal};
use quipu_client::{Client, ClientConfig, ProducerConfig, Record};
use std::time::Instant;

#[test]
fn sigterm_stops_cleanly_and_everything_is_there_again() -> Result<()> {
    let broker = Broker::start()?;
    quipu(broker.address(), &["topic", "create", "t", "--partitions", "3"])?;
    let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();
    quipu_with_input(
        broker.address(),
        &["produce", "t", "--partition", "1"],
        lines.as_bytes(),
    )?;

    let (status, home) = broker.terminate()?;
    assert!(status.success(), "{status}");
    assert!(
        home.data_dir().join("clean_shutdown").exists(),
        "no marker of a clean stop"
    );
    let broker = home.start()?;
    assert_eq!(
        quipu(broker.address(), &["consume", "t", "--exit-at-end"])?,
        lines
    );
    quipu(broker.address(), &["cluster", "check"])?;
    Ok(())
}

#[test]
fn sigint_stops_as_sigterm_does() -> Result<()> {
    let mut broker = Broker::start()?;
    signal(broker.pid(), rustix::process::Signal::INT)?;
    let status = broker.wait()?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[test]
fn a_broker_ends_with_its_owner() -> Result<()> {
    let mut broker = Broker::start()?;
    broker.close_stdin();
    let status = broker.wait()?;
    assert!(status.success(), "{status}");
    Ok(())
}

/// A producer that goes on through a clean restart sees no error at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_loses_nothing() -> Result<()> {
    let broker = tokio::task::spawn_blocking(|| Broker::start().map_err(|e| e.to_string())).await??;
    quipu(broker.address(), &["topic", "create", "t", "--partitions", "2"])?;
    let client = Client::connect(ClientConfig::new([broker.address()])).await?;
    let producer = client.producer(ProducerConfig::default()).await?;
    let topic = producer.topic("t").await?;

    let restarting = tokio::task::spawn_blocking(move || broker.restart().map_err(|e| e.to_string()));
    let deadline = Instant::now() + PATIENCE;
    let mut sent = Vec::new();
    while !restarting.is_finished() || sent.len() < 1000 {
        assert!(Instant::now() < deadline, "the broker did not come back");
        let value = sent.len().to_string();
        sent.push(
            topic
                .send(Record::keyed(value.as_bytes(), value.as_bytes()))
                .await?,
        );
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let broker = restarting.await??;
    producer.flush().await?;
    let count = sent.len();
    for delivery in sent {
        delivery.await?;
    }
    let read = quipu(broker.address(), &["consume", "t", "--exit-at-end"])?;
    let mut read: Vec<usize> = read
        .lines()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    read.sort_unstable();
    assert_eq!(read, (0..count).collect::<Vec<_>>());
    Ok(())
}
