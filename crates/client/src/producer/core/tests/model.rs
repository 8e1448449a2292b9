//! Brokers and a network, as far as a producer can tell: one log per partition, links that keep order until they
//! break, and requests that are read long after their link broke.

use super::*;

pub(super) struct Request {
    pub(super) request: RequestId,
    pub(super) batch: BatchId,
    pub(super) lane: LaneId,
    pub(super) stamp: Option<ProducerStamp>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) batch: BatchId,
    pub(super) records: u32,
    pub(super) base: u64,
    stamp: Option<ProducerStamp>,
}

#[derive(Default)]
struct Link {
    requests: VecDeque<Request>,
    answers: VecDeque<(RequestId, Result<Acked, Failure>)>,
}

struct Partition {
    leader: Option<u64>,
    epoch: u32,
    log: Vec<Entry>,
    /// Entries that no election takes away.
    committed: usize,
    /// The producer's state begins here: what is before was forgotten.
    remembered_from: usize,
}

pub(super) struct Brokers {
    partitions: Vec<Partition>,
    links: BTreeMap<BrokerId, Link>,
    /// Read by the broker though their link is gone.
    zombies: Vec<VecDeque<Request>>,
    pub(super) bad: BTreeSet<BatchId>,
    pub(super) records: BTreeMap<BatchId, u32>,
    idempotent: bool,
}

impl Brokers {
    pub(super) fn new(lanes: u64, idempotent: bool) -> Self {
        let partition = |lane| Partition {
            leader: Some(lane % BROKERS),
            epoch: 0,
            log: Vec::new(),
            committed: 0,
            remembered_from: 0,
        };
        Self {
            partitions: (0..lanes).map(partition).collect(),
            links: BTreeMap::new(),
            zombies: Vec::new(),
            bad: BTreeSet::new(),
            records: BTreeMap::new(),
            idempotent,
        }
    }

    fn partition(&mut self, lane: u64) -> &mut Partition {
        &mut self.partitions[usize::try_from(lane).unwrap()]
    }

    pub(super) fn route(&self, lane: u64) -> Route {
        let partition = &self.partitions[usize::try_from(lane).unwrap()];
        Route {
            leader: partition
                .leader
                .map(|id| BrokerId::new(u32::try_from(id).unwrap())),
            epoch: LeaderEpoch::new(partition.epoch),
        }
    }

    pub(super) fn log(&self, lane: u64) -> &[Entry] {
        &self.partitions[usize::try_from(lane).unwrap()].log
    }

    pub(super) fn elect(&mut self, lane: u64, leader: Option<u64>, loses: bool) {
        let partition = self.partition(lane);
        partition.leader = leader;
        partition.epoch += 1;
        if loses {
            partition.log.truncate(partition.committed);
            partition.remembered_from = partition.remembered_from.min(partition.committed);
        } else {
            partition.committed = partition.log.len();
        }
    }

    /// As after seven days: only when nothing of the producer's can still be on its way.
    pub(super) fn forget_producers(&mut self, lane: u64) -> bool {
        let quiet = self.zombies.is_empty()
            && self
                .links
                .values()
                .all(|link| link.requests.is_empty() && link.answers.is_empty());
        let partition = self.partition(lane);
        let quiet = quiet && partition.committed == partition.log.len() && !partition.log.is_empty();
        if quiet {
            partition.remembered_from = partition.log.len();
        }
        quiet
    }

    pub(super) fn heal(&mut self) {
        for lane in 0..self.partitions.len() as u64 {
            if self.partition(lane).leader.is_none() {
                self.elect(lane, Some(lane % BROKERS), false);
            }
        }
    }

    pub(super) fn send(&mut self, broker: BrokerId, request: Request) {
        self.links.entry(broker).or_default().requests.push_back(request);
    }

    pub(super) fn break_link(&mut self, broker: BrokerId, random: &mut Jitter) {
        let link = self.links.remove(&broker).unwrap_or_default();
        if random.next().is_multiple_of(2) && !link.requests.is_empty() {
            self.zombies.push(link.requests);
        }
    }

    pub(super) fn has_zombies(&self) -> bool {
        !self.zombies.is_empty()
    }

    /// One of them is read, the first of any broken link.
    pub(super) fn zombie(&mut self, random: &mut Jitter) {
        if self.zombies.is_empty() {
            return;
        }
        let link = usize::try_from(random.next() % self.zombies.len() as u64).unwrap();
        if let Some(request) = self.zombies[link].pop_front() {
            let _unheard = self.process(&request, random, 0);
        }
        self.zombies.retain(|link| !link.is_empty());
    }

