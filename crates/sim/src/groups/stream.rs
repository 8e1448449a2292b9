//! The shell around a hosted member, as thin as the broker's: it asks, opens cursors, delivers, and tells.

use super::shared::{Asked, Event, REVOCATION, SESSION, Said, Shared, StreamIndex, Told};
use super::truth::Claim;
use quipu_coordinator::{
    AssignmentEpoch, Finish, GroupError, GroupId, InstanceId, Member, MemberConfig, MemberEffect,
    MemberEpoch, MemberId, MemberInput, Notice, StreamId, StreamNumber, Subscription,
};
use quipu_record::{ErrorCode, Offset, Tick, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A question that is not answered by now is given up.
const PATIENCE: Duration = Duration::from_millis(900);

/// What a client opens a stream with.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) client: usize,
    pub(super) group: GroupId,
    pub(super) member: MemberId,
    pub(super) epoch: Option<MemberEpoch>,
    pub(super) number: Option<StreamNumber>,
    pub(super) instance: Option<InstanceId>,
    pub(super) topics: Vec<Arc<str>>,
    pub(super) auto: bool,
    pub(super) acknowledges: bool,
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    epoch: AssignmentEpoch,
    next: Offset,
}

/// A stream on a broker.
#[derive(Debug)]
pub(super) struct Stream {
    index: StreamIndex,
    pub(super) broker: usize,
    pub(super) client: usize,
    group: GroupId,
    instance: Option<InstanceId>,
    member: Member,
    cursors: BTreeMap<TopicPartition, Cursor>,
    /// The last thing that was told arrives then: a stream keeps its order.
    told_at: Tick,
    /// When it is woken next.
    wake_at: Option<Tick>,
    /// Nothing more will come of it.
    pub(super) over: bool,
}

impl Stream {
    pub(super) fn open(index: StreamIndex, broker: usize, opening: Opening, shared: &mut Shared) -> Self {
        let instance = opening.instance.clone();
        let config = MemberConfig {
            group: opening.group.clone(),
            member: opening.member,
            epoch: opening.epoch,
            stream: StreamId::new(shared.chance.seed() | 1),
            stream_number: opening.number,
            instance: opening.instance,
            rack: None,
            subscription: Subscription {
                topics: opening.topics,
                pattern: None,
            },
            assignor: None,
            session_timeout: SESSION,
            revocation_timeout: REVOCATION,
            auto_commit: opening.auto.then(|| Duration::from_millis(100)),
            acknowledges_revocations: opening.acknowledges,
            client_id: "client".into(),
            client_host: "host".into(),
        };
        shared.note(format_args!(
            "client {} ({}) opens stream {index} on broker {broker} from {:?}",
            opening.client, opening.group, opening.epoch
        ));
        let mut stream = Self {
            index,
            broker,
            client: opening.client,
            group: opening.group,
            instance,
            member: Member::new(config, shared.now()),
            cursors: BTreeMap::new(),
            told_at: shared.now(),
            wake_at: None,
            over: false,
        };
        stream.step(shared, MemberInput::Tick);
        shared
            .schedule
            .after(Duration::from_millis(10), Event::Deliver(index));
        stream
    }

    pub(super) fn is_of(&self, member: &MemberId) -> bool {
        self.member.id() == member
    }

    pub(super) fn step(&mut self, shared: &mut Shared, input: MemberInput) {
        let mut effects = Vec::new();
        self.member.step(input, shared.now(), &mut effects);
        for effect in effects {
            self.carry_out(shared, effect);
        }
        let planned = self.wake_at.filter(|at| *at > shared.now());
        if !self.over
            && let Some(deadline) = self.member.deadline()
            && planned.is_none_or(|at| deadline < at)
        {
            self.wake_at = Some(deadline);
            shared.schedule.at(deadline, Event::WakeStream(self.index));
        }
    }

    fn carry_out(&mut self, shared: &mut Shared, effect: MemberEffect) {
        let stream = self.index;
        match effect {
            MemberEffect::Ask(token, request) => {
                let given_up = Event::Answer {
                    stream,
                    token,
                    answer: Err(GroupError::host(ErrorCode::CoordinatorNotAvailable, "no answer")),
                };
                shared.schedule.after(PATIENCE, given_up);
                let led = shared.log.leader().map(|leader| leader.broker);
                let astray = shared
                    .chance
                    .one_in(40)
                    .then(|| shared.chance.below(super::world::BROKERS));
                let Some(broker) = astray.or(led) else { return };
                let asked = Asked {
                    stream,
                    token,
                    request,
                };
                shared.send(Event::Request { broker, asked });
            }
            MemberEffect::Start { at, epoch, committed } => {
                let begin = committed.unwrap_or(Offset::new(0));
                let found = Event::Found {
                    stream,
                    at,
                    epoch,
                    begin,
                };
                let wait = shared.chance.millis(8);
                shared.schedule.after(wait, found);
            }
            MemberEffect::Stop(at) => {
                self.cursors.remove(&at);
            }
            MemberEffect::Tell(notice) => self.tell_notice(shared, notice),
            MemberEffect::Fail(error) => {
                *shared.counts.refusals.entry(error.code().name()).or_default() += 1;
                shared.note(format_args!("stream {} ends: {error}", self.index));
                self.over = true;
                self.tell(shared, Told::Over);
            }
            MemberEffect::Done => self.over = true,
        }
    }

