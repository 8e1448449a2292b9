//! Short stories about the hosting side of one stream, to the moment: what is asked when, how long is waited, and what the
//! client is told. That nothing wrong is ever delivered or committed, whatever is lost, is checked beside the code.

use quipu_coordinator::*;
use quipu_record::{ErrorCode, Offset, PartitionId, Tick, Timestamp, TopicId, TopicPartition};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);
/// An answer vouches for 7/12 of this from when its question was sent.
const SESSION: Duration = Duration::from_secs(12);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(1),
        partition: PartitionId::new(partition),
    }
}

fn since(epoch: u32) -> AssignmentEpoch {
    AssignmentEpoch::new(epoch)
}

fn config(auto_commit: Option<Duration>) -> MemberConfig {
    MemberConfig {
        group: GroupId::new("g").expect("a name"),
        member: MemberId::new("m").expect("an id"),
        epoch: None,
        stream: StreamId::new(7),
        stream_number: None,
        instance: None,
        rack: None,
        subscription: Subscription::default(),
        assignor: None,
        session_timeout: SESSION,
        revocation_timeout: SECOND * 20,
        auto_commit,
        acknowledges_revocations: false,
        client_id: "c".into(),
        client_host: "h".into(),
    }
}

fn assigned(partitions: &[(u32, u32)]) -> Vec<AssignedPartition> {
    let one = |(partition, epoch): &(u32, u32)| AssignedPartition {
        at: at(*partition),
        epoch: since(*epoch),
    };
    partitions.iter().map(one).collect()
}

/// What a client is told first.
fn joined(epoch: u32, partitions: &[(u32, u32)]) -> Notice {
    Notice::Joined(Joined {
        epoch: MemberEpoch::new(epoch),
        assigned: assigned(partitions),
        revoking: Vec::new(),
        left: Duration::ZERO,
    })
}

/// A heartbeat that is out.
struct Beat {
    token: RequestToken,
    sent: Tick,
    asks: Heartbeat,
}

/// A member, and a coordinator that answers its heartbeats; all else is answered by the test.
struct Host {
    member: Member,
    now: Tick,
    beat: Option<Beat>,
    /// The last heartbeat, as it was sent.
    said: Option<Heartbeat>,
    /// When the last one that was answered had been sent.
    vouched: Tick,
    answering: bool,
    epoch: u32,
    assigned: Vec<AssignedPartition>,
    /// What was taken from it and not given up yet.
    revoking: Vec<AssignedPartition>,
    left: Option<Duration>,
    untold: bool,
    /// Questions other than heartbeats, and when they were asked.
    asked: Vec<(Duration, RequestToken, Request)>,
    told: Vec<(Duration, Notice)>,
    others: Vec<MemberEffect>,
}

impl Host {
    fn new(config: MemberConfig) -> Self {
        let now = Tick::default();
        let mut host = Self {
            member: Member::new(config, now),
            now,
            beat: None,
            said: None,
            vouched: now,
            answering: true,
            epoch: 0,
            assigned: Vec::new(),
            revoking: Vec::new(),
            left: None,
            untold: false,
            asked: Vec::new(),
            told: Vec::new(),
            others: Vec::new(),
        };
        host.step(MemberInput::Tick);
        host
    }

    /// A member that has partition 0 since epoch 1, from which data flows.
    fn live(auto_commit: Option<Duration>) -> Self {
        Self::live_as(config(auto_commit))
    }

    fn live_as(config: MemberConfig) -> Self {
        let mut host = Self::new(config);
        host.assign(&[(0, 1)], None);
        let (_, token, _) = host.asked.remove(0);
        host.offsets(token, None);
        assert!(host.member.open(at(0), since(1)));
        host.told.clear();
        host.others.clear();
        host
    }

    fn clock(&self) -> Duration {
        self.now.since(Tick::default())
    }

    fn step(&mut self, input: MemberInput) {
        let mut effects = Vec::new();
        self.member.step(input, self.now, &mut effects);
        let clock = self.clock();
        for effect in effects {
            match effect {
                MemberEffect::Ask(token, Request::Heartbeat(asks)) => {
                    self.said = Some(asks.clone());
                    let sent = self.now;
                    self.beat = Some(Beat { token, sent, asks });
                }
                MemberEffect::Ask(token, request) => self.asked.push((clock, token, request)),
                MemberEffect::Tell(notice) => self.told.push((clock, notice)),
                other => self.others.push(other),
            }
        }
    }

