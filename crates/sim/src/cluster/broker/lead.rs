//! A leader's side: what each follower asked last, parked until there is something for it.

use super::Broker;
use crate::cluster::message::{
    Address, BrokerEvent, BrokerIndex, Message, PartitionIndex, ReplicateRequest, ReplicateResponse,
};
use crate::cluster::shared::Shared;
use crate::invariants;
use quipu_record::{BrokerEpoch, LeaderEpoch, Offset, iter_batches};
use quipu_replication::{
    FetchResult, FetchToken, Fetched, FollowerFetch, FollowerHeard, Input, Position, Tick, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a fetch waits when there is nothing.
const WAIT: Duration = Duration::from_millis(120);

/// The followers of what this broker leads.
#[derive(Debug)]
pub(super) struct Leading {
    followers: Vec<Session>,
    /// Partitions in which something happened.
    fresh: BTreeSet<PartitionIndex>,
    pub(super) verdicts: Vec<(FetchToken, Verdict)>,
    next_token: u64,
}

#[derive(Debug, Default)]
struct Session {
    asked: Option<Asked>,
    /// The last request that was answered.
    answered: u64,
    /// The last high watermark and log start that were told, and at which place: told at another one, they were dropped.
    told: BTreeMap<PartitionIndex, (LeaderEpoch, Offset, Offset, Offset)>,
    /// The latest request that was heard: when it was sent, in which lifetime, and the epoch it names for each partition.
    begun: Option<(Tick, BrokerEpoch, BTreeMap<PartitionIndex, LeaderEpoch>)>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    broker_epoch: BrokerEpoch,
    positions: Vec<(PartitionIndex, Position)>,
    until: Tick,
    /// It was not looked at yet.
    fresh: bool,
}

impl Leading {
    pub(super) fn new(brokers: usize) -> Self {
        Self {
            followers: (0..brokers).map(|_| Session::default()).collect(),
            fresh: BTreeSet::new(),
            verdicts: Vec::new(),
            next_token: 0,
        }
    }

    /// Something happened in a partition.
    pub(super) fn news(&mut self, partition: PartitionIndex) {
        self.fresh.insert(partition);
    }
}

impl Broker {
    /// A follower asks.
    pub(super) fn fetched_by(
        &mut self,
        shared: &mut Shared,
        follower: BrokerIndex,
        request: ReplicateRequest,
    ) {
        let now = shared.schedule.now();
        let Some(process) = &mut self.process else { return };
        let session = &mut process.leading.followers[follower];
        if request.anew {
            session.told.clear();
        }
        if session
            .begun
            .as_ref()
            .is_none_or(|(sent, ..)| *sent < request.sent)
        {
            let epochs = request.positions.iter();
            let epochs = epochs.map(|(partition, position)| (*partition, position.leader_epoch));
            session.begun = Some((request.sent, request.broker_epoch, epochs.collect()));
        }
        session.asked = Some(Asked {
            number: request.number,
            broker_epoch: request.broker_epoch,
            positions: request.positions,
            until: now.after(WAIT),
            fresh: true,
        });
        self.look_at_vouched(shared);
        self.plan(shared, WAIT, BrokerEvent::Replicate);
        self.plan_replicate(shared);
    }

    /// What is led here would be read now by somebody who wants the latest.
    fn look_at_vouched(&self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        let now = shared.schedule.now();
        for (partition, replica) in &process.replicas {
            let sessions = process.leading.followers.iter().zip(&shared.plan.brokers);
            let heard = sessions.filter_map(|(session, broker)| {
                let (at, broker_epoch, epochs) = session.begun.as_ref()?;
                Some(FollowerHeard {
                    broker: *broker,
                    broker_epoch: *broker_epoch,
                    leader_epoch: *epochs.get(partition)?,
                    at: *at,
                })
            });
            let heard: Vec<_> = heard.collect();
            if let Some(vouched) = replica.driver.vouched(now, &heard) {
                invariants::on_vouched(shared, *partition, &replica.driver.view(), vouched);
            }
        }
    }

    pub(super) fn answer_followers(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        let fresh = std::mem::take(&mut process.leading.fresh);
        for follower in 0..shared.plan.brokers.len() {
            self.answer_follower(shared, follower, &fresh);
        }
    }

    fn answer_follower(
        &mut self,
        shared: &mut Shared,
        follower: BrokerIndex,
        fresh: &BTreeSet<PartitionIndex>,
    ) {
        let now = shared.schedule.now();
        let Some(process) = &mut self.process else { return };
        let Some(asked) = &mut process.leading.followers[follower].asked else {
            return;
        };
        let over = asked.until <= now;
        let whole = std::mem::take(&mut asked.fresh) || over;
        let (number, broker_epoch) = (asked.number, asked.broker_epoch);
        let positions: Vec<_> = asked
            .positions
            .iter()
            .filter(|(partition, _)| whole || fresh.contains(partition))
            .copied()
            .collect();
        let mut parts = Vec::new();
        for (partition, position) in positions {
            let fetched = self.judged(shared, follower, partition, (broker_epoch, position));
            parts.extend(fetched.map(|fetched| (partition, fetched)));
        }
        if parts.is_empty() && !over {
            return;
        }
        let Some(process) = &mut self.process else { return };
        let session = &mut process.leading.followers[follower];
        session.asked = None;
        let response = ReplicateResponse {
            number,
            after: std::mem::replace(&mut session.answered, number),
            parts,
        };
        shared.send(
            self.address(),
            Address::Broker(follower),
            Message::Replicated(response),
        );
    }

    /// What is to be said to a follower's position; `None`: nothing new.
    fn judged(
        &mut self,
        shared: &mut Shared,
        follower: BrokerIndex,
        partition: PartitionIndex,
        (broker_epoch, position): (BrokerEpoch, Position),
    ) -> Option<Fetched> {
        let leading = &mut self.process.as_mut()?.leading;
        leading.next_token += 1;
        leading.verdicts.clear();
        let token = FetchToken(leading.next_token);
        let fetch = FollowerFetch {
            token,
            broker: shared.plan.brokers[follower],
            broker_epoch,
            position,
        };
        self.step(shared, partition, Input::FollowerFetch(fetch));
        let process = self.process.as_mut()?;
        let at = process.leading.verdicts.iter().position(|(of, _)| *of == token);
        let verdict = match at {
            Some(at) => process.leading.verdicts.swap_remove(at).1,
            // Nothing of this partition is here.
            None => Verdict::Refused(quipu_record::ErrorCode::NotLeader),
        };
        let driver = process.replicas.get(&partition).map(|replica| &replica.driver);
        let leader_epoch = driver
            .and_then(|driver| driver.view().leading)
            .map_or(position.leader_epoch, |leading| leading.epoch);
        let session = &mut process.leading.followers[follower];
        let result = match verdict {
            Verdict::Accepted {
                from,
                high_watermark,
                log_start,
                log_end,
            } => {
                let mut batches = Vec::new();
                if from < log_end {
                    let bytes = 300 << shared.chance.below(6);
                    match driver?.reader().read(from, log_end, bytes) {
                        Ok(read) => batches.extend(iter_batches(read.bytes).flatten()),
                        Err(error) => {
                            shared.note(format_args!("b{} p{partition} read at {from}: {error}", self.me));
                            self.unreadable(shared, partition, &error);
                            return None;
                        }
                    }
                }
                let news = (leader_epoch, from, high_watermark, log_start);
                let told = session.told.insert(partition, news);
                if batches.is_empty() && told == Some(news) {
                    return None;
                }
                FetchResult::Accepted {
                    high_watermark,
                    log_start,
                    tombstone_floor: driver?.reader().tombstone_floor(),
                    cleaned_to: driver?.reader().cleaned_to(),
                    batches,
                }
            }
            Verdict::Diverging { epoch, end_offset } => FetchResult::Diverging { epoch, end_offset },
            Verdict::OutOfRange { log_start } => FetchResult::OutOfRange { log_start },
            Verdict::Refused(code) => FetchResult::Refused(code),
        };
        Some(Fetched {
            leader_epoch,
            fetch_offset: position.fetch_offset,
            last_fetched_epoch: position.last_fetched_epoch,
            result,
        })
    }
}
