//! The world of one seed: brokers that coordinate and host, clients that consume, faults; one event after another.

use super::client::Client;
use super::coordinator::Shard;
use super::log::{Leader, OffsetsLog};
use super::nemesis;
use super::shared::{Event, Said, Shared, StreamIndex};
use super::stream::Stream;
use super::topics::Catalog;
use super::truth::{Place, Truth};
use crate::chance::Chance;
use crate::invariants::consumed;
use crate::options::Options;
use crate::report::{Counts, Outcome, Violation};
use crate::schedule::Schedule;
use crate::trace::Trace;
use quipu_coordinator::{Finish, GroupError, GroupId, Input, InstanceId, MemberInput};
use quipu_record::{ErrorCode, Tick};
use std::sync::Arc;
use std::time::Duration;

/// Brokers: each may coordinate, and each hosts streams.
pub(super) const BROKERS: usize = 3;
const GROUPS: usize = 2;
/// After the last fault everything must have come to rest within this, of simulated time.
const TO_REST: Duration = Duration::from_secs(15);

/// A broker.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) shard: Option<Shard>,
    /// What waits for a process that stands still; `None`: it runs.
    pub(super) standing: Option<Vec<Event>>,
}

pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) brokers: Vec<Broker>,
    pub(super) streams: Vec<Option<Stream>>,
    pub(super) clients: Vec<Client>,
    pub(super) groups: Vec<GroupId>,
    seed: u64,
    duration: Duration,
}