    fn answer(&mut self, token: RequestToken, answer: Result<Response, GroupError>) {
        self.step(MemberInput::Answered(token, answer));
    }

    /// The coordinator answers the heartbeat that waits.
    fn answer_beat(&mut self) {
        let Some(beat) = self.beat.take() else { return };
        let joins = beat.asks.epoch.is_none();
        let whole = std::mem::take(&mut self.untold) || joins || beat.asks.owned.is_none();
        self.vouched = beat.sent;
        let answer = HeartbeatAnswer {
            epoch: MemberEpoch::new(self.epoch),
            heartbeat_interval: SECOND,
            session_timeout: SESSION,
            assignment: whole.then(|| self.assigned.clone()),
            revoking: self.revoking.iter().filter(|_| whole).copied().collect(),
            revocation_left: self.left,
        };
        self.answer(beat.token, Ok(Response::Heartbeat(answer)));
    }

    /// The coordinator wants the member to have these, each since an epoch, and tells it.
    fn assign(&mut self, partitions: &[(u32, u32)], left: Option<Duration>) {
        let mut before = std::mem::replace(&mut self.assigned, assigned(partitions));
        before.retain(|one| !self.assigned.iter().any(|kept| kept.at == one.at));
        match left {
            Some(_) => self.revoking.extend(before),
            None => self.revoking.clear(),
        }
        self.left = left;
        self.epoch += 1;
        self.untold = true;
        self.answer_beat();
    }

    fn offsets(&mut self, token: RequestToken, committed: Option<u64>) {
        let committed = committed.map(|offset| Committed {
            offset: Offset::new(offset),
            leader_epoch: None,
            metadata: "".into(),
            at: Timestamp::new(0),
        });
        self.answer(token, Ok(Response::Offsets(vec![(at(0), committed)])));
    }

    /// Time passes; the coordinator answers heartbeats when their wait is over.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.now = self.now.after(STEP);
            if self.member.deadline().is_some_and(|due| due <= self.now) {
                self.step(MemberInput::Tick);
            }
            let over = |beat: &Beat| beat.sent.after(beat.asks.max_wait) <= self.now;
            if self.answering && self.beat.as_ref().is_some_and(over) {
                self.answer_beat();
            }
        }
    }

    fn sent(&mut self, next: u64) {
        let next = Offset::new(next);
        self.step(MemberInput::Sent { at: at(0), next });
    }

    fn ack(&mut self, next: u64) {
        self.step(MemberInput::Ack {
            at: at(0),
            epoch: None,
            next: Offset::new(next),
        });
    }

    /// The client commits partition 0 up to here.
    fn commit(&mut self, request: u64, next: u64) {
        let mark = Mark {
            at: at(0),
            epoch: None,
            next: Offset::new(next),
            metadata: "".into(),
        };
        let marks = vec![mark];
        self.step(MemberInput::Commit { request, marks });
    }

    /// The commit that was asked for last, and what it says of partition 0.
    fn last_commit(&self) -> (RequestToken, u64) {
        match self.asked.last() {
            Some((_, token, Request::Commit(commit))) => (*token, commit.offsets[0].offset.get()),
            other => panic!("{other:?}"),
        }
    }

    fn committed(&mut self) {
        let (token, _) = self.last_commit();
        self.answer(token, Ok(Response::Committed(vec![Ok(())])));
    }

    fn notices(&mut self) -> Vec<Notice> {
        self.told.drain(..).map(|(_, notice)| notice).collect()
    }

    fn is_done(&self) -> bool {
        self.member.is_done() && matches!(self.others.last(), Some(MemberEffect::Done))
    }
}

