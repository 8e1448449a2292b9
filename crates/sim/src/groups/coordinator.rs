//! The shell around a coordinator, as thin as the broker's: it loads, appends, and holds every answer until what it saw
//! is committed.

use super::log::Leader;
use super::shared::{Asked, Event, Shared, StreamIndex, VOUCHED};
use super::truth::Read;
use quipu_coordinator::{
    Coordinator, Effects, GroupConfig, GroupError, GroupId, GroupRecord, Input, Request, RequestToken,
    Response,
};
use quipu_record::{ErrorCode, PlantedBug, Tick};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What a broker does with the partition of `__consumer_offsets`.
#[derive(Debug)]
pub(super) struct Shard {
    leader: Leader,
    /// Where its own epoch began: it serves once all below is committed.
    start: usize,
    state: State,
    /// Where it believes its log to end.
    end: usize,
    /// Below it is committed, as far as it knows.
    high_watermark: usize,
    /// Whether it has appended nothing that only itself will ever have.
    followed: bool,
    parked: VecDeque<Parked>,
    asked: BTreeMap<RequestToken, Waiting>,
    /// When it is woken next.
    wake_at: Option<Tick>,
    next_token: u64,
}

#[derive(Debug)]
enum State {
    Loading,
    Active(Box<Coordinator>),
}

/// Somebody who asked.
#[derive(Clone, Debug)]
struct Waiting {
    stream: StreamIndex,
    token: RequestToken,
    request: Request,
    since: Tick,
    /// What was committed then.
    high_watermark: usize,
}

/// An answer that waits for the high watermark.
#[derive(Debug)]
struct Parked {
    end: usize,
    to: Waiting,
    answer: Result<Response, GroupError>,
}

pub(super) fn config() -> GroupConfig {
    GroupConfig {
        session_timeout_min: Duration::from_millis(100),
        heartbeat_interval: Duration::from_millis(300),
        max_wait: Duration::from_millis(300),
        assignment_interval: Duration::from_millis(20),
        ..GroupConfig::default()
    }
}

fn host(code: ErrorCode) -> GroupError {
    GroupError::host(code, code.name())
}

impl Shard {
    pub(super) fn new(leader: Leader, shared: &mut Shared) -> Self {
        let load = shared.chance.millis(150);
        shared.schedule.after(load, Event::Load(leader));
        Self {
            leader,
            start: shared.log.end(),
            state: State::Loading,
            end: shared.log.end(),
            high_watermark: 0,
            followed: true,
            parked: VecDeque::new(),
            asked: BTreeMap::new(),
            wake_at: None,
            next_token: 0,
        }
    }

    pub(super) const fn leader(&self) -> Leader {
        self.leader
    }

    /// Reads what is stored, if all of it is committed.
    pub(super) fn load(&mut self, shared: &mut Shared) {
        if !matches!(self.state, State::Loading) {
            return;
        }
        let records: Vec<GroupRecord> = match shared.log.leader() == Some(self.leader) {
            true => shared.log.records().to_vec(),
            // Deposed before it began.
            false => return,
        };
        let early = PlantedBug::ServeBeforeLoaded.planted();
        if !early && shared.log.high_watermark() < self.start {
            let (leader, wait) = (self.leader, shared.chance.millis(20));
            shared.schedule.after(wait, Event::Load(leader));
            return;
        }
        let upto = if early { records.len() / 2 } else { records.len() };
        let mut coordinator = Coordinator::new(config());
        for record in &records[..upto] {
            let replayed = coordinator.replay(&record.key, record.value.as_deref());
            shared.check(replayed.map_err(|error| crate::report::Violation {
                invariant: "what a coordinator stored, the next one reads",
                what: error.to_string(),
            }));
        }
        coordinator.loaded(shared.now(), shared.wall());
        shared.note(format_args!(
            "broker {} coordinates, {upto} records",
            self.leader.broker
        ));
        self.state = State::Active(Box::new(coordinator));
        self.high_watermark = shared.log.high_watermark();
        self.step(shared, Input::TopicsChanged);
    }

    pub(super) fn request(&mut self, shared: &mut Shared, asked: Asked) {
        let since = shared.now();
        let waiting = Waiting {
            stream: asked.stream,
            token: asked.token,
            request: asked.request.clone(),
            since,
            high_watermark: shared.log.high_watermark(),
        };
        if matches!(self.state, State::Loading) {
            return answer(shared, &waiting, Err(host(ErrorCode::CoordinatorLoading)));
        }
        self.next_token += 1;
        let token = RequestToken::new(self.next_token);
        self.asked.insert(token, waiting);
        self.step(shared, Input::Request(token, asked.request));
    }

    pub(super) fn step(&mut self, shared: &mut Shared, input: Input) {
        let State::Active(coordinator) = &mut self.state else {
            return;
        };
        let mut effects = Effects::default();
        let (now, wall) = (shared.now(), shared.wall());
        coordinator.step(input, now, wall, &shared.topics, &mut effects);
        self.carry_out(shared, effects);
    }

