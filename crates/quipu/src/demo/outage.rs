//! The broker is killed while batches are unacknowledged, and started again. Nobody tells the producer.

use crate::broker_process::{BrokerProcess, BrokerSpec};
use crate::output::Failure;
use quipu_client::{Producer, ProducerStats};
use std::time::{Duration, Instant};

/// How long the broker stays away.
const DOWN: Duration = Duration::from_millis(500);
/// How often the producer is looked at for the right moment.
const LOOK_EVERY: Duration = Duration::from_micros(20);
/// How long a batch in flight may go on its way before the kill: some are appended by then, and not acknowledged.
const UNDER_WAY: Duration = Duration::from_micros(300);
/// A kill that found nothing unacknowledged (every answer was on its way already) is followed by another.
const KILLS_MAX: u32 = 50;
/// How long the first acknowledgement afterwards may take, and the wait for a batch to be in flight.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kill, and what it interrupted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    /// Kills until one found something unacknowledged; that one is described here.
    pub(super) kills: u32,
    /// Since the start of producing.
    pub(super) killed_at: Duration,
    /// Batches that had been sent before the kill and were never acknowledged by the broker that died.
    pub(super) unacknowledged_batches: u64,
    /// How long the broker took to be ready again, from its start: recovery included.
    pub(super) recovery: Duration,
    /// From the kill to the next acknowledgement.
    pub(super) until_acknowledged: Duration,
}

/// Kills and restarts until batches were caught unacknowledged. `started` is when producing began.
pub(super) async fn cause(
    mut broker: BrokerProcess,
    spec: &BrokerSpec,
    producer: &Producer,
    started: Instant,
) -> Result<(Outage, BrokerProcess), Failure> {
    // The producer knows this address, and is told no other.
    let same_address = BrokerSpec {
        client: broker.client().to_owned(),
        ..spec.clone()
    };
    for kills in 1..=KILLS_MAX {
        let watched = producer.clone();
        let pid = broker.ready().pid;
        let at_kill = tokio::task::spawn_blocking(move || kill_in_flight(pid, &watched));
        let (killed, before) = at_kill.await.map_err(Failure::new)??;
        broker
            .kill()
            .await
            .map_err(|error| Failure::new(format_args!("cannot end the broker: {error}")))?;

        // Answers that the dead broker had already sent arrive in this time; after it, what is unacknowledged is.
        tokio::time::sleep(DOWN).await;
        let after = producer.stats();
        let restarted = Instant::now();
        broker = BrokerProcess::start(&same_address).await?;
        let recovery = restarted.elapsed();
        let until_acknowledged = next_acknowledgement(producer, &after, killed).await?;

        let unacknowledged_batches = still_unacknowledged(&before, &after);
        if unacknowledged_batches > 0 {
            let killed_at = killed.duration_since(started);
            let outage = Outage {
                kills,
                killed_at,
                unacknowledged_batches,
                recovery,
                until_acknowledged,
            };
            return Ok((outage, broker));
        }
    }
    Err(Failure::new(format_args!(
        "in {KILLS_MAX} kills, no batch was unacknowledged: nothing is proven"
    )))
}

/// Of the batches sent before the kill, how many are unresolved after it: batches sent since then do not count.
fn still_unacknowledged(before: &ProducerStats, after: &ProducerStats) -> u64 {
    let sent_since = after.batches.saturating_sub(before.batches);
    after
        .unacknowledged_batches
        .saturating_sub(sent_since)
        .min(before.unacknowledged_batches)
}

/// SIGKILL at a moment when batches are in flight: when that was, and how the producer stood then.
fn kill_in_flight(pid: u32, producer: &Producer) -> Result<(Instant, ProducerStats), Failure> {
    let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) else {
        return Err(Failure::new("the broker has no process id"));
    };
    let patience = Instant::now() + PATIENCE;
    loop {
        if producer.stats().unacknowledged_batches > 0 {
            std::thread::sleep(UNDER_WAY);
            let stats = producer.stats();
            let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            killed.map_err(|error| Failure::new(format_args!("cannot kill the broker: {error}")))?;
            return Ok((Instant::now(), stats));
        }
        if Instant::now() > patience {
            return Err(Failure::new(
                "no batch was ever in flight: is the producer running?",
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

async fn next_acknowledgement(
    producer: &Producer,
    before: &ProducerStats,
    killed: Instant,
) -> Result<Duration, Failure> {
    let seen = async {
        while producer.stats().acknowledged == before.acknowledged {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        killed.elapsed()
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    seen.map_err(|_| {
        Failure::new("nothing was acknowledged any more after the broker had been started again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(batches: u64, unacknowledged_batches: u64) -> ProducerStats {
        ProducerStats {
            batches,
            unacknowledged_batches,
            ..ProducerStats::default()
        }
    }

    #[test]
    fn only_batches_sent_before_the_kill_count() {
        assert_eq!(still_unacknowledged(&stats(10, 3), &stats(10, 3)), 3);
        assert_eq!(
            still_unacknowledged(&stats(10, 3), &stats(10, 1)),
            1,
            "two answers were on their way"
        );
        assert_eq!(
            still_unacknowledged(&stats(10, 3), &stats(14, 7)),
            3,
            "four came after"
        );
        assert_eq!(
            still_unacknowledged(&stats(10, 3), &stats(14, 4)),
            0,
            "all three answered, four came after"
        );
    }
}
