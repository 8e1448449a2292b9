//! Groups as the fake brokers have them: members in the order of joining share the partitions of `t` in turn; what one has
//! too many it is asked to give up, and another gets it once it is free. Members stay until they leave or are expelled.

use super::services::{Answer, Broker, Cursor, Session, start, unimplemented};
use super::{Cluster, State};
use quipu_proto::v1::group_service_server::GroupService;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tonic::{Request, Response, Status};

type Place = (String, u32);

#[derive(Default)]
pub(crate) struct Group {
    pub(crate) epoch: u32,
    /// In the order of joining.
    pub(crate) members: Vec<Member>,
    pub(crate) committed: BTreeMap<Place, u64>,
    /// Every commit, in order.
    pub(crate) commits: Vec<(Place, u64)>,
    /// The next commits fail like this.
    pub(crate) fail_commits: VecDeque<ErrorCode>,
    /// Who left, and whether it said that it would be back.
    pub(crate) left: Vec<(String, bool)>,
    /// What was acknowledged, in order.
    pub(crate) acks: Vec<(Place, u64)>,
    /// What streams were opened with: member id and epoch.
    pub(crate) opened: Vec<(String, u32)>,
    /// And the number of each.
    pub(crate) numbers: Vec<u64>,
    /// Commits are taken in and not answered.
    pub(crate) commits_hang: bool,
}

#[derive(Default)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    /// With the epoch each was given in.
    pub(crate) owned: BTreeMap<Place, u32>,
}

/// What one stream has told its member.
pub(super) struct GroupStream {
    group: String,
    member: String,
    told: BTreeMap<Place, u32>,
    revoking: BTreeSet<Place>,
    start: Option<v1::StartPosition>,
    commit_on_ack: bool,
}

impl Group {
    pub(crate) fn member(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn owner(&self, place: &Place) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.owned.contains_key(place))
    }

    fn target(&self, id: &str, partitions: u32) -> BTreeSet<Place> {
        let count = u32::try_from(self.members.len()).unwrap().max(1);
        let Some(turn) = self.members.iter().position(|member| member.id == id) else {
            return BTreeSet::new();
        };
        let turn = u32::try_from(turn).unwrap();
        let all = (0..partitions).filter(|partition| partition % count == turn);
        all.map(|partition| ("t".to_owned(), partition)).collect()
    }

    fn remove(&mut self, id: &str) {
        self.members.retain(|member| member.id != id);
        self.epoch += 1;
    }
}

impl Cluster {
    /// Looks at a group, or changes it.
    pub(crate) fn group<T>(&self, name: &str, act: impl FnOnce(&mut Group) -> T) -> T {
        let done = act(self.shared.state().groups.entry(name.to_owned()).or_default());
        self.shared.changed();
        done
    }

    /// The group knows its members no more.
    pub(crate) fn expel_all(&self, name: &str) {
        self.group(name, |group| {
            group.members.clear();
            group.epoch += 1;
        });
    }

    pub(crate) fn committed(&self, name: &str, partition: u32) -> Option<u64> {
        self.group(name, |group| {
            group.committed.get(&("t".to_owned(), partition)).copied()
        })
    }
}

impl GroupStream {
    /// The member joins, or goes on.
    pub(super) fn open(broker: &Broker, open: v1::OpenGroup) -> Result<(Self, v1::Opened), Status> {
        let mut state = broker.shared.state();
        let group = state.groups.entry(open.group.clone()).or_default();
        let id = open.member_id.clone().unwrap_or_default();
        group.opened.push((id.clone(), open.member_epoch));
        group.numbers.push(open.stream_number);
        let known = group.member(&id).is_some();
        if open.member_epoch > 0 && !known {
            return Err(Failure::new(ErrorCode::UnknownMember, "not known").into_status());
        }
        if !known {
            let taken = group
                .members
                .iter_mut()
                .find(|member| member.instance.is_some() && member.instance == open.instance_id);
            match taken {
                Some(member) => member.id.clone_from(&id),
                None => group.members.push(Member {
                    id: id.clone(),
                    instance: open.instance_id.clone(),
                    owned: BTreeMap::new(),
                }),
            }
            group.epoch += 1;
        }
        let topic_id = state.topics["t"].id.to_string();
        let group = state.groups.entry(open.group.clone()).or_default();
        let owned = group.member(&id).map(|member| member.owned.clone());
        let held = owned.unwrap_or_default().into_iter();
        let held = held.map(|((topic, partition), assignment_epoch)| v1::HeldPartition {
            topic,
            topic_id: topic_id.clone(),
            partition,
            assignment_epoch,
        });
        let held = held.collect();
        let opened = v1::Opened {
            partitions: vec![],
            membership: Some(v1::Membership {
                member_id: id.clone(),
                member_epoch: group.epoch,
                assigned: held,
                ..v1::Membership::default()
            }),
        };
        let commit_on_ack = open.commit() != v1::CommitMode::Manual;
        drop(state);
        broker.shared.changed();
        let stream = Self {
            group: open.group,
            member: id,
            told: BTreeMap::new(),
            revoking: BTreeSet::new(),
            start: open.start,
            commit_on_ack,
        };
        Ok((stream, opened))
    }