#[test]
fn a_member_joins_reads_what_was_committed_and_then_delivers() {
    let mut host = Host::new(config(None));
    let joins = host.said.clone().expect("a heartbeat, at once");
    assert_eq!((joins.epoch, &joins.owned), (None, &Some(Vec::new())));
    assert!(joins.subscription.is_some() && joins.max_wait.is_zero());
    assert_eq!(joins.session_timeout, Some(SESSION));
    host.assign(&[(0, 1)], None);
    assert_eq!(host.notices(), [joined(1, &[(0, 1)])]);
    let (_, token, asked) = host.asked.remove(0);
    assert!(matches!(asked, Request::Offsets(query) if query.partitions == Some(vec![at(0)])));
    let waits = host.said.clone().expect("the next heartbeat waits");
    assert_eq!((waits.owned, waits.max_wait), (Some(vec![at(0)]), SESSION / 6));
    assert!(waits.subscription.is_none());
    assert!(host.member.has(at(0)) && !host.member.is_opening(at(0), since(1)));
    assert!(!host.member.open(at(0), since(1)), "nobody knows yet from where");
    host.offsets(token, Some(42));
    let MemberEffect::Start { committed, epoch, .. } = &host.others[0] else {
        panic!("{:?}", host.others);
    };
    assert_eq!((*committed, *epoch), (Some(Offset::new(42)), since(1)));
    assert!(host.member.is_opening(at(0), since(1)) && !host.member.is_opening(at(0), since(2)));
    assert_eq!(host.member.may_deliver(at(0)), None);
    assert!(!host.member.open(at(0), since(2)), "another time of having it");
    assert!(host.member.open(at(0), since(1)) && !host.member.open(at(0), since(1)));
    assert_eq!(host.member.may_deliver(at(0)), Some(since(1)));
}

#[test]
fn what_was_committed_is_asked_for_again_after_five_seconds_and_then_with_longer_pauses() {
    let mut host = Host::new(config(None));
    host.assign(&[(0, 1)], None);
    host.pass(SECOND * 5 + millis(50));
    assert_eq!(host.asked.len(), 2, "unanswered for five seconds, and a pause");
    for _ in 0..6 {
        let (_, token, _) = host.asked[host.asked.len() - 1];
        let error = GroupError::host(ErrorCode::CoordinatorLoading, "not yet");
        host.answer(token, Err(error));
        host.pass(SECOND);
    }
    let times: Vec<_> = host.asked.iter().map(|(when, ..)| when.as_millis()).collect();
    let pauses: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    // Each is answered, with a refusal, a second after the one before was, but for the first.
    assert_eq!(times[0..2], [0, 5_050]);
    assert_eq!(pauses[1..], [100, 1_100, 1_200, 1_400, 1_200, 1_000], "{times:?}");
}

#[test]
fn what_is_acknowledged_is_committed_after_a_while_and_once() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.ack(5);
    host.pass(SECOND - STEP);
    assert!(host.asked.is_empty(), "{:?}", host.asked);
    host.pass(STEP);
    assert_eq!(host.last_commit().1, 5);
    host.committed();
    for repeated in [5, 4] {
        host.ack(repeated);
    }
    host.pass(SECOND * 3);
    assert_eq!(host.asked.len(), 1, "it was committed already");
    host.ack(6);
    host.pass(SECOND);
    assert_eq!(host.last_commit().1, 6);
    assert_eq!(host.notices(), [], "nobody asked to be told");
}

#[test]
fn what_an_earlier_stream_sent_is_committed_as_soon_as_it_is_acknowledged() {
    let mut host = Host::new(config(Some(SECOND * 600)));
    host.assign(&[(0, 1)], None);
    let (_, read, _) = host.asked.remove(0);
    host.ack(5);
    assert_eq!(host.last_commit().1, 5, "nothing flows here yet");
    host.committed();
    host.offsets(read, Some(5));
    assert!(host.member.open(at(0), since(1)));
    host.ack(7);
    assert_eq!(host.last_commit().1, 7);
    host.committed();
    // What this one sends waits, as ever.
    host.sent(9);
    host.ack(9);
    host.pass(SECOND * 599);
    assert_eq!(host.asked.len(), 2);
    host.pass(SECOND);
    assert_eq!(host.last_commit().1, 9);
}

