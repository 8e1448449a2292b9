//! The end of the story, once everything is whole again: every partition is read to its end by new clients.

use crate::error::WorkloadError;
use crate::recorder::Actor;
use crate::site::{AGAIN_AFTER, Site};
use crate::tasks::flat;
use crate::value::read_records;
use crate::workloads::read::{latest, offset_at, poll};
use quipu_checker::{Assign, Final, Key, Op, ReadRecord};
use quipu_client::{BrokerId, Client, ConsumerConfig, Offset, PartitionId, Start};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A round that has not reached the end by then gives way to a new client's.
const ROUND: Duration = Duration::from_secs(10);
/// Partitions that are read at a time.
const AT_A_TIME: usize = 4;
/// Under this name the history has what a client reads, beside what replicas hold: no broker's, which count from 0.
const CLIENT: BrokerId = BrokerId::new(u32::MAX);

/// What was read in the end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Polled {
    /// Records.
    pub records: u64,
    /// Where each partition ends.
    pub ends: BTreeMap<Key, Offset>,
    /// How long it took.
    pub took: Duration,
}

/// Reads every partition from its beginning to its end, as new clients see it, in rounds. The caller has told
/// [`quipu_checker::Op::FinalPolls`] before, and nothing is sent any more.
///
/// # Errors
/// A partition was not read to its end within that time.
pub async fn poll_to_the_end(site: &Site, within: Duration) -> Result<Polled, WorkloadError> {
    let begun = Instant::now();
    let polled = Arc::<Mutex<Polled>>::default();
    let mut reading = JoinSet::new();
    let mut first = Ok(());
    for (partition, key) in site.partitions() {
        if reading.len() >= AT_A_TIME
            && let Some(ended) = reading.join_next().await
        {
            first = first.and(flat(ended));
        }
        let last = LastReader {
            actor: site.recorder.actor(),
            site: site.clone(),
            partition,
            key: key.clone(),
            at: None,
            log_start: Offset::ZERO,
            deadline: begun + within,
            within,
            records: 0,
        };
        let polled = Arc::clone(&polled);
        reading.spawn(async move {
            let key = last.key.clone();
            let (records, end) = last.run().await?;
            let mut polled = polled.lock().unwrap_or_else(PoisonError::into_inner);
            polled.records += records;
            polled.ends.insert(key, end);
            Ok(())
        });
    }
    while let Some(ended) = reading.join_next().await {
        first = first.and(flat(ended));
    }
    first?;
    let mut polled = polled.lock().unwrap_or_else(PoisonError::into_inner).clone();
    polled.took = begun.elapsed();
    Ok(polled)
}

/// Reads one partition to its end.
struct LastReader {
    actor: Actor,
    site: Site,
    partition: PartitionId,
    key: Key,
    /// Where it goes on; `None`: it has not begun.
    at: Option<Offset>,
    log_start: Offset,
    deadline: Instant,
    within: Duration,
    records: u64,
}

impl LastReader {
    async fn run(mut self) -> Result<(u64, Offset), WorkloadError> {
        let mut last = "no round was made".to_owned();
        while Instant::now() < self.deadline {
            match self.round().await? {
                Ok(end) => return Ok((self.records, end)),
                Err(why) => last = why,
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Err(WorkloadError::NotReadToTheEnd {
            key: self.key,
            seconds: self.within.as_secs(),
            last,
        })
    }

    /// One round by a new client: the end, or why it was not reached.
    async fn round(&mut self) -> Result<Result<Offset, String>, WorkloadError> {
        let until = (Instant::now() + ROUND).min(self.deadline);
        let client = match Client::connect(self.site.config.clone()).await {
            Ok(client) => client,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let end = match latest(&mut self.actor, &client, &self.site, self.partition).await? {
            Ok(end) => end,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut at = match self.begin(&client).await? {
            Ok(at) => at,
            Err(why) => return Ok(Err(why)),
        };
        let mut consumer = client.consumer(ConsumerConfig::default());
        let start = Start::Offset(at);
        if let Err(error) = consumer
            .add_partition(&self.site.topic, self.partition, start)
            .await
        {
            return Ok(Err(error.to_string()));
        }
        // An empty log is told as well.
        self.tell(Vec::new())?;
        while at < end {
            if Instant::now() > until {
                return Ok(Err(format!("it had come to {at} of {end}")));
            }
            let Some(came) = poll(&mut self.actor, &mut consumer, &self.key, at).await? else {
                return Ok(Err(format!("it could not be read on from {at}")));
            };
            if let Some(batch) = came.batch {
                self.tell(read_records(&batch))?;
            }
            at = came.next;
            self.at = Some(at);
        }
        Ok(Ok(end))
    }

    /// Where this round begins, told to the history.
    async fn begin(&mut self, client: &Client) -> Result<Result<Offset, String>, WorkloadError> {
        let at = match self.at {
            Some(at) => at,
            None => match offset_at(client, &self.site.topic, self.partition, Start::Earliest).await {
                Ok(at) => at,
                Err(error) => return Ok(Err(error.to_string())),
            },
        };
        let assign = Op::Assign(Assign {
            keys: vec![self.key.clone()],
            from_beginning: self.at.is_none(),
        });
        self.actor.invoke(assign.clone())?;
        self.actor.ok(assign)?;
        if self.at.is_none() {
            self.log_start = at;
        }
        self.at = Some(at);
        Ok(Ok(at))
    }

    /// Tells what was read as a piece of the log that clients see.
    fn tell(&mut self, records: Vec<ReadRecord>) -> Result<(), WorkloadError> {
        self.records += records.len() as u64;
        let piece = Final::new(CLIENT, self.key.clone(), self.log_start, records);
        self.site.recorder.tell(Op::Final(piece))?;
        Ok(())
    }
}