    pub(super) fn next_answer(&mut self, broker: BrokerId) -> Option<(RequestId, Result<Acked, Failure>)> {
        self.links.get_mut(&broker)?.answers.pop_front()
    }

    /// The broker reads one request and answers it. Trouble is in percent.
    pub(super) fn read(&mut self, broker: BrokerId, random: &mut Jitter, trouble: u64) {
        let Some(request) = self
            .links
            .get_mut(&broker)
            .and_then(|link| link.requests.pop_front())
        else {
            return;
        };
        let leader = self.route(request.lane.0 as u64).leader;
        let answer = if leader == Some(broker) {
            self.process(&request, random, trouble)
        } else {
            Err(Failure::new(ErrorCode::NotLeader, "not the leader"))
        };
        if random.next() % 1000 < trouble / 10 {
            // It hangs: no answer to this one or to any after it.
            return;
        }
        self.links
            .entry(broker)
            .or_default()
            .answers
            .push_back((request.request, answer));
    }

    fn process(&mut self, request: &Request, random: &mut Jitter, trouble: u64) -> Result<Acked, Failure> {
        let fail = |code: ErrorCode| Err(Failure::new(code, "so the model has it"));
        if self.bad.contains(&request.batch) {
            return fail(ErrorCode::InvalidTimestamp);
        }
        let early = [
            ErrorCode::StorageFull,
            ErrorCode::Throttled,
            ErrorCode::NotEnoughReplicas,
        ];
        let late = [
            ErrorCode::RequestTimedOut,
            ErrorCode::NotEnoughReplicasAfterAppend,
            ErrorCode::NotLeader,
        ];
        let kind = usize::try_from(random.next() % 3).unwrap();
        if random.next() % 100 < trouble {
            return fail(early[kind]);
        }
        let records = self.records[&request.batch];
        let idempotent = self.idempotent;
        let partition = self.partition(request.lane.0 as u64);
        let place = match request.stamp.filter(|_| idempotent) {
            None => Ok(None),
            Some(stamp) => partition.place_for(stamp, records),
        };
        let place = match place {
            Err(code) => return fail(code),
            Ok(place) => place,
        };
        let duplicate = place.is_some();
        let place = place.unwrap_or_else(|| {
            let base = partition
                .log
                .last()
                .map_or(0, |last| last.base + u64::from(last.records));
            partition.log.push(Entry {
                batch: request.batch,
                records,
                base,
                stamp: request.stamp,
            });
            partition.log.len() - 1
        });
        if random.next() % 100 < trouble {
            return fail(late[kind]);
        }
        partition.committed = partition.committed.max(place + 1);
        Ok(Acked {
            base_offset: Some(Offset::new(partition.log[place].base)),
            leader_epoch: LeaderEpoch::new(partition.epoch),
            durability: None,
            duplicate,
            append_time: None,
        })
    }
}

impl Partition {
    /// Where the batch with this stamp is, if it is there; `None` if it is the next.
    fn place_for(&self, stamp: ProducerStamp, records: u32) -> Result<Option<usize>, ErrorCode> {
        let known = self.log[self.remembered_from..].iter().rev();
        let mut known = known.filter_map(|entry| entry.stamp.map(|stamp| (stamp, entry.records)));
        let Some((last, last_records)) = known.next() else {
            return match stamp.base_sequence.get() {
                0 => Ok(None),
                _ => Err(ErrorCode::UnknownProducer),
            };
        };
        if stamp.epoch < last.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if stamp.epoch > last.epoch {
            return match stamp.base_sequence.get() {
                0 => Ok(None),
                _ => Err(ErrorCode::OutOfOrderSequence),
            };
        }
        if stamp.base_sequence == last.base_sequence.plus(last_records) {
            return Ok(None);
        }
        let mut same_epoch = 0;
        for (place, entry) in self.log.iter().enumerate().skip(self.remembered_from).rev() {
            let Some(there) = entry.stamp.filter(|there| there.epoch == stamp.epoch) else {
                continue;
            };
            same_epoch += 1;
            if there.base_sequence == stamp.base_sequence && entry.records == records {
                return if same_epoch <= 5 {
                    Ok(Some(place))
                } else {
                    Err(ErrorCode::DuplicateSequence)
                };
            }
        }
        Err(ErrorCode::OutOfOrderSequence)
    }
}