    fn tell_notice(&mut self, shared: &mut Shared, notice: Notice) {
        if !matches!(&notice, Notice::Committed(_, results) if results.iter().all(|(_, result)| result.is_ok()))
        {
            shared.note(format_args!("stream {}: {notice:?}", self.index));
        }
        match notice {
            Notice::Joined(joined) => {
                self.tell(shared, Told::Epoch(joined.epoch));
                let revoking: Vec<_> = joined.revoking.iter().map(|one| one.at).collect();
                if !revoking.is_empty() {
                    shared.did("revoking-resumed", revoking.len());
                    self.tell(shared, Told::Revoked(revoking));
                }
            }
            Notice::Changed(changed) => {
                shared.did("revoked", changed.revoked.len());
                shared.did("lost", changed.lost.len());
                match changed.epoch {
                    Some(epoch) => self.tell(shared, Told::Epoch(epoch)),
                    None => self.tell(shared, Told::Anew),
                }
                if !changed.revoked.is_empty() {
                    self.tell(shared, Told::Revoked(changed.revoked));
                }
                if !changed.lost.is_empty() {
                    self.tell(shared, Told::Lost(changed.lost));
                }
            }
            Notice::Committed(..) => {}
        }
    }

    fn tell(&mut self, shared: &mut Shared, told: Told) {
        let wait = shared.chance.millis(4);
        self.told_at = self.told_at.max(shared.now().after(wait));
        let stream = self.index;
        shared.schedule.at(self.told_at, Event::ToClient { stream, told });
    }

    /// A partition's beginning was found.
    pub(super) fn found(
        &mut self,
        shared: &mut Shared,
        at: TopicPartition,
        epoch: AssignmentEpoch,
        begin: Offset,
    ) {
        if self.member.open(at, epoch) {
            shared.did("assigned", 1);
            shared.note(format_args!(
                "stream {} begins {at} at {begin}, epoch {epoch}",
                self.index
            ));
            self.cursors.insert(at, Cursor { epoch, next: begin });
        }
    }

    /// Sends some of what there is.
    pub(super) fn deliver(&mut self, shared: &mut Shared) {
        self.step(shared, MemberInput::Tick);
        let end = shared.data_end();
        let open: Vec<(TopicPartition, Cursor)> =
            self.cursors.iter().map(|(at, cursor)| (*at, *cursor)).collect();
        for (at, cursor) in open {
            if cursor.next >= end || self.member.may_deliver(at) != Some(cursor.epoch) {
                continue;
            }
            let many = 1 + shared.chance.below(20) as u64;
            let next = Offset::new((cursor.next.get() + many).min(end.get()));
            let claim = Claim {
                member: self.member.id().clone(),
                instance: self.instance.clone(),
                epoch: cursor.epoch,
            };
            // What goes to a connection that its client has left is delivered to nobody.
            if shared.listening.get(self.client) == Some(&Some(self.index)) {
                let held = shared.truth.deliver((self.group.clone(), at), claim);
                shared.check(held);
            }
            let (from, epoch) = (cursor.next, cursor.epoch);
            self.tell(
                shared,
                Told::Data {
                    at,
                    epoch,
                    from,
                    next,
                },
            );
            self.cursors.insert(at, Cursor { epoch, next });
            self.step(shared, MemberInput::Sent { at, next });
        }
        if !self.over {
            let wait = shared.chance.millis(80);
            shared.schedule.after(wait, Event::Deliver(self.index));
        }
    }

    pub(super) fn hear(&mut self, shared: &mut Shared, said: Said) {
        let input = match said {
            Said::Ack { at, epoch, next } => MemberInput::Ack {
                at,
                epoch: Some(epoch),
                next,
            },
            Said::Commit(request, marks) => MemberInput::Commit { request, marks },
            Said::GiveUp(partitions) => MemberInput::GiveUp(partitions),
            Said::Something => MemberInput::Heard,
            Said::Close => MemberInput::Finish(Finish::Closed),
        };
        self.step(shared, input);
    }
}
