//! A leader is killed while batches are unacknowledged, and started again once others have taken over. Nobody tells the
//! producer.

use crate::brokers::{Brokers, Leader};
use crate::output::Failure;
use quipu_client::{Client, Delivery, PartitionId, Producer, ProducerStats};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the only broker of a cluster stays away: nobody takes over, and nothing is acknowledged until it is back.
const DOWN: Duration = Duration::from_millis(500);
/// Answers that the dead broker had already sent arrive in this time; after it, what is unacknowledged is.
const ON_THE_WAY: Duration = Duration::from_millis(100);
/// How often the producer is looked at for the right moment.
const LOOK_EVERY: Duration = Duration::from_micros(20);
/// How long a batch in flight may go on its way before the kill: some are appended by then, and not acknowledged.
const UNDER_WAY: Duration = Duration::from_micros(300);
/// A kill that found nothing unacknowledged (every answer was on its way already) is followed by another.
const KILLS_MAX: u32 = 50;
/// How long the first acknowledgement afterwards may take, and the wait for a batch to be in flight.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many records are looked at for one that is on its way: what is older was acknowledged long ago.
const LAST: usize = 500;
/// A partition that was sent nothing in this time is not watched.
const NOTHING_SENT: Duration = Duration::from_secs(1);

/// What was sent so far, seen by whoever sends and by whoever watches.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<Mutex<Vec<Delivery>>>);

impl Sent {
    pub(super) fn push(&self, delivery: Delivery) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delivery);
    }

    pub(super) fn take(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether one of the last records, of one of these partitions, is on its way.
    fn is_under_way(&self, partitions: &BTreeSet<PartitionId>) -> bool {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = sent.iter().rev().take(LAST);
        last.any(|delivery| partitions.contains(&delivery.partition()) && delivery.try_get().is_none())
    }

    /// Of each of these partitions the first record whose fate is not known.
    fn unresolved(&self, partitions: &BTreeSet<PartitionId>) -> BTreeMap<PartitionId, Delivery> {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut first = BTreeMap::new();
        for delivery in sent.iter().filter(|delivery| delivery.try_get().is_none()) {
            if partitions.contains(&delivery.partition()) {
                first
                    .entry(delivery.partition())
                    .or_insert_with(|| delivery.clone());
            }
        }
        first
    }
}

/// A kill, and what it interrupted.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// Who was killed, and what it led.
    pub(super) leader: Leader,
    /// Kills until one found something unacknowledged; that one is described here.
    pub(super) kills: u32,
    /// Since the start of producing.
    pub(super) killed_at: Duration,
    /// Batches that had been sent before the kill and were not acknowledged when the last answers had arrived.
    pub(super) unacknowledged_batches: u64,
    /// From the kill to the next acknowledgement on a partition that the dead broker had led.
    pub(super) failover: Duration,
    /// The same, until all of them had acknowledged something.
    pub(super) failover_of_all: Duration,
    /// How long the broker took to be ready again, from its start: recovery included.
    pub(super) recovery: Duration,
}

/// What is watched on the way.
pub(super) struct Watched<'a> {
    pub(super) client: &'a Client,
    pub(super) topic: &'a str,
    pub(super) producer: &'a Producer,
    pub(super) sent: &'a Sent,
    /// When producing began.
    pub(super) started: Instant,
}

/// Kills and restarts until batches were caught unacknowledged.
pub(super) async fn cause(brokers: &mut Brokers, watched: &Watched<'_>) -> Result<Outage, Failure> {
    for kills in 1..=KILLS_MAX {
        let outage = kill_and_restart(brokers, watched, kills).await?;
        if outage.unacknowledged_batches > 0 {
            return Ok(outage);
        }
        brokers.until_in_sync(watched.client, watched.topic).await?;
    }
    Err(Failure::new(format_args!(
        "in {KILLS_MAX} kills, no batch was unacknowledged: nothing is proven"
    )))
}

