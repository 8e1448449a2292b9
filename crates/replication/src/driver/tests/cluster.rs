//! Some replicas of one partition, and the messages between them carried by hand.

use super::bench::Bench;
use crate::{
    Acks, Appended, FetchResult, FetchToken, Fetched, FollowerFetch, Followership, Input, IsrAnswered,
    IsrProposal, IsrResult, LeaderRecord, Leadership, PartitionConfig, Position, ProduceError, Verdict,
};
use bytes::Bytes;
use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, StoredBatch, iter_batches};
use quipu_storage::LogConfig;
use std::time::Duration;

/// Brokers 1, 2, 3.
pub(super) struct Cluster {
    pub(super) brokers: Vec<Bench>,
    /// What the metadata says of the partition.
    pub(super) leadership: Leadership,
    pub(super) leader: usize,
    /// What a step of the leader said, before the step after it.
    proposed: Option<IsrProposal>,
    answers: Vec<Result<Appended, ProduceError>>,
}

pub(super) fn id(broker: usize) -> BrokerId {
    BrokerId::new(u32::try_from(broker).unwrap())
}

/// The present lifetime of every broker.
pub(super) const LIFE: BrokerEpoch = BrokerEpoch::new(100);

impl Cluster {
    /// Three, all in sync, the first of them leading in epoch 1.
    pub(super) fn new(config: &PartitionConfig, min_insync: u32) -> Self {
        Self::with_log(config, min_insync, LogConfig::default())
    }

    pub(super) fn with_log(config: &PartitionConfig, min_insync: u32, log: LogConfig) -> Self {
        let all = [1, 2, 3].map(id);
        let mut cluster = Self {
            brokers: all.map(|me| Bench::new(me, config.clone(), log)).into(),
            leadership: Leadership {
                record: LeaderRecord {
                    leader_epoch: LeaderEpoch::new(0),
                    partition_epoch: PartitionEpoch::new(0),
                    replicas: all.to_vec(),
                    growing: false,
                    isr: all.to_vec(),
                    min_insync,
                },
                eligible: all.map(|broker| (broker, LIFE)).to_vec(),
            },
            leader: 1,
            proposed: None,
            answers: Vec::new(),
        };
        cluster.elect(1);
        cluster
    }

    pub(super) fn on(&mut self, broker: usize) -> &mut Bench {
        &mut self.brokers[broker - 1]
    }

    pub(super) fn end(&self, broker: usize) -> u64 {
        self.brokers[broker - 1].driver.view().log_end.get()
    }

    pub(super) fn hw(&self, broker: usize) -> u64 {
        self.brokers[broker - 1].driver.view().high_watermark.get()
    }

    /// The metadata elects this one, and tells everybody.
    pub(super) fn elect(&mut self, broker: usize) {
        self.elect_quietly(broker);
        for broker in 1..=3 {
            self.tell(broker);
        }
    }

    /// The metadata elects this one; nobody knows yet.
    pub(super) fn elect_quietly(&mut self, broker: usize) {
        self.leadership.record.leader_epoch = self.leadership.record.leader_epoch.next();
        self.leadership.record.partition_epoch = self.leadership.record.partition_epoch.next();
        self.leader = broker;
    }

    /// The in-sync replicas are these now; nobody knows yet.
    pub(super) fn set_isr(&mut self, isr: &[usize]) {
        self.leadership.record.isr = isr.iter().copied().map(id).collect();
        self.leadership.record.partition_epoch = self.leadership.record.partition_epoch.next();
    }

    /// Tells a broker what the metadata says.
    pub(super) fn tell(&mut self, broker: usize) {
        let input = if broker == self.leader {
            Input::Lead(self.leadership.clone())
        } else {
            Input::Follow(Followership {
                leader: id(self.leader),
                leader_epoch: self.leadership.record.leader_epoch,
                partition_epoch: self.leadership.record.partition_epoch,
                electable: self.leadership.record.isr.contains(&id(broker)),
            })
        };
        self.on(broker).step(input);
    }

    /// What a follower would send now.
    pub(super) fn position(&self, broker: usize) -> Position {
        let bench = &self.brokers[broker - 1];
        let (view, log) = (bench.driver.view(), bench.driver.log());
        Position {
            leader_epoch: view.following.expect("a follower").epoch,
            fetch_offset: view.log_end,
            last_fetched_epoch: log.last_epoch(),
            flushed: view.flushed,
            log_start: view.log_start,
        }
    }

