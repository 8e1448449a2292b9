//! The group member's core against groups that give and take, hosts that forget and streams that break: within the time
//! that a partition is this member's it is given without a hole and without a repetition, nothing is given once it is known
//! to be gone, and nothing is acknowledged that was not processed.

use super::types::{Named, Wanted};
use super::*;
use crate::consumer::Places;
use quipu_record::{Offset, PartitionId, TopicId};

const HISTORIES: u64 = 500;
const STEPS: u64 = 400;
const SESSION: Duration = Duration::from_secs(4);

fn key(partition: u32) -> Key {
    Key {
        topic: "t".into(),
        partition: PartitionId::new(partition),
    }
}

fn named(key: Key, since: u32) -> Named {
    Named {
        key,
        topic_id: TopicId::from_u128(1),
        epoch: AssignmentEpoch::new(since),
    }
}

/// What a host says.
#[derive(Debug)]
enum Said {
    Opened(Welcome),
    Assigned(Key),
    Revoked(Key),
    Lost(Vec<Key>, MemberEpoch),
    Data { key: Key, from: u64, to: u64 },
    Refused(Key, ErrorCode),
    Sought(Key, u64),
    Committed(CommitId, Option<ErrorCode>),
}

/// A stream as its host has it.
#[derive(Default)]
struct Served {
    said: VecDeque<Said>,
    heard: VecDeque<Effect>,
    /// By partition: where it reads on, and whether it is stopped.
    cursors: BTreeMap<Key, (u64, bool)>,
    told: BTreeSet<Key>,
    /// The client knows of them, and they may not have begun here.
    named: BTreeSet<Key>,
}

/// What the group has.
#[derive(Default)]
struct Group {
    epoch: u32,
    /// The member is known.
    known: bool,
    owned: BTreeMap<Key, (u32, bool)>,
    committed: BTreeMap<Key, u64>,
}

