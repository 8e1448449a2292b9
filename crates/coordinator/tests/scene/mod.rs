//! One coordinator with members that answer as they should, for tests that tell a story.

#![allow(dead_code, reason = "each test uses what it needs")]

use quipu_coordinator::*;
use quipu_record::{Offset, PartitionId, Tick, Timestamp, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Metadata {
    named: BTreeMap<String, (TopicId, u32)>,
    version: u64,
}

impl Topics for Metadata {
    fn named(&self, name: &str) -> Option<TopicId> {
        self.named.get(name).map(|(id, _)| *id)
    }

    fn name(&self, topic: TopicId) -> Option<Arc<str>> {
        let found = self.named.iter().find(|(_, (id, _))| *id == topic);
        found.map(|(name, _)| name.as_str().into())
    }

    fn partitions(&self, topic: TopicId) -> Option<u32> {
        self.named
            .values()
            .find(|(id, _)| *id == topic)
            .map(|(_, count)| *count)
    }

    fn racks(&self, _: TopicId, _: PartitionId) -> &[Arc<str>] {
        &[]
    }

    fn each(&self, found: &mut dyn FnMut(&str, TopicId)) {
        self.named.iter().for_each(|(name, (id, _))| found(name, *id));
    }

    fn version(&self) -> u64 {
        self.version
    }
}

pub(crate) fn at(topic: u128, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(topic),
        partition: PartitionId::new(partition),
    }
}

pub(crate) fn group(name: &str) -> GroupId {
    GroupId::new(name).expect("a name")
}

pub(crate) fn member(id: &str) -> MemberId {
    MemberId::new(id).expect("an id")
}

pub(crate) struct Scene {
    pub(crate) coordinator: Coordinator,
    pub(crate) metadata: Metadata,
    pub(crate) now: Tick,
    pub(crate) wall: Timestamp,
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) answers: BTreeMap<RequestToken, Result<Response, GroupError>>,
    pub(crate) deadline: Option<Tick>,
    config: GroupConfig,
    tokens: u64,
}

impl Scene {
    pub(crate) fn new(topics: &[(&str, u32)]) -> Self {
        let named = topics.iter().zip(1u128..);
        let named = named.map(|((name, count), id)| ((*name).to_owned(), (TopicId::from_u128(id), *count)));
        let config = GroupConfig {
            assignment_interval: Duration::ZERO,
            ..GroupConfig::default()
        };
        let mut scene = Self {
            coordinator: Coordinator::new(config.clone()),
            metadata: Metadata {
                named: named.collect(),
                version: 1,
            },
            now: Tick::from_nanos(1),
            wall: Timestamp::new(1_000),
            records: Vec::new(),
            answers: BTreeMap::new(),
            deadline: None,
            config,
            tokens: 0,
        };
        scene.coordinator.loaded(scene.now, scene.wall);
        scene
    }

    pub(crate) fn config(&mut self, config: GroupConfig) {
        self.config = config;
        self.fail_over();
    }

    /// Another broker loads what was stored.
    pub(crate) fn fail_over(&mut self) {
        let mut next = Coordinator::new(self.config.clone());
        for record in &self.records {
            next.replay(&record.key, record.value.as_deref())
                .expect("replays");
        }
        next.loaded(self.now, self.wall);
        self.coordinator = next;
        self.step(Input::TopicsChanged);
    }

    pub(crate) fn step(&mut self, input: Input) {
        let mut effects = Effects::default();
        self.coordinator
            .step(input, self.now, self.wall, &self.metadata, &mut effects);
        self.records.append(&mut effects.records);
        self.answers.extend(effects.answers.drain(..));
        self.deadline = effects.deadline;
    }

    pub(crate) fn ask(&mut self, request: Request) -> RequestToken {
        self.tokens += 1;
        let token = RequestToken::new(self.tokens);
        self.step(Input::Request(token, request));
        token
    }

    pub(crate) fn call(&mut self, request: Request) -> Result<Response, GroupError> {
        let token = self.ask(request);
        self.answers.remove(&token).expect("answered at once")
    }

