//! Everything there is in one history.

use super::check::note;
use super::host::Host;
use super::net::Topics;
use super::{Counts, Dice};
use crate::record::{Change, Current, Record};
use crate::{
    Committer, Coordinator, Effects, GroupConfig, GroupError, GroupId, GroupRecord, Input, MemberId, Request,
    RequestToken, Response,
};
use quipu_record::{Offset, Tick, Timestamp, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) type Held = Result<(), String>;

/// An answer that leaves once the log is committed up to `needs`.
#[derive(Debug)]
pub(super) struct HeldAnswer {
    pub(super) needs: usize,
    pub(super) token: RequestToken,
    pub(super) answer: Result<Response, GroupError>,
}

/// What the model knows of a request that it made.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Heartbeat { host: usize, sent: Tick },
    Other,
}

/// One batch in the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<GroupRecord>,
    /// What it sets, as the model understands the request; `None`: taken away.
    pub(super) writes: Vec<(TopicPartition, Option<Offset>)>,
    /// Whose commit it is.
    pub(super) by: Option<Committer>,
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) counts: Counts,
    pub(super) group: GroupId,
    pub(super) config: GroupConfig,
    pub(super) now: Tick,
    pub(super) wall: Timestamp,
    pub(super) topics: Topics,
    pub(super) coordinator: Coordinator,
    pub(super) log: Vec<Batch>,
    pub(super) committed: usize,
    /// The log is not committed for now.
    pub(super) stuck: bool,
    pub(super) held: Vec<HeldAnswer>,
    pub(super) asked: BTreeMap<RequestToken, Asked>,
    pub(super) hosts: Vec<Host>,
    /// Requests that will come late, or never.
    pub(super) late: Vec<Request>,
    /// What the deadline took from members that may not know it.
    pub(super) taken: BTreeSet<(MemberId, TopicPartition)>,
    /// What members have, by the records alone.
    pub(super) ledger: BTreeMap<MemberId, Current>,
    pub(super) deadline: Option<Tick>,
    pub(super) serial: u64,
    /// Answers are lost for now.
    pub(super) faulty: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let config = GroupConfig {
            assignment_interval: Duration::from_millis(if dice.one_in(2) { 0 } else { 500 }),
            group_max_size: 5,
            ..GroupConfig::default()
        };
        let mut coordinator = Coordinator::new(config.clone());
        coordinator.loaded(Tick::default(), Timestamp::new(0));
        let topics = Topics::new(&mut dice);
        let mut world = Self {
            dice,
            counts: Counts::default(),
            group: GroupId::new("g").unwrap_or_else(|error| unreachable!("{error}")),
            config,
            now: Tick::default().after(Duration::from_secs(1)),
            wall: Timestamp::new(1_000),
            topics,
            coordinator,
            log: Vec::new(),
            committed: 0,
            stuck: false,
            held: Vec::new(),
            asked: BTreeMap::new(),
            hosts: Vec::new(),
            late: Vec::new(),
            taken: BTreeSet::new(),
            ledger: BTreeMap::new(),
            deadline: None,
            serial: 0,
            faulty: true,
        };
        world.counts.histories = 0;
        world
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn token(&mut self, asked: Asked) -> RequestToken {
        let token = RequestToken::new(self.serial());
        self.asked.insert(token, asked);
        token
    }

    /// What a partition's committed offset is, by the model alone: the last write in the log.
    pub(super) fn expected(&self, at: TopicPartition) -> Option<Offset> {
        let writes = self.log.iter().rev().flat_map(|batch| batch.writes.iter().rev());
        let mut of_it = writes.filter(|(written, _)| *written == at);
        of_it.next().and_then(|(_, offset)| *offset)
    }

    /// The coordinator takes one step; what it wants stored is stored.
    pub(super) fn step(&mut self, input: Input) -> Held {
        let is_tick = Self::is_tick(&input);
        if is_tick {
            self.note_taken();
        }
        let request = match &input {
            Input::Request(_, request) => Some(request.clone()),
            _ => None,
        };
        let mut effects = Effects::default();
        self.coordinator
            .step(input, self.now, self.wall, &self.topics, &mut effects);
        self.deadline = effects.deadline;
        let mut batch = Batch::default();
        for record in &effects.records {
            let decoded = Record::decode(&record.key, record.value.as_deref())
                .map_err(|error| format!("a stored record does not read: {error}"))?;
            if let Change::Current(member, current) = decoded.change {
                note(&mut self.ledger, member, current);
            }
        }
        batch.records = std::mem::take(&mut effects.records);
        for (_, answer) in &effects.answers {
            batch.writes.extend(self.writes(request.as_ref(), answer)?);
        }
        if let Some(Request::Commit(commit)) = request {
            batch.by = commit.by;
        }
        batch.writes.extend(self.taken_by_time(is_tick, &batch.records)?);
        if !batch.records.is_empty() {
            self.log.push(batch);
        } else if !batch.writes.is_empty() {
            return Err("a commit was answered that stored nothing".to_owned());
        }
        let needs = self.log.len();
        for (token, answer) in effects.answers {
            self.held.push(HeldAnswer { needs, token, answer });
        }
        self.check_owners()?;
        if !self.stuck {
            self.committed = self.log.len();
        }
        self.release()
    }

    /// Everything whose records are committed leaves.
    pub(super) fn release(&mut self) -> Held {
        let committed = self.committed;
        let (ready, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held| held.needs <= committed);
        self.held = held;
        for one in ready {
            self.answered(&one)?;
        }
        Ok(())
    }
}