#[test]
fn without_automatic_commits_only_the_client_commits() {
    let mut host = Host::live(None);
    host.sent(10);
    host.ack(5);
    host.pass(SECOND * 10);
    assert!(host.asked.is_empty());
    // All that was acknowledged.
    host.step(MemberInput::Commit {
        request: 3,
        marks: Vec::new(),
    });
    assert_eq!(host.last_commit().1, 5);
    host.committed();
    assert_eq!(host.notices(), [Notice::Committed(3, vec![(at(0), Ok(()))])]);
    host.step(MemberInput::Commit {
        request: 4,
        marks: Vec::new(),
    });
    assert_eq!(
        host.notices(),
        [Notice::Committed(4, Vec::new())],
        "nothing is left"
    );
}

#[test]
fn an_acknowledgement_of_another_time_of_having_it_counts_for_nothing() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.step(MemberInput::Ack {
        at: at(0),
        epoch: Some(since(2)),
        next: Offset::new(5),
    });
    host.pass(SECOND * 2);
    assert!(host.asked.is_empty());
}

#[test]
fn commits_go_one_after_the_other_in_their_order() {
    let mut host = Host::live(None);
    host.commit(1, 5);
    host.commit(2, 6);
    host.commit(3, 7);
    assert_eq!((host.asked.len(), host.member.waiting_commits()), (1, 2));
    for (request, offset, waiting) in [(1, 5, 2), (2, 6, 1), (3, 7, 0)] {
        assert_eq!(
            (host.last_commit().1, host.member.waiting_commits()),
            (offset, waiting)
        );
        host.committed();
        assert_eq!(
            host.notices(),
            [Notice::Committed(request, vec![(at(0), Ok(()))])]
        );
    }
}

#[test]
fn a_commit_without_an_answer_is_asked_again_and_one_that_fails_with_longer_and_longer_pauses() {
    let mut host = Host::live(None);
    host.commit(1, 5);
    host.pass(SECOND * 5);
    assert_eq!(host.asked.len(), 2, "unanswered for five seconds");
    let unavailable = || GroupError::host(ErrorCode::CoordinatorNotAvailable, "away");
    let mut pauses = Vec::new();
    while host.told.is_empty() {
        let (token, _) = host.last_commit();
        let before = host.clock();
        host.answer(token, Err(unavailable()));
        if host.told.is_empty() {
            let count = host.asked.len();
            while host.asked.len() == count {
                host.pass(STEP);
            }
            pauses.push((host.clock() - before).as_millis());
        }
    }
    assert_eq!(pauses[..7], [50, 100, 200, 400, 800, 1_000, 1_000]);
    let (when, notice) = host.told.remove(0);
    assert_eq!(notice, Notice::Committed(1, vec![(at(0), Err(unavailable()))]));
    assert!(
        when >= SECOND * 30 && when <= SECOND * 31,
        "after half a minute: {when:?}"
    );
}

#[test]
fn a_clients_commit_is_tried_for_less_than_half_a_minute() {
    for (waited, tries_again) in [(SECOND * 30 - STEP, true), (SECOND * 30, false)] {
        let mut host = Host::live(None);
        host.commit(1, 5);
        host.pass(waited);
        let (token, _) = host.last_commit();
        let error = GroupError::host(ErrorCode::CoordinatorNotAvailable, "away");
        host.answer(token, Err(error));
        assert_eq!(host.notices().is_empty(), tries_again, "after {waited:?}");
    }
}

#[test]
fn an_automatic_commit_is_tried_for_as_long_as_the_partition_is_there() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.ack(5);
    host.pass(SECOND);
    while host.clock() < SECOND * 60 {
        let (token, _) = host.last_commit();
        host.answer(
            token,
            Err(GroupError::host(ErrorCode::CoordinatorNotAvailable, "away")),
        );
        host.pass(SECOND);
    }
    assert_eq!(host.notices(), []);
    host.committed();
    assert_eq!(host.notices(), []);
}

#[test]
fn an_automatic_commit_that_is_refused_for_good_is_told_and_not_asked_again() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.ack(5);
    host.pass(SECOND);
    let (token, _) = host.last_commit();
    let refused = || Err(GroupError::MetadataTooLarge(5_000));
    host.answer(token, Ok(Response::Committed(vec![refused()])));
    assert_eq!(host.notices(), [Notice::Committed(0, vec![(at(0), refused())])]);
    assert_eq!(host.asked.len(), 1);
}