    /// Time passes, deadline by deadline.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(next) = self.deadline.filter(|next| *next <= end) {
            let next = next.max(self.now);
            self.pass(next);
            self.step(Input::Tick);
        }
        self.pass(end);
    }

    fn pass(&mut self, to: Tick) {
        let millis = i64::try_from(to.since(self.now).as_millis()).expect("not for ever");
        self.wall = self.wall.plus_millis(millis);
        self.now = to;
    }

    pub(crate) fn topic(&mut self, name: &str, id: u128, partitions: u32) {
        self.metadata.version += 1;
        self.metadata.named.remove(name);
        if partitions > 0 {
            let topic = (TopicId::from_u128(id), partitions);
            self.metadata.named.insert(name.to_owned(), topic);
        }
        self.step(Input::TopicsChanged);
    }

    /// A first heartbeat, for "t" and "u".
    pub(crate) fn opening(&self, id: &str) -> Heartbeat {
        Heartbeat {
            group: group("g"),
            member: member(id),
            epoch: None,
            instance: None,
            rack: None,
            subscription: Some(Subscription {
                topics: vec!["t".into(), "u".into()],
                pattern: None,
            }),
            assignor: None,
            owned: Some(Vec::new()),
            session_timeout: None,
            revocation_timeout: None,
            client_id: "c".into(),
            client_host: "h".into(),
            stream: Some(StreamId::new(1)),
            stream_number: None,
            max_wait: Duration::ZERO,
        }
    }

    pub(crate) fn beat(&mut self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, GroupError> {
        match self.call(Request::Heartbeat(heartbeat))? {
            Response::Heartbeat(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn join(&mut self, id: &str) -> HeartbeatAnswer {
        self.beat(self.opening(id)).expect("joins")
    }

    /// A heartbeat of a member that is in this epoch and has these.
    pub(crate) fn stay(&mut self, id: &str, epoch: MemberEpoch, owned: &[TopicPartition]) -> HeartbeatAnswer {
        let heartbeat = Heartbeat {
            epoch: Some(epoch),
            subscription: None,
            owned: Some(owned.to_vec()),
            ..self.opening(id)
        };
        self.beat(heartbeat).expect("stays")
    }

    /// Everybody does as told until nothing changes: gives up at once what is revoked.
    pub(crate) fn settle(&mut self, ids: &[&str]) {
        for _ in 0..6 {
            for id in ids {
                let about = self.about(id);
                let owned: Vec<_> = about.owned.iter().map(|one| one.at).collect();
                self.stay(id, about.epoch, &owned);
            }
        }
        assert_eq!(self.describe().state, GroupState::Stable);
    }

    pub(crate) fn leave(&mut self, id: &str) {
        let leave = Leave {
            group: group("g"),
            member: member(id),
            stream: None,
            stream_number: None,
            will_return: false,
        };
        assert_eq!(self.call(Request::Leave(leave)), Ok(Response::Left));
    }

    pub(crate) fn describe(&mut self) -> GroupDescription {
        match self.call(Request::Describe(group("g"))) {
            Ok(Response::Group(description)) => *description,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn about(&mut self, id: &str) -> MemberDescription {
        let members = self.describe().members.into_iter();
        members
            .into_iter()
            .find(|one| one.member == member(id))
            .expect("a member")
    }

    pub(crate) fn owned(&mut self, id: &str) -> Vec<TopicPartition> {
        self.about(id).owned.into_iter().map(|one| one.at).collect()
    }

    pub(crate) fn target(&mut self, id: &str) -> Vec<TopicPartition> {
        self.about(id).target
    }

    pub(crate) fn targets(&mut self) -> BTreeMap<TopicPartition, MemberId> {
        let members = self.describe().members.into_iter();
        let each = members.flat_map(|one| one.target.into_iter().map(move |at| (at, one.member.clone())));
        each.collect()
    }

    fn commit_of(name: &str, by: Option<Committer>, at: TopicPartition, offset: u64) -> Commit {
        Commit {
            group: group(name),
            by,
            offsets: vec![OffsetCommit {
                at,
                offset: Offset::new(offset),
                leader_epoch: None,
                metadata: "".into(),
            }],
        }
    }

    pub(crate) fn commit(
        &mut self,
        id: &str,
        epoch: MemberEpoch,
        at: TopicPartition,
        offset: u64,
    ) -> Result<(), GroupError> {
        self.commit_by(Self::committer(id, epoch), at, offset)
    }

    /// A member without a stream.
    pub(crate) fn committer(id: &str, epoch: MemberEpoch) -> Committer {
        Committer {
            member: member(id),
            epoch,
            stream: None,
            stream_number: None,
            number: None,
        }
    }

    pub(crate) fn commit_by(
        &mut self,
        by: Committer,
        at: TopicPartition,
        offset: u64,
    ) -> Result<(), GroupError> {
        let commit = Self::commit_of("g", Some(by), at, offset);
        match self.call(Request::Commit(commit))? {
            Response::Committed(mut results) => results.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn admin_commit(&mut self, name: &str, at: TopicPartition, offset: u64) {
        let commit = Self::commit_of(name, None, at, offset);
        let taken = self.call(Request::Commit(commit));
        assert_eq!(taken, Ok(Response::Committed(vec![Ok(())])));
    }

    pub(crate) fn committed(&mut self, name: &str, at: TopicPartition) -> Option<u64> {
        let query = OffsetsQuery {
            group: group(name),
            partitions: Some(vec![at]),
        };
        match self.call(Request::Offsets(query)) {
            Ok(Response::Offsets(found)) => found[0].1.as_ref().map(|one| one.offset.get()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn take_records(&mut self) -> Vec<GroupRecord> {
        std::mem::take(&mut self.records)
    }
}