struct History {
    random: Jitter,
    now: Moment,
    core: Core,
    mode: CommitMode,
    group: Group,
    served: Option<(StreamId, Served)>,
    /// Frames that came, as the shell keeps them.
    frames: VecDeque<(StreamId, Key, u64, u64)>,
    /// What the application was told to have, and what it must be given next.
    told: BTreeMap<Key, u64>,
    processed: BTreeMap<Key, u64>,
    revoked: Vec<Key>,
    given: u64,
    calm: bool,
    /// Planted: acknowledges what was only delivered.
    careless: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Jitter::new(seed);
        let mode = if random.next().is_multiple_of(3) {
            CommitMode::Manual
        } else {
            CommitMode::Auto
        };
        let settings = Settings {
            mode,
            start: Start::Earliest,
            reset: None,
            session: SESSION,
            window: 1000,
            limits: BackoffLimits {
                min: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
        };
        Self {
            core: Core::new(settings, "m".into(), seed),
            random,
            now: Moment::default(),
            mode,
            group: Group::default(),
            served: None,
            frames: VecDeque::new(),
            told: BTreeMap::new(),
            processed: BTreeMap::new(),
            revoked: Vec::new(),
            given: 0,
            calm: false,
            careless: false,
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.random.next() % sides
    }

    fn any_key(&mut self) -> Key {
        key(u32::try_from(self.dice(4)).unwrap())
    }

    fn step(&mut self) {
        match self.dice(100) {
            0..30 => self.host_acts(),
            30..50 => self.stream_brings(),
            50..75 => self.application_reads(),
            75..85 => {
                let pause = Duration::from_millis(1 + self.dice(100));
                self.now = self.now.after(pause);
            }
            _ if self.calm => {}
            85..90 => self.rebalance(),
            90..92 => self.stream_breaks(),
            92 => self.forget(),
            93 => self.now = self.now.after(SESSION / 2),
            94 => {
                let (key, to) = (self.any_key(), self.dice(50));
                if self.told.contains_key(&key) && self.core.seek(&key, Start::Offset(Offset::new(to))) {
                    self.told.insert(key.clone(), to);
                    // An acknowledgement of before may still be on its way.
                    let most = self.processed.entry(key).or_default();
                    *most = to.max(*most);
                }
            }
            95..97 => {
                let (key, paused) = (self.any_key(), self.dice(2) == 0);
                self.core.pause(&key, paused);
            }
            _ => {
                let offsets = self.core.uncommitted();
                self.core
                    .commit(self.now, offsets, Duration::from_secs(3))
                    .unwrap();
            }
        }
        self.core.tick(self.now);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Open { stream, epoch, .. } => {
                    if epoch == MemberEpoch::default() {
                        // Joins anew: what it had is others'.
                        self.group.owned.clear();
                        self.group.known = false;
                    }
                    self.served = Some((stream, Served::default()));
                    if epoch > MemberEpoch::default() && !self.group.known {
                        self.refuse(ErrorCode::UnknownMember);
                    } else if !self.calm && self.dice(8) == 0 {
                        self.refuse(ErrorCode::CoordinatorNotAvailable);
                    } else {
                        self.group.known = true;
                        self.group.epoch += 1;
                        self.welcome();
                    }
                }
                Effect::Close { .. } => self.served = None,
                Effect::Committed { .. } => {}
                said => {
                    if let Effect::Seek { key, .. } = &said {
                        self.frames.retain(|(_, other, _, _)| other != key);
                    }
                    if let Some((_, served)) = &mut self.served {
                        served.heard.push_back(said);
                    }
                }
            }
        }
    }

    /// The first word names everything that the member has.
    fn welcome(&mut self) {
        let (revoking, assigned): (Vec<_>, Vec<_>) =
            self.group.owned.iter().partition(|(_, (_, revoking))| *revoking);
        let all = |of: Vec<(&Key, &(u32, bool))>| {
            let named = |(key, (since, _)): (&Key, &(u32, bool))| named(key.clone(), *since);
            of.into_iter().map(named).collect::<Vec<_>>()
        };
        let welcome = Welcome {
            member: String::new(),
            epoch: MemberEpoch::new(self.group.epoch),
            assigned: all(assigned),
            revoking: all(revoking),
        };
        if let Some((_, served)) = &mut self.served {
            served.named = self.group.owned.keys().cloned().collect();
            served.said.push_back(Said::Opened(welcome));
        }
    }

    fn refuse(&mut self, code: ErrorCode) {
        if let Some((stream, _)) = self.served.take() {
            let end = End::Refused(Failure::new(code, "as told"));
            self.core.ended(self.now, stream, end);
        }
    }

    fn stream_breaks(&mut self) {
        if let Some((stream, _)) = self.served.take() {
            self.core.ended(self.now, stream, End::Broken("as told".into()));
        }
    }

    /// The group knows the member no more; the host says so, or the stream ends.
    fn forget(&mut self) {
        self.group.owned.clear();
        if self.dice(2) == 0 {
            self.group.known = false;
            return self.refuse(ErrorCode::UnknownMember);
        }
        if let Some((_, served)) = &mut self.served {
            served.told.clear();
            let lost = std::mem::take(&mut served.named).into_iter().collect();
            served.cursors.clear();
            served.said.push_back(Said::Lost(lost, MemberEpoch::default()));
        }
    }

    /// Gives and takes.
    fn rebalance(&mut self) {
        let key = self.any_key();
        let Some((_, served)) = &mut self.served else {
            return;
        };
        match self.group.owned.get_mut(&key) {
            None => {
                // Meanwhile somebody else has processed some of it.
                self.group.epoch += 1;
                *self.group.committed.entry(key.clone()).or_default() += self.random.next() % 5;
                self.group.owned.insert(key, (self.group.epoch, false));
            }
            Some((_, revoking)) if !*revoking && served.named.contains(&key) => {
                *revoking = true;
                served.cursors.remove(&key);
                served.said.push_back(Said::Revoked(key));
            }
            Some((_, true)) => {
                self.group.owned.remove(&key);
                served.told.remove(&key);
                served.named.remove(&key);
                let epoch = MemberEpoch::new(self.group.epoch);
                served.said.push_back(Said::Lost(vec![key], epoch));
            }
            Some(_) => {}
        }
    }

    fn host_acts(&mut self) {
        let Some((_, served)) = &mut self.served else {
            return;
        };
        let untold = self
            .group
            .owned
            .iter()
            .find(|(key, (_, revoking))| !revoking && !served.told.contains(*key));
        if let (Some((key, _)), true) = (untold, self.random.next().is_multiple_of(3)) {
            let from = self.group.committed.get(key).copied().unwrap_or(0);
            served.told.insert(key.clone());
            served.named.insert(key.clone());
            served.cursors.insert(key.clone(), (from, false));
            served.said.push_back(Said::Assigned(key.clone()));
        } else if let (Some(heard), true) = (served.heard.pop_front(), true) {
            self.host_hears(heard);
        } else if let Some((key, (from, _))) = served.cursors.iter_mut().find(|(_, (_, stopped))| !stopped) {
            let to = *from + 1 + self.random.next() % 3;
            served.said.push_back(Said::Data {
                key: key.clone(),
                from: *from,
                to,
            });
            *from = to;
            let (key, trouble) = (key.clone(), !self.calm && self.random.next().is_multiple_of(20));
            if trouble {
                if let Some((_, stopped)) = served.cursors.get_mut(&key) {
                    *stopped = true;
                }
                served
                    .said
                    .push_back(Said::Refused(key, ErrorCode::LeaderNotAvailable));
            }
        }
    }

    fn host_hears(&mut self, heard: Effect) {
        let Some((_, served)) = &mut self.served else {
            return;
        };
        match heard {
            Effect::Ack { key, next, epoch } => {
                if self
                    .group
                    .owned
                    .get(&key)
                    .is_some_and(|(had, _)| *had == epoch.get())
                {
                    let processed = self.processed.get(&key).copied();
                    assert!(
                        Some(next.get()) <= processed,
                        "{key:?}: {next:?} of {processed:?}"
                    );
                    self.group.committed.insert(key, next.get());
                }
            }
            Effect::Commit { commit, offsets } => {
                let held = |offset: &Wanted| {
                    let owned = self.group.owned.get(&offset.key);
                    owned.is_some_and(|(epoch, _)| *epoch == offset.epoch.get())
                };
                let mut code = (!offsets.iter().all(held)).then_some(ErrorCode::StaleAssignment);
                if code.is_none() && self.random.next().is_multiple_of(4) {
                    code = Some(ErrorCode::CoordinatorLoading);
                }
                if code.is_none() {
                    for offset in offsets {
                        self.group.committed.insert(offset.key, offset.next.get());
                    }
                }
                served.said.push_back(Said::Committed(commit, code));
            }
            Effect::GiveUp { keys } => {
                for key in keys {
                    if self.group.owned.get(&key).is_some_and(|(_, revoking)| *revoking) {
                        self.group.owned.remove(&key);
                        served.told.remove(&key);
                        served.named.remove(&key);
                    }
                }
            }
            Effect::Seek { key, to } => {
                let Start::Offset(to) = to else {
                    panic!("only offsets")
                };
                match served.cursors.get_mut(&key) {
                    Some((from, stopped)) => {
                        (*from, *stopped) = (to.get(), false);
                        served.said.push_back(Said::Sought(key, to.get()));
                    }
                    None => served
                        .said
                        .push_back(Said::Refused(key, ErrorCode::StaleAssignment)),
                }
            }
            Effect::Pause { .. } => {}
            Effect::Credit { bytes } => {
                if bytes == 0 {
                    // It is there: the host joins anew for it.
                    self.group.epoch += 1;
                    self.group.known = true;
                }
            }
            Effect::Open { .. } | Effect::Close { .. } | Effect::Committed { .. } => unreachable!(),
        }
    }

    /// The member's task takes in what came.
    fn stream_brings(&mut self) {
        let Some((stream, served)) = &mut self.served else {
            return;
        };
        let (stream, Some(said)) = (*stream, served.said.pop_front()) else {
            return;
        };
        self.core.heard(self.now, stream);
        let now = self.now;
        let failure = |code| Failure::new(code, "as told");
        let epoch = MemberEpoch::new(self.group.epoch);
        match said {
            Said::Opened(welcome) => {
                let gone = self.core.opened(now, stream, welcome);
                self.purge(&gone);
            }
            Said::Assigned(key) => {
                let Some((since, _)) = self.group.owned.get(&key) else {
                    return;
                };
                let committed = self.group.committed.get(&key).copied();
                let at = committed.unwrap_or(0);
                // As it was found when it was told.
                let begins = served.cursors.get(&key).map_or(at, |(from, _)| (*from).min(at));
                let given = Given {
                    key,
                    topic_id: TopicId::from_u128(1),
                    epoch: AssignmentEpoch::new(*since),
                    committed: committed.map(Offset::new),
                    place: Ok(Offset::new(begins)),
                };
                if let Some((from, _)) = served.cursors.get_mut(&given.key) {
                    *from = begins;
                }
                served
                    .said
                    .retain(|said| !matches!(said, Said::Data { key, .. } if *key == given.key));
                let gone = self
                    .core
                    .assignment(now, stream, epoch, vec![given], vec![], vec![]);
                self.purge(&gone);
            }
            Said::Revoked(key) => {
                let gone = self
                    .core
                    .assignment(now, stream, epoch, vec![], vec![key], vec![]);
                self.purge(&gone);
            }
            Said::Lost(keys, epoch) => {
                let gone = self.core.assignment(now, stream, epoch, vec![], vec![], keys);
                self.purge(&gone);
            }
            Said::Data { key, from, to } => {
                if self.core.counts(stream, &key) {
                    self.frames.push_back((stream, key, from, to));
                }
            }
            Said::Refused(key, ErrorCode::StaleAssignment) => {
                let told = self
                    .core
                    .seek_refused(now, stream, &key, failure(ErrorCode::StaleAssignment));
                assert_eq!(told, None);
            }
            Said::Refused(key, code) => assert_eq!(self.core.refused(now, stream, &key, failure(code)), None),
            Said::Sought(key, at) => self.core.sought(stream, &key, Offset::new(at)),
            Said::Committed(id, code) => {
                let failed = code.map(|code| (key(0), failure(code)));
                self.core.committed(now, stream, id, failed);
            }
        }
    }

    fn purge(&mut self, gone: &[Key]) {
        self.frames.retain(|(_, key, _, _)| !gone.contains(key));
    }

    /// The application comes for more.
    fn application_reads(&mut self) {
        if !self.careless {
            for (key, next) in &self.told {
                let most = self.processed.entry(key.clone()).or_default();
                *most = (*next).max(*most);
            }
        }
        self.core.finish(self.now);
        while !self.revoked.is_empty() || self.dice(4) > 0 {
            if !self.revoked.is_empty() {
                if self.core.committing(&self.revoked) {
                    return;
                }
                self.core.give_up(&std::mem::take(&mut self.revoked));
            }
            match self.core.next_change() {
                None => break,
                Some(Change::Assigned(keys)) => {
                    for key in keys {
                        let Some(Start::Offset(place)) = self.core.place(&key) else {
                            panic!("{key:?} has no place")
                        };
                        self.told.insert(key.clone(), place.get());
                        self.processed.insert(key, place.get());
                    }
                }
                Some(Change::Revoked(keys)) => {
                    for key in &keys {
                        assert!(self.told.remove(key).is_some(), "{key:?} was not told");
                    }
                    self.revoked = keys;
                }
                Some(Change::Lost(keys)) => {
                    for key in keys {
                        self.told.remove(&key);
                    }
                }
            }
        }
        if self.core.has_news() {
            return;
        }
        while let Some((stream, key, from, to)) = self.frames.pop_front() {
            if !self.core.counts(stream, &key) {
                continue;
            }
            let Some(Start::Offset(place)) = self.core.place(&key) else {
                continue;
            };
            if to <= place.get() {
                continue;
            }
            assert!(from <= place.get(), "{key:?}: a hole from {place:?} to {from}");
            let expected = self.told.get(&key).copied();
            assert_eq!(
                expected,
                Some(place.get()),
                "{key:?}: what it has not, or not there"
            );
            self.core.advance(&key, Offset::new(to));
            self.told.insert(key.clone(), to);
            if self.careless {
                self.processed.entry(key).or_insert(0);
            }
            self.given += 1;
            break;
        }
        if self.dice(2) == 0 {
            self.core.flush_acks();
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        // Left alone, it gets what it has and reads on.
        self.calm = true;
        for partition in 0..4 {
            self.core.pause(&key(partition), false);
        }
        let given = self.given;
        for _ in 0..20 * STEPS {
            if self.group.owned.len() < 2 && self.served.is_some() {
                self.rebalance();
            }
            self.step();
        }
        assert!(self.given > given + 10, "it does not read on: {:?}", self.core);
    }
}