#[test]
fn who_is_refused_a_commit_as_no_owner_asks_at_once_what_it_has() {
    for (error, asks) in [
        (GroupError::StaleAssignment, true),
        (GroupError::UnknownMember, true),
        (GroupError::FencedMemberEpoch, true),
        (GroupError::MetadataTooLarge(5_000), false),
    ] {
        let mut host = Host::live(None);
        host.pass(SECOND);
        host.commit(1, 5);
        let (token, _) = host.last_commit();
        host.answer(token, Ok(Response::Committed(vec![Err(error.clone())])));
        let beat = host.beat.as_ref().expect("one is out");
        let everything = beat.sent == host.now && beat.asks.owned.is_none();
        assert_eq!(everything, asks, "{error}");
    }
}

#[test]
fn a_commit_of_what_it_has_not_is_refused_with_all_that_came_with_it() {
    let mut host = Host::live(None);
    let mark = |partition, epoch| Mark {
        at: at(partition),
        epoch,
        next: Offset::new(5),
        metadata: "".into(),
    };
    let stale = || Err(GroupError::StaleAssignment);
    for (marks, results) in [
        (vec![mark(9, None)], vec![(at(9), stale())]),
        (vec![mark(0, Some(since(2)))], vec![(at(0), stale())]),
        (
            vec![mark(0, Some(since(1))), mark(9, None)],
            vec![
                (at(0), Err(GroupError::WithOthers(ErrorCode::StaleAssignment))),
                (at(9), stale()),
            ],
        ),
    ] {
        host.step(MemberInput::Commit { request: 1, marks });
        assert_eq!(host.notices(), [Notice::Committed(1, results)]);
    }
    assert!(host.asked.is_empty());
}

#[test]
fn a_partition_is_given_up_once_what_was_sent_is_acknowledged_and_committed() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.ack(5);
    host.assign(&[], Some(SECOND * 20));
    assert!(matches!(host.others[..], [MemberEffect::Stop(stopped)] if stopped == at(0)));
    let revoked = Changed {
        epoch: Some(MemberEpoch::new(2)),
        revoked: vec![at(0)],
        left: SECOND * 20,
        lost: Vec::new(),
    };
    assert_eq!(host.notices(), [Notice::Changed(revoked)]);
    assert_eq!(
        host.last_commit().1,
        5,
        "what was acknowledged is committed at once"
    );
    assert!(host.member.has(at(0)) && host.member.may_deliver(at(0)).is_none());
    host.committed();
    host.pass(SECOND * 3);
    assert!(host.member.has(at(0)), "the rest is being processed");
    assert_eq!(
        host.said.as_ref().and_then(|said| said.owned.clone()),
        Some(vec![at(0)])
    );
    host.ack(10);
    assert_eq!(host.last_commit().1, 10, "the last of it at once");
    assert!(host.member.has(at(0)), "not committed");
    host.committed();
    assert!(!host.member.has(at(0)));
    assert_eq!(
        host.said.as_ref().and_then(|said| said.owned.clone()),
        Some(Vec::new()),
        "the coordinator hears of it at once"
    );
}

#[test]
fn who_commits_by_itself_gives_up_what_is_committed_or_what_it_says() {
    for says in [false, true] {
        let mut host = Host::live(None);
        host.sent(10);
        host.assign(&[], Some(SECOND * 20));
        host.pass(SECOND);
        assert!(host.member.has(at(0)));
        if says {
            host.step(MemberInput::GiveUp(vec![at(0)]));
        } else {
            host.commit(1, 9);
            host.committed();
            assert!(host.member.has(at(0)), "one record is not committed");
            host.commit(2, 10);
            host.committed();
        }
        assert!(!host.member.has(at(0)), "{says}");
    }
}