    pub(super) fn ask(&mut self, leader: usize, broker: usize, life: u64, position: Position) -> Verdict {
        let fetch = FollowerFetch {
            token: FetchToken(7),
            broker: id(broker),
            broker_epoch: BrokerEpoch::new(life),
            position,
        };
        self.keep(leader);
        self.on(leader).step(Input::FollowerFetch(fetch));
        let verdicts = std::mem::take(&mut self.on(leader).effects.fetches);
        assert_eq!(verdicts.len(), 1);
        verdicts[0].1
    }

    /// Keeps what a broker said with its latest step.
    fn keep(&mut self, broker: usize) {
        let bench = &mut self.brokers[broker - 1];
        self.proposed = bench.effects.isr_proposal.take().or(self.proposed.take());
        let answers = bench.answers();
        self.answers.extend(answers.into_iter().map(|(_, result)| result));
    }

    /// What producers were told since the last call.
    pub(super) fn answers(&mut self) -> Vec<Result<Appended, ProduceError>> {
        for broker in 1..=3 {
            self.keep(broker);
        }
        std::mem::take(&mut self.answers)
    }

    /// A follower asks, and this is what it is to be told.
    pub(super) fn fetch(&mut self, broker: usize) -> Fetched {
        let position = self.position(broker);
        let leader = self.leader;
        let verdict = self.ask(leader, broker, LIFE.get(), position);
        self.answer(leader, position, verdict)
    }

    pub(super) fn answer(&self, leader: usize, position: Position, verdict: Verdict) -> Fetched {
        let result = match verdict {
            Verdict::Accepted {
                from,
                high_watermark,
                log_start,
                log_end,
            } => FetchResult::Accepted {
                high_watermark,
                log_start,
                batches: self.read(leader, from, log_end),
                tombstone_floor: self.brokers[leader - 1].driver.reader().tombstone_floor(),
                cleaned_to: self.brokers[leader - 1].driver.reader().cleaned_to(),
            },
            Verdict::Diverging { epoch, end_offset } => FetchResult::Diverging { epoch, end_offset },
            Verdict::OutOfRange { log_start } => FetchResult::OutOfRange { log_start },
            Verdict::Refused(code) => FetchResult::Refused(code),
        };
        Fetched {
            leader_epoch: position.leader_epoch,
            fetch_offset: position.fetch_offset,
            last_fetched_epoch: position.last_fetched_epoch,
            result,
        }
    }

    pub(super) fn read(&self, broker: usize, from: Offset, to: Offset) -> Vec<StoredBatch> {
        let reader = self.brokers[broker - 1].driver.reader();
        let bytes = reader.read(from, to, 1 << 20).unwrap().bytes;
        iter_batches(bytes).collect::<Result<_, _>>().unwrap()
    }

    /// One round of a follower: ask, take, flush, tell.
    pub(super) fn copy(&mut self, broker: usize) {
        let fetched = self.fetch(broker);
        self.on(broker).step(Input::Fetched(fetched));
        self.on(broker).flush();
        let _ = self.fetch(broker);
    }

    /// Followers copy until they have everything and know so.
    pub(super) fn catch_up(&mut self, brokers: &[usize]) {
        for _ in 0..20 {
            for broker in brokers {
                self.copy(*broker);
            }
        }
        let leader = self.leader;
        let end = self.end(leader);
        assert!(brokers.iter().all(|broker| self.end(*broker) == end), "copied");
    }

    pub(super) fn produce(&mut self, batches: impl IntoIterator<Item = Bytes>) {
        let leader = self.leader;
        self.on(leader).produce(Acks::All, batches);
    }

    pub(super) fn flush(&mut self) {
        let leader = self.leader;
        self.on(leader).flush();
    }

    pub(super) fn tick_after(&mut self, wait: Duration) {
        let leader = self.leader;
        self.keep(leader);
        let bench = self.on(leader);
        bench.now.mono = bench.now.mono.after(wait);
        bench.tick();
    }

    /// The proposal that the leader made since the last call.
    pub(super) fn proposal(&mut self) -> Option<IsrProposal> {
        self.keep(self.leader);
        self.proposed.take()
    }

    pub(super) fn answered(&mut self, proposal: IsrProposal, repeated: bool, result: IsrResult) {
        let leader = self.leader;
        self.on(leader).step(Input::IsrAnswered(IsrAnswered {
            proposal,
            repeated,
            result,
        }));
    }

    /// The controllers do as proposed, and answer.
    pub(super) fn grant(&mut self, proposal: IsrProposal) {
        self.leadership.record.isr = proposal.isr.iter().map(|(broker, _)| *broker).collect();
        self.leadership.record.partition_epoch = self.leadership.record.partition_epoch.next();
        let record = self.leadership.record.clone();
        self.answered(proposal, false, IsrResult::Done(record));
    }
}