/// Runs one seed from its beginning to its end, or to the first violation.
pub(crate) fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    world.live();
    world.end()
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed);
        let mut topics = Catalog::default();
        for _ in 0..2 {
            topics.add(2 + u32::try_from(chance.below(6)).unwrap_or(0));
        }
        let shared = Shared {
            schedule: Schedule::default(),
            chance,
            trace: Trace::new(options.tell),
            counts: Counts::default(),
            log: OffsetsLog::new(),
            topics,
            truth: Truth::default(),
            listening: Vec::new(),
            lossy: None,
            late: false,
            twice: false,
            resting: false,
            data_until: options.duration,
            violation: None,
        };
        let mut world = Self {
            shared,
            brokers: (0..BROKERS).map(|_| Broker::default()).collect(),
            streams: Vec::new(),
            clients: Vec::new(),
            groups: (0..GROUPS)
                .filter_map(|at| GroupId::new(&format!("group-{at}")).ok())
                .collect(),
            seed,
            duration: options.duration,
        };
        world.elect();
        for group in 0..GROUPS {
            for _ in 0..1 + world.shared.chance.below(3) {
                world.arrive(group);
            }
        }
        let wait = world.shared.chance.millis(300);
        world.shared.schedule.after(wait, Event::Strike);
        world.shared.schedule.after(options.duration, Event::Rest);
        world
    }

    fn live(&mut self) {
        let end = Tick::default().after(self.duration).after(TO_REST);
        while self.shared.violation.is_none() && self.shared.schedule.now() < end {
            if self.shared.resting
                && self.shared.counts.steps.is_multiple_of(64)
                && self.unconsumed().is_none()
            {
                break;
            }
            let Some(event) = self.shared.schedule.next() else {
                break;
            };
            self.shared.counts.steps += 1;
            self.shared.listening.clear();
            let listening = self
                .clients
                .iter()
                .map(|client| client.stream.filter(|_| !client.gone));
            self.shared.listening.extend(listening);
            if let Some(event) = self.held_back(event) {
                self.happen(event);
            }
        }
    }

    /// An event of a process that stands still waits for it.
    fn held_back(&mut self, event: Event) -> Option<Event> {
        let of_stream =
            |stream: &StreamIndex| self.streams.get(*stream)?.as_ref().map(|stream| stream.broker);
        let broker = match &event {
            Event::Request { broker, .. } => Some(*broker),
            Event::Answer { stream, .. }
            | Event::WakeStream(stream)
            | Event::Deliver(stream)
            | Event::Found { stream, .. }
            | Event::ToHost { stream, .. }
            | Event::Broken(stream) => of_stream(stream),
            Event::Load(leader)
            | Event::Resign(leader)
            | Event::WakeCoordinator(leader)
            | Event::Replicated { leader, .. } => Some(leader.broker),
            _ => None,
        };
        let standing = broker.and_then(|broker| self.brokers[broker].standing.as_mut());
        match standing {
            Some(standing) => {
                standing.push(event);
                None
            }
            None => Some(event),
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Request { broker, asked } => match &mut self.brokers[broker].shard {
                Some(shard) => shard.request(&mut self.shared, asked),
                None => self.shared.send(Event::Answer {
                    stream: asked.stream,
                    token: asked.token,
                    answer: Err(GroupError::host(ErrorCode::NotCoordinator, "not here")),
                }),
            },
            Event::Answer {
                stream,
                token,
                answer,
            } => {
                self.stream(stream, |stream, shared| {
                    stream.step(shared, MemberInput::Answered(token, answer));
                });
            }
            Event::Replicated { leader, end } => {
                self.shard(leader, |shard, shared| shard.replicated(shared, end))
            }
            Event::Load(leader) => self.shard(leader, Shard::load),
            Event::Resign(leader) => {
                let shard = self.brokers[leader.broker]
                    .shard
                    .take_if(|shard| shard.leader() == leader);
                if let Some(shard) = shard {
                    shard.resign(&mut self.shared);
                }
            }
            Event::WakeCoordinator(leader) => {
                self.shard(leader, |shard, shared| shard.step(shared, Input::Tick));
            }
            Event::WakeStream(stream) => {
                self.stream(stream, |stream, shared| stream.step(shared, MemberInput::Tick));
            }
            Event::Deliver(stream) => self.stream(stream, Stream::deliver),
            Event::Found {
                stream,
                at,
                epoch,
                begin,
            } => {
                self.stream(stream, |stream, shared| stream.found(shared, at, epoch, begin));
            }
            Event::ToClient { stream, told } => {
                let client = self
                    .clients
                    .iter_mut()
                    .find(|client| client.stream == Some(stream));
                if let Some(client) = client.filter(|client| !client.gone) {
                    client.told(&mut self.shared, told);
                }
            }
            Event::ToHost { stream, said } => self.stream(stream, |stream, shared| stream.hear(shared, said)),
            Event::Broken(stream) => {
                self.stream(stream, |stream, shared| {
                    stream.step(shared, MemberInput::Finish(Finish::Broken));
                });
            }
            Event::Client(client) => self.act(client),
            Event::Strike => nemesis::strike(self),
            Event::Elect => self.elect(),
            Event::Lift(fault, broker) => nemesis::lift(self, fault, broker),
            Event::Rest => nemesis::rest(self),
        }
    }

    fn stream(&mut self, at: StreamIndex, body: impl FnOnce(&mut Stream, &mut Shared)) {
        if let Some(stream) = &mut self.streams[at] {
            body(stream, &mut self.shared);
            if stream.over {
                self.streams[at] = None;
            }
        }
    }

    fn shard(&mut self, leader: Leader, body: impl FnOnce(&mut Shard, &mut Shared)) {
        let shard = self.brokers[leader.broker].shard.as_mut();
        if let Some(shard) = shard.filter(|shard| shard.leader() == leader) {
            body(shard, &mut self.shared);
        }
    }

    /// Somebody leads the offsets topic; whoever did before hears of it in a while.
    pub(super) fn elect(&mut self) {
        let before = self.shared.log.leader();
        let others = (0..BROKERS).filter(|at| Some(*at) != before.map(|leader| leader.broker));
        let able: Vec<usize> = others.filter(|at| self.brokers[*at].standing.is_none()).collect();
        if able.is_empty() {
            return;
        }
        let broker = able[self.shared.chance.below(able.len())];
        let ends = self.shared.log.possible_ends();
        let end = ends[self.shared.chance.below(ends.len())];
        let now = self.shared.now();
        let leader = self.shared.log.elect(broker, end, now);
        self.shared.truth.cut(end);
        self.shared.note(format_args!(
            "broker {broker} leads in epoch {}, from {end}",
            leader.epoch
        ));
        if let Some(before) = before {
            let wait = self.shared.chance.millis(1_500);
            self.shared.schedule.after(wait, Event::Resign(before));
        }
        if let Some(stale) = self.brokers[broker].shard.take() {
            stale.resign(&mut self.shared);
        }
        self.brokers[broker].shard = Some(Shard::new(leader, &mut self.shared));
        let wait = self.shared.chance.millis(40);
        self.shared
            .schedule
            .after(wait, Event::Replicated { leader, end });
    }

    /// A group gets another member.
    pub(super) fn arrive(&mut self, group: usize) {
        let index = self.clients.len();
        let instance = self.shared.chance.one_in(4);
        let instance = instance
            .then(|| InstanceId::new(&format!("instance-{index}")).ok())
            .flatten();
        let topics = self.some_topics();
        let group = self.groups[group].clone();
        self.shared.did("joined", 1);
        self.clients
            .extend(Client::new(index, group, instance, topics, &mut self.shared));
    }

    pub(super) fn some_topics(&mut self) -> Vec<Arc<str>> {
        let all = (0..self.shared.topics.len()).map(|topic| self.shared.topics.name_of(topic));
        let all: Vec<_> = all.collect();
        let one = self.shared.chance.below(all.len());
        match self.shared.chance.one_in(3) {
            true => vec![Arc::clone(&all[one])],
            false => all,
        }
    }

    /// A client that has no stream opens one; who has one works.
    fn act(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.gone {
            return;
        }
        if client.stream.is_none() {
            let able: Vec<usize> = (0..BROKERS)
                .filter(|at| self.brokers[*at].standing.is_none())
                .collect();
            if !able.is_empty() {
                let broker = able[self.shared.chance.below(able.len())];
                self.open(index, broker);
            }
        } else if client.slow_until <= self.shared.now() {
            client.act(&mut self.shared);
        }
        let wait = self.shared.chance.millis(80);
        self.shared.schedule.after(wait, Event::Client(index));
    }

    fn open(&mut self, index: usize, broker: usize) {
        // An older stream of the same member on this broker makes room.
        let member = self.clients[index].member().clone();
        for at in 0..self.streams.len() {
            let same = self.streams[at]
                .as_ref()
                .is_some_and(|stream| stream.broker == broker && stream.is_of(&member));
            if same {
                self.stream(at, |stream, shared| {
                    stream.step(shared, MemberInput::Finish(Finish::Replaced));
                });
            }
        }
        let stream = self.streams.len();
        self.clients[index].stream = Some(stream);
        let opening = self.clients[index].opening();
        self.streams
            .push(Some(Stream::open(stream, broker, opening, &mut self.shared)));
    }

    /// The client's connection breaks; the broker, if it lives, sees it in a moment.
    pub(super) fn cut_connection(&mut self, client: usize) {
        if let Some(stream) = self.clients[client].stream {
            let wait = self.shared.chance.millis(100);
            self.shared.schedule.after(wait, Event::Broken(stream));
        }
        self.clients[client].disconnected();
    }

    /// A client says good-bye.
    pub(super) fn leave(&mut self, client: usize) {
        self.clients[client].say(&mut self.shared, Said::Close);
        self.clients[client].gone = true;
        self.shared.did("left", 1);
    }

    /// What some group still has to consume.
    fn unconsumed(&self) -> Option<Violation> {
        for group in &self.groups {
            let members = self.clients.iter();
            let members = members.filter(|client| client.group == *group && !client.gone);
            let mut names: Vec<Arc<str>> = members.flat_map(|client| client.topics.iter().cloned()).collect();
            names.sort_unstable();
            names.dedup();
            for at in self.shared.topics.partitions_of(&names) {
                let place: Place = (group.clone(), at);
                let processed = self.shared.truth.processed_below(&place);
                if let Err(violation) = consumed(&place, processed, self.shared.data_end().get()) {
                    return Some(violation);
                }
            }
        }
        None
    }

    fn end(mut self) -> Outcome {
        if self.shared.violation.is_none()
            && let Some(mut violation) = self.unconsumed()
        {
            for group in &self.groups {
                for shard in self.brokers.iter_mut().filter_map(|broker| broker.shard.as_mut()) {
                    violation.what += &format!("; {group}: {}", shard.describe(&self.shared, group));
                }
            }
            self.shared.check(Err(violation));
        }
        let mut shared = self.shared;
        let repeated = shared.truth.repeated();
        shared.did("records processed again", usize::try_from(repeated).unwrap_or(0));
        shared.counts.read = shared.truth.processed();
        Outcome {
            seed: self.seed,
            trace_hash: shared.trace.hash(),
            counts: shared.counts,
            violation: shared.violation,
            verdict: None,
            told: shared.trace.told().to_vec(),
        }
    }
}