/// As the harness saw it (`two-owners`): everything was processed, and another had the partition before this one's
/// application had heard that it was revoked.
#[test]
fn who_acknowledges_revocations_has_a_partition_until_it_says_otherwise() {
    for auto_commit in [None, Some(SECOND)] {
        let mut host = Host::live_as(MemberConfig {
            acknowledges_revocations: true,
            ..config(auto_commit)
        });
        host.assign(&[], Some(SECOND * 20));
        host.pass(SECOND);
        assert!(
            host.member.has(at(0)),
            "nothing was sent of it: it waits for the word"
        );
        host.step(MemberInput::GiveUp(vec![at(0)]));
        assert!(!host.member.has(at(0)));
    }
}

#[test]
fn what_is_not_given_up_in_time_is_lost() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.assign(&[], Some(SECOND * 20));
    host.notices();
    host.pass(SECOND * 20 - STEP);
    assert!(host.member.has(at(0)) && host.told.is_empty());
    host.pass(STEP);
    assert!(!host.member.has(at(0)));
    let lost = Changed {
        epoch: Some(MemberEpoch::new(2)),
        lost: vec![at(0)],
        ..Changed::default()
    };
    assert_eq!(host.notices(), [Notice::Changed(lost)]);
}

#[test]
fn what_was_not_given_up_is_lost_however_late_that_is_looked_at() {
    for late in [Duration::ZERO, millis(1), SECOND] {
        let mut host = Host::live(None);
        host.sent(10);
        host.assign(&[], Some(SECOND));
        host.now = host.now.after(SECOND + late);
        host.step(MemberInput::Tick);
        assert!(!host.member.has(at(0)), "{late:?}");
    }
}

#[test]
fn a_partition_that_comes_back_under_another_epoch_is_lost_and_read_anew() {
    let mut host = Host::live(None);
    host.sent(10);
    host.assign(&[(0, 2)], Some(SECOND * 20));
    let lost = Changed {
        epoch: Some(MemberEpoch::new(2)),
        lost: vec![at(0)],
        ..Changed::default()
    };
    assert_eq!(host.notices(), [Notice::Changed(lost)]);
    let (_, token, asked) = host.asked.remove(0);
    assert!(matches!(asked, Request::Offsets(_)));
    host.offsets(token, Some(3));
    assert!(!host.member.open(at(0), since(1)) && host.member.open(at(0), since(2)));
}

#[test]
fn who_is_answered_at_once_and_told_nothing_asks_again_after_half_a_wait_at_most() {
    let mut host = Host::live(None);
    let session = SECOND * 6;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let beat = host.beat.take().expect("one waits");
        let answer = HeartbeatAnswer {
            epoch: MemberEpoch::new(host.epoch),
            heartbeat_interval: SECOND,
            session_timeout: session,
            assignment: None,
            revoking: Vec::new(),
            revocation_left: None,
        };
        let before = host.now;
        host.answer(beat.token, Ok(Response::Heartbeat(answer)));
        while host.beat.is_none() {
            host.pass(STEP);
        }
        pauses.push(host.now.since(before).as_millis());
    }
    assert_eq!(pauses, [50, 100, 200, 400, 500, 500, 500]);
}

#[test]
fn without_answers_everything_is_lost_and_the_member_joins_anew_under_another_stream() {
    let mut host = Host::live(Some(SECOND));
    host.pass(SECOND * 5);
    host.answering = false;
    let until = host.vouched.after(SESSION / 12 * 7);
    host.pass(until.since(host.now) - STEP);
    assert!(host.member.has(at(0)) && host.told.is_empty());
    host.pass(STEP);
    let lost = Changed {
        lost: vec![at(0)],
        ..Changed::default()
    };
    assert_eq!(host.notices(), [Notice::Changed(lost)]);
    assert_eq!(host.member.epoch(), None);
    let joins = host.said.clone().expect("it goes on");
    assert_eq!((joins.epoch, joins.stream), (None, Some(StreamId::new(8))));
    assert!(joins.subscription.is_some());
}