    /// What the member must be told now.
    pub(super) fn reconcile(
        &mut self,
        broker: &Broker,
        cursors: &mut Vec<Cursor>,
    ) -> Result<Option<v1::Assignment>, Status> {
        let mut state = broker.shared.state();
        let partitions = u32::try_from(state.topics["t"].partitions.len()).unwrap();
        let group = state.groups.get_mut(&self.group).unwrap();
        let target = group.target(&self.member, partitions);
        let epoch = group.epoch;
        if group.member(&self.member).is_none() {
            return Err(Failure::new(ErrorCode::UnknownMember, "not known").into_status());
        }
        let free = target.iter().filter(|place| group.owner(place).is_none());
        let free: Vec<Place> = free.cloned().collect();
        let Some(member) = group.member(&self.member) else {
            unreachable!()
        };
        let mut said = v1::Assignment {
            member_epoch: epoch,
            revocation_left_ms: 60_000,
            ..Default::default()
        };
        let lost = self
            .told
            .iter()
            .filter(|(place, epoch)| member.owned.get(*place) != Some(*epoch));
        for place in lost.map(|(place, _)| place.clone()).collect::<Vec<_>>() {
            self.told.remove(&place);
            if !self.revoking.remove(&place) {
                said.lost.push(partition_of(&place));
            }
            cursors.retain(|cursor| (&cursor.topic, cursor.partition) != (&place.0, place.1));
        }
        for place in free {
            member.owned.insert(place, epoch);
        }
        let owned = member.owned.clone();
        for (place, epoch) in owned {
            if !self.told.contains_key(&place) {
                self.told.insert(place.clone(), epoch);
                said.assigned
                    .push(assign(&state, &self.group, &place, epoch, self.start, cursors));
            }
            if !target.contains(&place) && self.revoking.insert(place.clone()) {
                said.revoked.push(partition_of(&place));
                cursors.retain(|cursor| (&cursor.topic, cursor.partition) != (&place.0, place.1));
            }
        }
        drop(state);
        let silent = said.assigned.is_empty() && said.revoked.is_empty() && said.lost.is_empty();
        Ok((!silent).then_some(said))
    }

    pub(super) fn epoch(&self, topic: &str, partition: u32) -> Option<u32> {
        self.told.get(&(topic.to_owned(), partition)).copied()
    }

    pub(super) fn ack(&self, broker: &Broker, ack: v1::Ack) {
        let mut state = broker.shared.state();
        let group = state.groups.get_mut(&self.group).unwrap();
        let place = (ack.topic, ack.partition);
        group.acks.push((place.clone(), ack.next_offset));
        let owned = group
            .member(&self.member)
            .and_then(|member| member.owned.get(&place))
            .copied();
        if self.commit_on_ack && owned.is_some() && owned == ack.assignment_epoch {
            group.committed.insert(place.clone(), ack.next_offset);
            group.commits.push((place, ack.next_offset));
        }
    }

    pub(super) fn commit(&self, broker: &Broker, commit: v1::Commit) -> Option<v1::CommitResult> {
        let mut state = broker.shared.state();
        let group = state.groups.get_mut(&self.group).unwrap();
        if group.commits_hang {
            return None;
        }
        let told = group.fail_commits.pop_front();
        let mut result = v1::CommitResult {
            request_id: commit.request_id,
            results: vec![],
        };
        let owned = group
            .member(&self.member)
            .map(|member| member.owned.clone())
            .unwrap_or_default();
        let refusal = |offset: &v1::StreamOffset| {
            let epoch = owned.get(&(offset.topic.clone(), offset.partition)).copied();
            let stale = epoch.is_none() || epoch != offset.assignment_epoch;
            told.or(stale.then_some(ErrorCode::StaleAssignment))
        };
        let codes: Vec<Option<ErrorCode>> = commit.offsets.iter().map(refusal).collect();
        let good = codes.iter().all(Option::is_none);
        for (offset, code) in commit.offsets.into_iter().zip(codes) {
            if good {
                let place = (offset.topic.clone(), offset.partition);
                group.committed.insert(place.clone(), offset.next_offset);
                group.commits.push((place, offset.next_offset));
            }
            result.results.push(v1::StreamOffsetResult {
                topic: offset.topic,
                partition: offset.partition,
                error: code.map(|code| Failure::new(code, "as told").into()),
            });
        }
        Some(result)
    }