    fn carry_out(&mut self, shared: &mut Shared, effects: Effects) {
        let leader = self.leader;
        if !effects.records.is_empty() {
            match shared.log.append(leader, &effects.records) {
                Some(end) if self.followed => self.end = end,
                // Nobody will ever have it.
                _ => {
                    self.followed = false;
                    self.end += effects.records.len();
                }
            }
            let (end, wait) = (self.end, shared.chance.millis(12));
            if self.followed {
                shared.schedule.after(wait, Event::Replicated { leader, end });
            }
        }
        for (token, answer) in effects.answers {
            if let Some(to) = self.asked.remove(&token) {
                if self.followed {
                    shared.truth.decided(&to.request, &answer, self.end);
                }
                let end = self.end;
                self.parked.push_back(Parked { end, to, answer });
            }
        }
        let planned = self.wake_at.filter(|at| *at > shared.now());
        if let Some(deadline) = effects.deadline
            && planned.is_none_or(|at| deadline < at)
        {
            self.wake_at = Some(deadline);
            shared.schedule.at(deadline, Event::WakeCoordinator(leader));
        }
        self.release(shared);
    }

    /// A majority has its log below `end`.
    pub(super) fn replicated(&mut self, shared: &mut Shared, end: usize) {
        shared.log.commit(self.leader, end);
        if shared.log.is_heard(self.leader) {
            self.high_watermark = shared.log.high_watermark();
            self.release(shared);
        }
    }

    /// Lets go what waits for nothing any more.
    fn release(&mut self, shared: &mut Shared) {
        while let Some(parked) = self.parked.front()
            && parked.end <= self.high_watermark
            && let Some(mut parked) = self.parked.pop_front()
        {
            if !self.is_vouched(shared, &parked.to) {
                parked.answer = Err(host(ErrorCode::CoordinatorNotAvailable));
            }
            if let Ok(Response::Offsets(found)) = &parked.answer
                && let Request::Offsets(query) = &parked.to.request
            {
                let read = Read {
                    group: &query.group,
                    begun: parked.to.high_watermark,
                    end: parked.end,
                };
                let held = shared.truth.read(&read, found);
                shared.check(held);
            }
            if let (Request::Commit(commit), Ok(Response::Committed(results))) =
                (&parked.to.request, &parked.answer)
                && results.iter().all(Result::is_ok)
            {
                shared.counts.acked += 1;
                let held = shared.truth.committed(commit);
                shared.check(held);
            }
            answer(shared, &parked.to, parked.answer);
        }
    }

    /// Whether what it says is not overtaken by another coordinator.
    fn is_vouched(&self, shared: &Shared, to: &Waiting) -> bool {
        let heard = shared.log.heard(self.leader, shared.now());
        match &to.request {
            Request::Heartbeat(_) => heard.is_some_and(|heard| shared.now().since(heard) <= VOUCHED),
            // A linearizable read: heard since it was asked.
            Request::Offsets(_) => heard.is_some_and(|heard| heard >= to.since),
            _ => true,
        }
    }

    /// What it knows of a group, in words.
    pub(super) fn describe(&mut self, shared: &Shared, group: &GroupId) -> String {
        let State::Active(coordinator) = &mut self.state else {
            return "loading".to_owned();
        };
        let mut effects = Effects::default();
        let input = Input::Request(RequestToken::new(0), Request::Describe(group.clone()));
        coordinator.step(input, shared.now(), shared.wall(), &shared.topics, &mut effects);
        match effects.answers.pop() {
            Some((_, Ok(Response::Group(group)))) => {
                let members = group.members.iter().map(|member| {
                    let (owned, revoking) = (member.owned.len(), member.revoking.len());
                    let target = member.target.len();
                    format!(
                        "{} epoch {}: {owned} of {target}, revoking {revoking}",
                        member.member, member.epoch
                    )
                });
                let members: Vec<String> = members.collect();
                format!("{:?} at {}: {}", group.state, group.epoch, members.join("; "))
            }
            other => format!("{other:?}"),
        }
    }

    /// It leads no longer: nobody gets an answer from it any more.
    pub(super) fn resign(self, shared: &mut Shared) {
        let waiting = self.parked.into_iter().map(|parked| parked.to);
        for to in waiting.chain(self.asked.into_values()) {
            answer(shared, &to, Err(host(ErrorCode::NotCoordinator)));
        }
    }
}

fn answer(shared: &mut Shared, to: &Waiting, answer: Result<Response, GroupError>) {
    if let Err(error) = &answer {
        *shared.counts.refusals.entry(error.code().name()).or_default() += 1;
    }
    shared.send(Event::Answer {
        stream: to.stream,
        token: to.token,
        answer,
    });
}