async fn kill_and_restart(
    brokers: &mut Brokers,
    watched: &Watched<'_>,
    kills: u32,
) -> Result<Outage, Failure> {
    let leader = brokers.leader(watched.client, watched.topic).await?;
    let (target, producer, sent) = (leader.clone(), watched.producer.clone(), watched.sent.clone());
    let at_kill = tokio::task::spawn_blocking(move || {
        // Who came too late once comes earlier.
        let under_way = if kills == 1 { UNDER_WAY } else { Duration::ZERO };
        kill_in_flight(&target, &producer, &sent, under_way)
    });
    let (killed, before) = at_kill.await.map_err(Failure::new)??;
    brokers.bury(leader.broker).await?;
    tokio::time::sleep(ON_THE_WAY).await;
    let unacknowledged_batches = still_unacknowledged(&before, &watched.producer.stats());

    let watching = next_acknowledgements(watched.sent, &leader.partitions, killed);
    let (recovery, (failover, failover_of_all)) = if brokers.count() == 1 {
        let coming_back = async {
            tokio::time::sleep(DOWN).await;
            brokers.restart(leader.broker).await
        };
        tokio::try_join!(coming_back, watching)?
    } else {
        let failover = watching.await?;
        (brokers.restart(leader.broker).await?, failover)
    };
    Ok(Outage {
        leader,
        kills,
        killed_at: killed.duration_since(watched.started),
        unacknowledged_batches,
        failover,
        failover_of_all,
        recovery,
    })
}

/// Of the batches sent before the kill, how many are unresolved after it: batches sent since then do not count.
fn still_unacknowledged(before: &ProducerStats, after: &ProducerStats) -> u64 {
    let sent_since = after.batches.saturating_sub(before.batches);
    after
        .unacknowledged_batches
        .saturating_sub(sent_since)
        .min(before.unacknowledged_batches)
}

/// SIGKILL at a moment when batches of this leader's are in flight: when that was, and how the producer stood then.
fn kill_in_flight(
    leader: &Leader,
    producer: &Producer,
    sent: &Sent,
    under_way: Duration,
) -> Result<(Instant, ProducerStats), Failure> {
    let Some(pid) = rustix::process::Pid::from_raw(leader.pid.cast_signed()) else {
        return Err(Failure::new("the broker has no process id"));
    };
    let patience = Instant::now() + PATIENCE;
    loop {
        if producer.stats().unacknowledged_batches > 0 && sent.is_under_way(&leader.partitions) {
            std::thread::sleep(under_way);
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

/// Watches these partitions: when, since the kill, the first of them acknowledged something again, and when all had.
async fn next_acknowledgements(
    sent: &Sent,
    partitions: &BTreeSet<PartitionId>,
    killed: Instant,
) -> Result<(Duration, Duration), Failure> {
    let looked = Instant::now();
    let mut waiting = sent.unresolved(partitions);
    while waiting.len() < partitions.len() && looked.elapsed() < NOTHING_SENT {
        tokio::time::sleep(Duration::from_millis(1)).await;
        // The first of each partition as it was seen first.
        let now = sent.unresolved(partitions);
        for (partition, delivery) in now {
            waiting.entry(partition).or_insert(delivery);
        }
    }
    let mut seen: Vec<Duration> = Vec::new();
    while !waiting.is_empty() {
        waiting.retain(|_, delivery| {
            let acknowledged = delivery.try_get().is_some();
            if acknowledged {
                seen.push(killed.elapsed());
            }
            !acknowledged
        });
        if killed.elapsed() > PATIENCE {
            return Err(Failure::new(format_args!(
                "partitions {:?} acknowledge nothing any more since their leader was killed",
                waiting
                    .keys()
                    .map(|partition| partition.get())
                    .collect::<Vec<_>>()
            )));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    match (seen.first(), seen.last()) {
        (Some(first), Some(last)) => Ok((*first, *last)),
        _ => Err(Failure::new(
            "nothing was sent to the partitions of the broker that was killed: nothing is proven",
        )),
    }
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
