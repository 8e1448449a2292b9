//! A broker killed with SIGKILL twenty times under load: every acknowledged record is read back, once, in order, as it
//! was sent. What clients did and saw goes through `quipu-checker`.
//!
//! (SIGKILL leaves the page cache: what a power cut leaves is for the crash histories over the fake disk.)

use crate::load::{Load, Shape, read_all};
use crate::support::{Broker, Result, quipu, signal};
use quipu_checker::Verdict;

const KILLS: usize = 20;
/// Acknowledged between one kill and the next.
const ACKED_BETWEEN: u64 = 200;
const SHAPE: Shape = Shape {
    topic: "t",
    partitions: 4,
    producers: 2,
    senders_of_each: 16,
};

/// Kills and restarts; returns the broker that lives.
fn kill_again_and_again(load: &Load, mut broker: Broker) -> Result<Broker> {
    for kill in 1..=KILLS {
        load.until_in_flight(ACKED_BETWEEN)?;
        let acked = load.recorder().acked();
        load.recorder()
            .fault(format!("kill {kill} of broker process {}", broker.pid()))?;
        signal(broker.pid(), rustix::process::Signal::KILL)?;
        broker = broker.kill()?.start()?;
        println!(
            "kill {kill}: back after {:.3} s, {acked} acknowledged",
            broker.took.as_secs_f64()
        );
    }
    load.until_in_flight(ACKED_BETWEEN)?;
    Ok(broker)
}

/// Twenty kills under load: what the checker says of it, and how many records are stored at the end.
async fn storm(broker: Broker) -> Result<(Verdict, u64)> {
    let partitions = SHAPE.partitions.to_string();
    let args = ["topic", "create", SHAPE.topic, "--partitions", &partitions];
    quipu(broker.address(), &args)?;
    let address = broker.address().to_owned();
    let load = Load::start(&address, SHAPE).await?;
    let killing = tokio::task::spawn_blocking(move || {
        let killed = kill_again_and_again(&load, broker).map_err(|error| error.to_string());
        (load, killed)
    });
    let (load, broker) = killing.await?;
    let site = load.stop().await?;
    // It lives until everything was read back.
    let _broker = broker?;
    let stored = read_all(&site).await?;
    let verdict = site.recorder.verdict();
    println!("{verdict}");
    assert_eq!(verdict.counts.faults, KILLS);
    Ok((verdict, stored))
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_acknowledged() -> Result<()> {
    let (verdict, stored) = storm(Broker::start()?).await?;
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.unchecked.is_empty(), "{verdict}");
    assert!(
        verdict.counts.acked as u64 >= ACKED_BETWEEN * KILLS as u64,
        "{verdict}"
    );
    assert!(stored >= verdict.counts.acked as u64, "{verdict}");
    Ok(())
}

/// The check can fail: a broker that does not recognise repeated batches is caught.
#[cfg(feature = "test-util")]
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgets_producers_is_caught() -> Result<()> {
    let broker = Broker::start_told(&std::env::temp_dir(), &["--planted-bug", "no-producer-dedup"])?;
    let (verdict, _) = storm(broker).await?;
    let found = verdict.found.contains_key(&quipu_checker::AnomalyKind::Duplicate);
    assert!(found, "{verdict}");
    Ok(())
}