    pub(super) fn give_up(&mut self, broker: &Broker, ack: v1::AssignmentAck) {
        let mut state = broker.shared.state();
        let group = state.groups.get_mut(&self.group).unwrap();
        for partition in ack.partitions {
            let place = (partition.topic, partition.partition);
            if self.revoking.remove(&place) {
                self.told.remove(&place);
                if let Some(member) = group.member(&self.member) {
                    member.owned.remove(&place);
                }
            }
        }
        group.epoch += 1;
        drop(state);
        broker.shared.changed();
    }
}

fn partition_of(place: &Place) -> v1::StreamPartition {
    v1::StreamPartition {
        topic: place.0.clone(),
        partition: place.1,
    }
}

fn assign(
    state: &State,
    group: &str,
    place: &Place,
    epoch: u32,
    begin: Option<v1::StartPosition>,
    cursors: &mut Vec<Cursor>,
) -> v1::PartitionAssigned {
    let committed = state.groups[group].committed.get(place).copied();
    let offset = committed.unwrap_or_else(|| start(state, &place.0, place.1, begin));
    let topic = &state.topics[&place.0];
    cursors.push(Cursor {
        topic: place.0.clone(),
        partition: place.1,
        offset,
        paused: false,
        stopped: false,
    });
    let opened = v1::OpenedPartition {
        topic: place.0.clone(),
        topic_id: topic.id.to_string(),
        partition: place.1,
        offset,
        high_watermark: topic.partitions[place.1 as usize].end(),
        log_start: topic.partitions[place.1 as usize].log_start,
        error: None,
    };
    v1::PartitionAssigned {
        opened: Some(opened),
        assignment_epoch: epoch,
        committed,
    }
}

impl Session {
    /// The client said its last word: its member leaves, a static one until it is back.
    pub(super) fn last_word(&self) {
        let Some(stream) = &self.group else { return };
        let mut state = self.broker.shared.state();
        let group = state.groups.entry(stream.group.clone()).or_default();
        let Some(member) = group.member(&stream.member) else {
            return;
        };
        let will_return = member.instance.is_some();
        group.left.push((stream.member.clone(), will_return));
        if !will_return {
            group.remove(&stream.member);
        }
        drop(state);
        self.broker.shared.changed();
    }

    /// Tells the member what has changed. `false`: the stream is over.
    pub(super) async fn reconcile(&mut self) -> bool {
        let Some(group) = &mut self.group else {
            return true;
        };
        match group.reconcile(&self.broker, &mut self.cursors) {
            Ok(None) => true,
            Ok(Some(said)) => self.say(v1::consume_response::Message::Assignment(said)).await,
            Err(status) => {
                let _ = self.out.send(Err(status)).await;
                false
            }
        }
    }
}

#[tonic::async_trait]
impl GroupService for Broker {
    async fn list_groups(&self, _: Request<v1::ListGroupsRequest>) -> Answer<v1::ListGroupsResponse> {
        self.shared.call("list_groups")?;
        let state = self.shared.state();
        let groups = state.groups.iter().map(|(name, group)| v1::GroupSummary {
            group: name.clone(),
            state: v1::GroupState::Stable.into(),
            members: u32::try_from(group.members.len()).unwrap(),
            coordinator_id: 0,
        });
        Ok(Response::new(v1::ListGroupsResponse {
            groups: groups.collect(),
            ..Default::default()
        }))
    }