#[test]
fn random_lives() {
    let mut given = 0;
    for seed in 0..HISTORIES {
        let mut history = History::new(seed);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.run()));
        assert!(ran.is_ok(), "seed {seed}, {:?}", history.mode);
        given += history.given;
    }
    assert!(given > 100 * HISTORIES, "{given} batches in {HISTORIES} lives");
}

/// The check of acknowledgements can fail: an application that processes nothing is found out.
#[test]
fn acknowledging_what_was_only_delivered_is_found_out() {
    let found = (0..50).any(|seed| {
        let mut history = History::new(seed);
        history.careless = true;
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.run())).is_err()
    });
    assert!(found);
}

/// As the harness saw it (`two-owners`): a stream that was back had not named what was another member's by then, and the
/// application heard at its close that it had given up what it had lost.
#[test]
fn what_no_stream_vouches_for_is_lost_at_the_close_and_not_given_up() {
    let mut core = History::new(1).core;
    let now = Moment::default();
    let given = |partition| Given {
        key: key(partition),
        topic_id: TopicId::from_u128(1),
        epoch: AssignmentEpoch::new(1),
        committed: None,
        place: Ok(Offset::ZERO),
    };
    let named = |partition| named(key(partition), 1);
    let open = |core: &mut Core, now, assigned| {
        core.tick(now);
        let opens = std::iter::from_fn(|| core.next_effect()).find_map(|effect| match effect {
            Effect::Open { stream, .. } => Some(stream),
            _ => None,
        });
        let (stream, epoch) = (opens.unwrap(), MemberEpoch::new(1));
        let welcome = Welcome {
            epoch,
            assigned,
            ..Welcome::default()
        };
        core.opened(now, stream, welcome);
        stream
    };
    let stream = open(&mut core, now, vec![named(0), named(1)]);
    let epoch = MemberEpoch::new(1);
    core.assignment(
        now,
        stream,
        epoch,
        vec![given(0), given(1)],
        Vec::new(),
        Vec::new(),
    );
    while core.next_change().is_some() {}
    assert_eq!(core.by_certainty(), (vec![key(0), key(1)], vec![]));
    core.ended(now, stream, End::Broken("pulled".into()));
    assert_eq!(core.by_certainty(), (vec![], vec![key(0), key(1)]));
    open(&mut core, now.after(Duration::from_secs(1)), vec![named(0)]);
    assert_eq!(core.by_certainty(), (vec![key(0)], vec![]));
    assert_eq!(core.next_change(), Some(Change::Lost(vec![key(1)])));
}