#[test]
fn a_heartbeat_without_an_answer_is_repeated_and_asks_for_everything() {
    let mut host = Host::live(None);
    host.answering = false;
    let sent = host.beat.as_ref().expect("one waits").sent;
    // Its wait, a twelfth of the session, and a pause.
    let again = sent.after(SESSION / 6 + SESSION / 12 + millis(50));
    host.pass(again.since(host.now) - STEP);
    assert_eq!(host.beat.as_ref().map(|beat| beat.sent), Some(sent));
    host.pass(STEP);
    let beat = host.beat.as_ref().expect("another one");
    assert_eq!(beat.sent, again);
    assert_eq!((&beat.asks.owned, beat.asks.max_wait), (&None, Duration::ZERO));
}

#[test]
fn who_is_told_that_it_is_none_joins_anew_when_its_client_speaks_or_after_a_while() {
    for speaks in [false, true] {
        let mut host = Host::live(None);
        let beat = host.beat.take().expect("one waits");
        host.answer(beat.token, Err(GroupError::UnknownMember));
        let lost = Changed {
            lost: vec![at(0)],
            ..Changed::default()
        };
        assert_eq!(host.notices(), [Notice::Changed(lost)]);
        assert!(host.beat.is_none(), "its client may have gone to another stream");
        if speaks {
            host.step(MemberInput::Heard);
        } else {
            host.pass(SECOND * 15 - STEP);
            assert!(host.beat.is_none());
            host.answering = false;
            host.pass(STEP);
        }
        let joins = host.beat.as_ref().map(|beat| beat.asks.subscription.is_some());
        assert_eq!(joins, Some(true), "{speaks}");
    }
}

#[test]
fn who_never_joined_is_not_told_that_it_lost_anything() {
    let mut host = Host::new(config(None));
    let beat = host.beat.take().expect("it joins");
    host.answer(beat.token, Err(GroupError::UnknownMember));
    assert_eq!(host.notices(), []);
    host.pass(SECOND);
    assert_eq!(host.notices(), [joined(0, &[])]);
}

/// A host that is asked to go on as a member which has partition 1, and has been told to give up partition 0.
fn resumed() -> Host {
    let mut host = Host::new(MemberConfig {
        epoch: Some(MemberEpoch::new(3)),
        acknowledges_revocations: true,
        ..config(Some(SECOND))
    });
    let asks = host.said.clone().expect("a heartbeat, at once");
    assert_eq!((asks.epoch, asks.owned), (Some(MemberEpoch::new(3)), None));
    (host.epoch, host.assigned, host.left) = (3, assigned(&[(1, 2)]), Some(SECOND * 5));
    host.revoking = assigned(&[(0, 1)]);
    host.answer_beat();
    let joined = Joined {
        epoch: MemberEpoch::new(3),
        assigned: assigned(&[(1, 2)]),
        revoking: assigned(&[(0, 1)]),
        left: SECOND * 5,
    };
    assert_eq!(host.notices(), [Notice::Joined(joined)]);
    let says = host.said.clone().expect("the next heartbeat");
    assert_eq!(
        says.owned,
        Some(vec![at(0), at(1)]),
        "nobody else may have it yet"
    );
    host
}

#[test]
fn what_was_being_revoked_on_a_stream_that_broke_is_given_up_as_the_client_says_so() {
    let mut host = resumed();
    assert!(host.member.may_deliver(at(0)).is_none());
    host.ack(7);
    host.step(MemberInput::GiveUp(vec![at(0)]));
    let (commit, offset) = host.last_commit();
    assert_eq!(
        offset, 7,
        "what was processed on the stream before is committed first"
    );
    assert_eq!(host.said.clone().expect("said").owned, Some(vec![at(0), at(1)]));
    host.answer(commit, Ok(Response::Committed(vec![Ok(())])));
    assert_eq!(host.said.clone().expect("said").owned, Some(vec![at(1)]));
    assert_eq!(host.notices(), [], "it said so itself");
}

#[test]
fn what_was_being_revoked_on_a_stream_that_broke_is_lost_at_the_same_deadline() {
    let mut host = resumed();
    host.pass(SECOND * 5 - STEP);
    assert!(host.member.has(at(0)));
    host.pass(STEP);
    let lost = Changed {
        epoch: Some(MemberEpoch::new(3)),
        lost: vec![at(0)],
        ..Changed::default()
    };
    assert_eq!(host.notices(), [Notice::Changed(lost)]);
}