    async fn describe_group(
        &self,
        request: Request<v1::DescribeGroupRequest>,
    ) -> Answer<v1::DescribeGroupResponse> {
        self.shared.call("describe_group")?;
        let mut state = self.shared.state();
        let name = request.into_inner().group;
        let State { groups, topics, .. } = &mut *state;
        let Some(group) = groups.get_mut(&name) else {
            return Err(Failure::new(ErrorCode::UnknownGroup, "no such group").into_status());
        };
        let partition = |place: &Place| v1::GroupPartition {
            topic: place.0.clone(),
            topic_id: topics[&place.0].id.to_string(),
            partition: place.1,
        };
        let members = group.members.iter().map(|member| v1::GroupMember {
            member_id: member.id.clone(),
            instance_id: member.instance.clone(),
            owned: member.owned.keys().map(partition).collect(),
            ..Default::default()
        });
        let offsets = group.committed.iter().map(|(place, offset)| v1::GroupOffset {
            partition: Some(partition(place)),
            offset: Some(*offset),
            high_watermark: Some(topics[&place.0].partitions[place.1 as usize].end()),
            member_id: group.owner(place).map(|member| member.id.clone()),
            ..Default::default()
        });
        Ok(Response::new(v1::DescribeGroupResponse {
            state: v1::GroupState::Stable.into(),
            members: members.collect(),
            offsets: offsets.collect(),
            group_epoch: group.epoch,
            group: name,
            ..Default::default()
        }))
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Answer<v1::DeleteGroupResponse> {
        self.shared.call("delete_group")?;
        let mut state = self.shared.state();
        let request = request.into_inner();
        let Some(group) = state.groups.get(&request.group) else {
            return Err(Failure::new(ErrorCode::UnknownGroup, "no such group").into_status());
        };
        if !group.members.is_empty() {
            return Err(Failure::new(ErrorCode::GroupNotEmpty, "it has members").into_status());
        }
        if !request.validate_only {
            state.groups.remove(&request.group);
        }
        Ok(Response::new(v1::DeleteGroupResponse::default()))
    }

    async fn commit_offsets(
        &self,
        request: Request<v1::CommitOffsetsRequest>,
    ) -> Answer<v1::CommitOffsetsResponse> {
        self.shared.call("commit_offsets")?;
        let mut state = self.shared.state();
        let request = request.into_inner();
        let group = state.groups.entry(request.group).or_default();
        for offset in request.offsets {
            group
                .committed
                .insert((offset.topic, offset.partition), offset.offset);
        }
        Ok(Response::new(v1::CommitOffsetsResponse::default()))
    }

    async fn get_offsets(&self, request: Request<v1::GetOffsetsRequest>) -> Answer<v1::GetOffsetsResponse> {
        self.shared.call("get_offsets")?;
        let state = self.shared.state();
        let group = state.groups.get(&request.into_inner().group);
        let committed = group.map(|group| group.committed.clone()).unwrap_or_default();
        let offsets = committed
            .into_iter()
            .map(|((topic, partition), offset)| v1::CommittedOffset {
                topic_id: state.topics[&topic].id.to_string(),
                topic,
                partition,
                offset: Some(offset),
                ..Default::default()
            });
        Ok(Response::new(v1::GetOffsetsResponse {
            offsets: offsets.collect(),
            throttle_ms: 0,
        }))
    }

    async fn reset_offsets(
        &self,
        request: Request<v1::ResetOffsetsRequest>,
    ) -> Answer<v1::ResetOffsetsResponse> {
        self.shared.call("reset_offsets")?;
        let mut state = self.shared.state();
        let request = request.into_inner();
        let State { groups, topics, .. } = &mut *state;
        let Some(group) = groups.get_mut(&request.group) else {
            return Err(Failure::new(ErrorCode::UnknownGroup, "no such group").into_status());
        };
        let to = match request.target.and_then(|target| target.to) {
            Some(v1::reset_target::To::Offset(offset)) => offset,
            _ => 0,
        };
        let mut resets = Vec::new();
        for (place, offset) in &mut group.committed {
            resets.push(v1::OffsetReset {
                topic: place.0.clone(),
                topic_id: topics[&place.0].id.to_string(),
                partition: place.1,
                from: Some(*offset),
                to,
                error: None,
            });
            if !request.validate_only {
                *offset = to;
            }
        }
        Ok(Response::new(v1::ResetOffsetsResponse {
            resets,
            throttle_ms: 0,
        }))
    }

    async fn group_heartbeat(
        &self,
        _: Request<v1::GroupHeartbeatRequest>,
    ) -> Answer<v1::GroupHeartbeatResponse> {
        unimplemented()
    }

    async fn leave_group(&self, request: Request<v1::LeaveGroupRequest>) -> Answer<v1::LeaveGroupResponse> {
        self.shared.call("leave_group")?;
        let request = request.into_inner();
        let mut state = self.shared.state();
        let group = state.groups.entry(request.group).or_default();
        if group.member(&request.member_id).is_none() {
            return Err(Failure::new(ErrorCode::UnknownMember, "not known").into_status());
        }
        group.left.push((request.member_id.clone(), request.will_return));
        if !request.will_return {
            group.remove(&request.member_id);
        }
        drop(state);
        self.shared.changed();
        Ok(Response::new(v1::LeaveGroupResponse::default()))
    }
}