/// What was revoked while there was no stream is told as any other revocation; what was, and is given up by now, is given up
/// again, for whom that was said to is gone.
#[test]
fn what_is_still_to_be_given_up_is_told_by_the_next_stream() {
    let now = Moment::default();
    let epoch = MemberEpoch::new(1);
    for heard_before in [false, true] {
        let mut core = History::new(1).core;
        core.tick(now);
        let welcome = |assigned, revoking| Welcome {
            epoch,
            assigned,
            revoking,
            ..Welcome::default()
        };
        core.opened(now, StreamId(0), welcome(vec![named(key(0), 1)], vec![]));
        let given = Given {
            key: key(0),
            topic_id: TopicId::from_u128(1),
            epoch: AssignmentEpoch::new(1),
            committed: None,
            place: Ok(Offset::ZERO),
        };
        core.assignment(now, StreamId(0), epoch, vec![given], vec![], vec![]);
        assert_eq!(core.next_change(), Some(Change::Assigned(vec![key(0)])));
        if heard_before {
            core.assignment(now, StreamId(0), epoch, vec![], vec![key(0)], vec![]);
            assert_eq!(core.next_change(), Some(Change::Revoked(vec![key(0)])));
        }
        core.ended(now, StreamId(0), End::Broken("pulled".into()));
        if heard_before {
            core.give_up(&[key(0)]);
        }
        let later = now.after(Duration::from_secs(1));
        core.tick(later);
        while core.next_effect().is_some() {}
        core.opened(later, StreamId(1), welcome(vec![], vec![named(key(0), 1)]));
        if !heard_before {
            assert_eq!(core.next_change(), Some(Change::Revoked(vec![key(0)])));
            assert_eq!(core.next_effect(), None, "the application has its say first");
            core.give_up(&[key(0)]);
        }
        assert_eq!(core.next_change(), None);
        let keys = vec![key(0)];
        assert_eq!(core.next_effect(), Some(Effect::GiveUp { keys }));
    }
}