#[test]
fn what_a_client_has_kept_is_revoked_though_it_has_not_begun_on_its_new_stream() {
    let mut host = resumed();
    host.assigned = Vec::new();
    host.revoking = assigned(&[(0, 1), (1, 2)]);
    host.untold = true;
    host.epoch += 1;
    host.answer_beat();
    let revoked = Changed {
        epoch: Some(MemberEpoch::new(4)),
        revoked: vec![at(1)],
        left: SECOND * 5,
        ..Changed::default()
    };
    assert_eq!(host.notices(), [Notice::Changed(revoked)]);
    assert_eq!(host.said.clone().expect("said").owned, Some(vec![at(0), at(1)]));
}

#[test]
fn what_can_never_succeed_ends_the_stream() {
    let mut host = Host::live(None);
    let beat = host.beat.take().expect("one waits");
    host.answer(beat.token, Err(GroupError::GroupFull(9)));
    assert!(matches!(
        &host.others[..],
        [
            MemberEffect::Stop(_),
            MemberEffect::Fail(GroupError::GroupFull(9)),
            ..
        ]
    ));
    assert!(host.is_done() && host.member.deadline().is_none());
    host.step(MemberInput::Heard);
    assert!(host.beat.is_none());
}

fn leaves(host: &Host) -> usize {
    let leave = |asked: &&(Duration, RequestToken, Request)| matches!(asked.2, Request::Leave(_));
    host.asked.iter().filter(leave).count()
}

#[test]
fn a_stream_that_closes_commits_leaves_and_is_done() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.ack(5);
    host.step(MemberInput::Finish(Finish::Closed));
    assert!(matches!(host.others[..], [MemberEffect::Stop(_)]));
    assert_eq!(host.member.may_deliver(at(0)), None);
    assert_eq!((host.last_commit().1, leaves(&host)), (5, 0));
    host.committed();
    let Some((_, token, Request::Leave(leave))) = host.asked.last() else {
        panic!("{:?}", host.asked);
    };
    assert_eq!((leave.stream, leave.will_return), (Some(StreamId::new(7)), false));
    let token = *token;
    assert!(!host.is_done());
    host.answer(token, Ok(Response::Left));
    assert!(host.is_done());
}

#[test]
fn an_end_waits_two_seconds_for_its_last_commit_and_three_for_its_last_word() {
    let mut host = Host::live(Some(SECOND));
    host.sent(10);
    host.ack(5);
    host.step(MemberInput::Finish(Finish::Closed));
    host.pass(SECOND * 2 - STEP);
    assert_eq!(leaves(&host), 0);
    host.pass(STEP);
    assert_eq!(leaves(&host), 1);
    host.pass(SECOND * 3 - STEP);
    assert!(!host.is_done());
    host.pass(STEP);
    assert!(host.is_done());
}

#[test]
fn a_broken_stream_may_come_back_within_a_moment() {
    let mut host = Host::live(None);
    host.step(MemberInput::Finish(Finish::Broken));
    host.pass(millis(300) - STEP);
    assert_eq!(leaves(&host), 0);
    host.pass(STEP);
    assert_eq!(leaves(&host), 1);
    let mut host = Host::live(None);
    host.step(MemberInput::Finish(Finish::Broken));
    host.pass(millis(200));
    host.step(MemberInput::Finish(Finish::Replaced));
    host.pass(SECOND);
    assert!(
        leaves(&host) == 0 && host.is_done(),
        "another stream goes on as this member"
    );
}

#[test]
fn where_the_broker_goes_away_the_member_stays() {
    let mut host = Host::live(None);
    host.step(MemberInput::Finish(Finish::Draining));
    assert!(leaves(&host) == 0 && host.is_done());
}

#[test]
fn a_static_member_says_that_it_will_return() {
    let mut host = Host::new(MemberConfig {
        instance: InstanceId::new("i").ok(),
        ..config(None)
    });
    host.assign(&[(0, 1)], None);
    host.step(MemberInput::Finish(Finish::Closed));
    let returns = host
        .asked
        .iter()
        .any(|(.., asked)| matches!(asked, Request::Leave(leave) if leave.will_return));
    assert!(returns, "{:?}", host.asked);
}