/// The broker begins at the log start where what was committed was deleted: whether that will do, the application has said.
#[test]
fn where_what_was_committed_is_gone_the_reset_has_its_say() {
    let now = Moment::default();
    for reset in [None, Some(Start::Earliest), Some(Start::Latest)] {
        let mut core = History::new(1).core;
        core.settings.reset = reset;
        core.tick(now);
        let (stream, epoch) = (StreamId(0), MemberEpoch::new(1));
        core.opened(now, stream, Welcome::default());
        let given = Given {
            key: key(0),
            topic_id: TopicId::from_u128(1),
            epoch: AssignmentEpoch::new(1),
            committed: Some(Offset::new(2)),
            place: Ok(Offset::new(4)),
        };
        core.assignment(now, stream, epoch, vec![given], Vec::new(), Vec::new());
        let seeks = |core: &mut Core| {
            std::iter::from_fn(|| core.next_effect()).find_map(|effect| match effect {
                Effect::Seek { to, .. } => Some(to),
                _ => None,
            })
        };
        assert_eq!(seeks(&mut core), Some(Start::Offset(Offset::new(2))));
        assert!(!core.counts(stream, &key(0)), "what comes from the log start");
        let gone = Failure::new(ErrorCode::OffsetOutOfRange, "as told");
        let told = core.seek_refused(now, stream, &key(0), gone);
        assert_eq!(told.is_some(), reset.is_none());
        assert!(!core.counts(stream, &key(0)));
        core.tick(now.after(Duration::from_secs(2)));
        assert_eq!(seeks(&mut core), reset);
    }
}
