//! Members of groups, from plain stubs.

mod formats;
mod patterns;
mod places;
mod returning;

use super::cluster::{Node, places, start_all, stop_all, until};
use super::*;
use quipu_proto::v1::consume_request::Message as Ask;
use quipu_proto::v1::consume_response::Message as Say;
use quipu_proto::v1::group_service_client::GroupServiceClient;
use quipu_proto::v1::start_position::Position;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// What takes longer than this will never come.
const PATIENCE: Duration = Duration::from_secs(60);
const CREDIT: u64 = 1 << 20;

/// A client that is a member: it grants what it has used up, and does what it is told.
struct Member {
    ask: Option<mpsc::Sender<v1::ConsumeRequest>>,
    say: Streaming<v1::ConsumeResponse>,
    me: Option<v1::Membership>,
    /// Acknowledges whatever it gets.
    acks: bool,
    /// What it was told to have, and has not begun.
    named: BTreeSet<u32>,
    /// What it has: partitions, each with its assignment epoch.
    has: BTreeMap<u32, u32>,
    /// What was taken from it.
    revoked: Vec<u32>,
    /// How often it was given something.
    given: usize,
    begun: BTreeMap<u32, v1::PartitionAssigned>,
    /// Partition, offset and value.
    got: Vec<(u32, u64, String)>,
    /// Frames of encoded batches, as they came.
    encoded: Vec<v1::PartitionData>,
    results: Vec<v1::CommitResult>,
    sought: Vec<v1::Sought>,
    /// Partitions that are not read any further, and why. Only who expects some gets any.
    stopped: Vec<(u32, ErrorCode)>,
    may_stop: bool,
}

fn group(name: &str) -> v1::OpenGroup {
    v1::OpenGroup {
        group: name.to_owned(),
        topics: vec!["t".to_owned()],
        session_timeout_ms: 10_000,
        auto_commit_interval_ms: 50,
        ..v1::OpenGroup::default()
    }
}

fn as_before(name: &str, me: &v1::Membership) -> v1::OpenGroup {
    v1::OpenGroup {
        member_id: Some(me.member_id.clone()),
        member_epoch: me.member_epoch,
        ..group(name)
    }
}

impl Member {
    async fn open(channel: &Channel, asked: v1::OpenGroup) -> Self {
        let open = v1::Open {
            source: Some(v1::open::Source::Group(asked)),
            ..v1::Open::default()
        };
        Self::open_as(channel, open).await
    }

    async fn open_as(channel: &Channel, open: v1::Open) -> Self {
        let (ask, asks) = mpsc::channel(256);
        let credit = v1::Credit {
            bytes: CREDIT,
            records: None,
        };
        for message in [Ask::Open(open), Ask::Credit(credit)] {
            let message = Some(message);
            ask.send(v1::ConsumeRequest { message }).await.unwrap();
        }
        let mut client = ConsumeServiceClient::new(channel.clone());
        let say = client
            .consume(ReceiverStream::new(asks))
            .await
            .unwrap()
            .into_inner();
        Self {
            ask: Some(ask),
            say,
            me: None,
            named: BTreeSet::new(),
            acks: true,
            has: BTreeMap::new(),
            revoked: Vec::new(),
            given: 0,
            begun: BTreeMap::new(),
            got: Vec::new(),
            encoded: Vec::new(),
            results: Vec::new(),
            sought: Vec::new(),
            stopped: Vec::new(),
            may_stop: false,
        }
    }

    async fn joined(channel: &Channel, asked: v1::OpenGroup) -> Self {
        let mut member = Self::open(channel, asked).await;
        member.until("it joins", |member| member.me.is_some()).await;
        member
    }

    async fn ask(&self, message: Ask) {
        let request = v1::ConsumeRequest {
            message: Some(message),
        };
        self.ask.as_ref().unwrap().send(request).await.unwrap();
    }

    async fn ack(&self, partition: u32, next_offset: u64) {
        let ack = v1::Ack {
            topic: "t".to_owned(),
            partition,
            next_offset,
            assignment_epoch: self.has.get(&partition).copied(),
        };
        self.ask(Ask::Ack(ack)).await;
    }

    async fn commit(&self, request_id: u64, partition: u32, next_offset: u64) {
        let offset = v1::StreamOffset {
            topic: "t".to_owned(),
            partition,
            next_offset,
            ..v1::StreamOffset::default()
        };
        let offsets = vec![offset];
        self.ask(Ask::Commit(v1::Commit { request_id, offsets })).await;
    }

    /// Takes what comes, until it is so.
    async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !so(self) {
                let said = self.say.message().await.unwrap().expect("no end yet");
                self.take(said.message.unwrap()).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!(
                "{what}: not within {PATIENCE:?}; has {:?}, got {:?}",
                self.has, self.got
            );
        }
    }

    /// Takes what comes for a while.
    async fn watch(&mut self, span: Duration) {
        let forever = async {
            loop {
                let said = self.say.message().await.unwrap().expect("no end yet");
                self.take(said.message.unwrap()).await;
            }
        };
        let _: Result<(), _> = tokio::time::timeout(span, forever).await;
    }

    async fn take(&mut self, said: Say) {
        match said {
            Say::Opened(opened) => {
                let me = opened.membership.unwrap();
                assert_eq!(me.revocation_left_ms == 0, me.revoking.is_empty());
                self.named = me.assigned.iter().map(|held| held.partition).collect();
                self.me = Some(me);
            }
            Say::Assignment(assignment) => self.change(assignment),
            Say::Data(data) if self.may_stop && data.error.is_some() => {
                let failure = Failure::from(data.error.unwrap());
                self.stopped.push((data.partition, failure.code));
            }
            Say::Data(data) => {
                assert_eq!(data.error, None);
                assert_eq!(
                    self.has.get(&data.partition).copied(),
                    data.assignment_epoch,
                    "it has what it gets"
                );
                let mut bytes = 0;
                for stored in &data.records {
                    let value = stored.record.clone().unwrap().value.unwrap();
                    bytes += value.len() as u64;
                    let value = String::from_utf8(value.to_vec()).unwrap();
                    self.got.push((data.partition, stored.offset, value));
                }
                bytes += data.encoded.as_ref().map_or(0, |encoded| encoded.len() as u64);
                let credit = v1::Credit { bytes, records: None };
                self.ask(Ask::Credit(credit)).await;
                if self.acks {
                    self.ack(data.partition, data.next_offset).await;
                }
                self.encoded.extend(data.encoded.is_some().then_some(data));
            }
            Say::Commit(result) => self.results.push(result),
            Say::Sought(sought) => self.sought.push(sought),
            Say::Heartbeat(_) => {}
        }
    }

    fn change(&mut self, assignment: v1::Assignment) {
        if let Some(me) = &mut self.me {
            me.member_epoch = assignment.member_epoch;
        }
        for assigned in assignment.assigned {
            let opened = assigned.opened.clone().unwrap();
            assert_eq!(opened.error, None);
            let epoch = assigned.assignment_epoch;
            self.named.remove(&opened.partition);
            assert_eq!(
                self.has.insert(opened.partition, epoch),
                None,
                "it is given what it does not have"
            );
            self.begun.insert(opened.partition, assigned);
            self.given += 1;
        }
        for partition in assignment.revoked {
            let had = self.has.remove(&partition.partition).is_some();
            let named = self.named.remove(&partition.partition);
            assert!(had || named, "what it has is revoked");
            self.revoked.push(partition.partition);
        }
        for partition in assignment.lost {
            self.has.remove(&partition.partition);
            self.named.remove(&partition.partition);
        }
    }

    /// Says its last word, and waits for the end.
    async fn leave(mut self) {
        self.ask = None;
        let ending = async { while self.say.message().await.unwrap().is_some() {} };
        tokio::time::timeout(PATIENCE, ending)
            .await
            .expect("the stream ends");
    }

    fn partitions(&self) -> Vec<u32> {
        self.has.keys().copied().collect()
    }
}

async fn write(channel: &Channel, partition: u32, values: &[&str]) {
    let record = |value: &&str| v1::Record {
        value: Some((*value).to_owned().into()),
        ..v1::Record::default()
    };
    let request = v1::ProduceRequest {
        batches: vec![v1::Batch {
            topic: "t".to_owned(),
            partition: Some(partition),
            payload: Some(v1::batch::Payload::Records(v1::RecordList {
                records: values.iter().map(record).collect(),
                ..v1::RecordList::default()
            })),
            ..v1::Batch::default()
        }],
        ..v1::ProduceRequest::default()
    };
    let mut client = ProduceServiceClient::new(channel.clone());
    let response = client.produce(request).await.unwrap().into_inner();
    assert_eq!(response.results[0].error, None);
}

async fn topic(channel: &Channel, partitions: u32) {
    let mut client = TopicServiceClient::new(channel.clone());
    client.create_topic(new_topic("t", partitions)).await.unwrap();
}

fn reason(item: &v1::StreamOffsetResult) -> ErrorCode {
    Failure::from(item.error.clone().expect("an error")).code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_gets_everything_and_the_next_goes_on_where_it_ended() {
    let running = Running::start().await;
    topic(&running.channel, 3).await;
    for partition in 0..3 {
        write(&running.channel, partition, &["a", "b"]).await;
    }
    let mut member = Member::joined(&running.channel, group("g")).await;
    member
        .until("all of it comes", |member| member.got.len() == 6)
        .await;
    assert_eq!(member.partitions(), [0, 1, 2]);
    member.leave().await;

    write(&running.channel, 1, &["c"]).await;
    let mut next = Member::joined(&running.channel, group("g")).await;
    next.until("what is new comes", |member| !member.got.is_empty())
        .await;
    next.until("it has everything", |member| member.has.len() == 3)
        .await;
    assert_eq!(next.got, [(1, 2, "c".to_owned())]);
    assert!(
        next.begun.values().all(|assigned| assigned.committed == Some(2)),
        "{:?}",
        next.begun
    );
    next.leave().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_and_only_what_moves_stops() {
    let running = Running::start().await;
    topic(&running.channel, 6).await;
    let mut a = Member::joined(&running.channel, group("g")).await;
    a.until("it has everything", |a| a.has.len() == 6).await;
    let mut b = Member::joined(&running.channel, group("g")).await;
    let (first, second) = tokio::join!(
        async {
            a.until("half is taken", |a| a.has.len() == 3).await;
            a
        },
        async {
            b.until("half is given", |b| b.has.len() == 3).await;
            b
        },
    );
    (a, b) = (first, second);
    assert_eq!(
        (a.given, a.revoked.len()),
        (6, 3),
        "what it keeps was never touched"
    );

    let mut c = Member::joined(&running.channel, group("g")).await;
    tokio::join!(
        a.until("two are left", |a| a.has.len() == 2),
        b.until("two are left", |b| b.has.len() == 2),
        c.until("two are given", |c| c.has.len() == 2),
    );
    assert_eq!((a.given, b.given, c.given), (6, 3, 2));
    let mut all: Vec<_> = [&a, &b, &c]
        .iter()
        .flat_map(|member| member.partitions())
        .collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);

    // Who leaves is followed at once.
    b.leave().await;
    tokio::join!(
        a.until("three", |a| a.has.len() == 3),
        c.until("three", |c| c.has.len() == 3),
    );
    for partition in 0..6 {
        write(&running.channel, partition, &["x"]).await;
    }
    let count = a.has.len();
    a.until("it flows", |a| a.got.len() == count).await;
    c.until("it flows", |c| c.got.len() == 3).await;
    drop((a, c));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_goes_on_by_another_stream_and_nothing_moves() {
    let running = Running::start().await;
    topic(&running.channel, 4).await;
    let mut a = Member::joined(&running.channel, group("g")).await;
    a.until("it has everything", |a| a.has.len() == 4).await;
    let mut b = Member::joined(&running.channel, group("g")).await;
    tokio::join!(
        a.until("half", |a| a.has.len() == 2),
        b.until("half", |b| b.has.len() == 2),
    );
    a.watch(Duration::from_millis(300)).await;
    let (me, had) = (a.me.clone().unwrap(), a.has.clone());
    // The broker may hear of the new stream before it sees that the old one is gone.
    let old = std::mem::replace(
        &mut a,
        Member::joined(&running.channel, as_before("g", &me)).await,
    );
    drop(old);
    a.until("it has what it had", |a| a.has.len() == 2).await;
    assert_eq!(
        (a.has.clone(), a.me.clone().unwrap().member_id),
        (had, me.member_id)
    );
    let (given, revoked) = (b.given, b.revoked.len());
    b.watch(Duration::from_millis(1_500)).await;
    assert_eq!(
        (b.given, b.revoked.len(), b.has.len()),
        (given, revoked, 2),
        "nothing moved"
    );
    drop((a, b));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_off_is_followed_within_a_moment_from_what_it_acknowledged() {
    let running = Running::start().await;
    topic(&running.channel, 1).await;
    write(&running.channel, 0, &["0", "1", "2", "3", "4"]).await;
    let mut a = Member::joined(&running.channel, group("g")).await;
    a.acks = false;
    a.until("all of it comes", |a| a.got.len() == 5).await;
    // Sent, and not acknowledged: not committed.
    a.watch(Duration::from_millis(300)).await;
    a.ack(0, 2).await;
    let mut b = Member::joined(&running.channel, group("g")).await;
    let broken = Instant::now();
    drop(a);
    b.until("it comes to the other", |b| b.got.len() == 3).await;
    let took = broken.elapsed();
    println!("handed over in {took:?}");
    assert!(
        took < Duration::from_secs(20),
        "{took:?}: not by the session's timeout, which is 45 s"
    );
    assert_eq!(b.begun[&0].committed, Some(2));
    assert_eq!(b.got[0], (0, 2, "2".to_owned()));
    drop(b);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_not_committed_any_more() {
    let running = Running::start().await;
    topic(&running.channel, 2).await;
    write(&running.channel, 0, &["x"]).await;
    write(&running.channel, 1, &["y"]).await;
    let manual = || v1::OpenGroup {
        commit: v1::CommitMode::Manual.into(),
        ..group("g")
    };
    let mut a = Member::joined(&running.channel, manual()).await;
    a.until("all of it comes", |a| a.got.len() == 2).await;
    let mut b = Member::joined(&running.channel, manual()).await;
    a.until("one is revoked", |a| a.revoked.len() == 1).await;
    let taken = a.revoked[0];
    // It was sent something that it has not committed: it is given time to.
    a.watch(Duration::from_millis(300)).await;
    a.commit(7, taken, 1).await;
    a.until("it commits", |a| !a.results.is_empty()).await;
    assert_eq!(
        (a.results[0].request_id, a.results[0].results[0].error.clone()),
        (7, None)
    );
    // With that it is settled, and goes to the other.
    b.until("it has one", |b| b.has.len() == 1).await;
    assert_eq!(
        (b.partitions(), b.begun[&taken].committed),
        (vec![taken], Some(1))
    );
    a.commit(8, taken, 0).await;
    a.until("it is refused", |a| a.results.len() == 2).await;
    assert_eq!(
        (a.results[1].request_id, reason(&a.results[1].results[0])),
        (8, ErrorCode::StaleAssignment)
    );
    // The other keeps what it said itself.
    let kept = 1 - taken;
    a.commit(9, kept, 1).await;
    a.until("its own it commits", |a| a.results.len() == 3).await;
    assert_eq!(a.results[2].results[0].error, None);
    drop((a, b));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_finish_gives_up_when_it_says_so() {
    let running = Running::start().await;
    topic(&running.channel, 2).await;
    write(&running.channel, 0, &["x"]).await;
    write(&running.channel, 1, &["y"]).await;
    let mut a = Member::joined(&running.channel, group("g")).await;
    a.acks = false;
    a.until("all of it comes", |a| a.got.len() == 2).await;
    let mut b = Member::joined(&running.channel, group("g")).await;
    a.until("one is revoked", |a| a.revoked.len() == 1).await;
    b.watch(Duration::from_millis(500)).await;
    assert_eq!(b.has.len(), 0, "it is not given up yet");
    let partition = v1::StreamPartition {
        topic: "t".to_owned(),
        partition: a.revoked[0],
    };
    let partitions = vec![partition];
    a.ask(Ask::AssignmentAck(v1::AssignmentAck { partitions })).await;
    b.until("it has one", |b| b.got.len() == 1).await;
    drop((a, b));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seek_and_pause_on_a_groups_stream() {
    let running = Running::start().await;
    topic(&running.channel, 1).await;
    write(&running.channel, 0, &["0", "1", "2"]).await;
    let mut a = Member::joined(&running.channel, group("g")).await;
    a.until("all of it comes", |a| a.got.len() == 3).await;
    let seek = |partition, offset| {
        Ask::Seek(v1::Seek {
            topic: "t".to_owned(),
            partition,
            to: Some(v1::StartPosition {
                position: Some(Position::Offset(offset)),
            }),
        })
    };
    a.ask(seek(0, 1)).await;
    a.until("it comes again", |a| a.got.len() == 5).await;
    assert_eq!(a.sought[0].offset, 1);
    a.ask(seek(9, 1)).await;
    a.until("it is refused", |a| a.sought.len() == 2).await;
    let refused = Failure::from(a.sought[1].error.clone().unwrap());
    assert_eq!(refused.code, ErrorCode::StaleAssignment);
    let pause = |paused| {
        Ask::Pause(v1::Pause {
            topic: "t".to_owned(),
            partition: 0,
            paused,
        })
    };
    a.ask(pause(true)).await;
    // It answers in order: with this, the pause has come.
    a.ask(seek(9, 1)).await;
    a.until("the pause has come", |a| a.sought.len() == 3).await;
    write(&running.channel, 0, &["3"]).await;
    a.watch(Duration::from_millis(300)).await;
    assert_eq!(a.got.len(), 5);
    a.ask(pause(false)).await;
    a.until("it goes on", |a| a.got.len() == 6).await;
    drop(a);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_group_takes_is_said_with_a_status() {
    let running = Running::start().await;
    let refused = async |asked: v1::OpenGroup| {
        let mut member = Member::open(&running.channel, asked).await;
        loop {
            match member.say.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an end without a status"),
                Err(status) => return code(&status),
            }
        }
    };
    assert_eq!(refused(group("")).await, ErrorCode::InvalidGroup);
    let nothing = v1::OpenGroup {
        topics: Vec::new(),
        ..group("g")
    };
    assert_eq!(refused(nothing).await, ErrorCode::InvalidRequest);
    let assignor = v1::OpenGroup {
        assignor: Some("luck".to_owned()),
        ..group("g")
    };
    assert_eq!(refused(assignor).await, ErrorCode::UnsupportedAssignor);
    running.stop().await;
}

/// A stream that its client has left, and that arrives late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_stream_is_refused_for_good_and_the_newer_one_goes_on() {
    let running = Running::start().await;
    topic(&running.channel, 2).await;
    let counted = |number, asked| v1::OpenGroup {
        stream_number: number,
        ..asked
    };
    let mut first = Member::joined(&running.channel, counted(3, group("g"))).await;
    first.until("it has both", |member| member.has.len() == 2).await;
    let me = first.me.clone().expect("it joined");
    let before = as_before("g", &me);
    let mut late = Member::open(&running.channel, counted(2, before.clone())).await;
    let refused = loop {
        match late.say.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an end without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(code(&refused), ErrorCode::SupersededStream);
    assert!(!Failure::from_status(&refused).expect("says why").retryable);
    // By another broker.
    let mut client = GroupServiceClient::new(running.channel.clone());
    let beat = v1::GroupHeartbeatRequest {
        group: "g".to_owned(),
        member_id: me.member_id.clone(),
        member_epoch: me.member_epoch,
        subscription: Some(v1::Subscription {
            topics: vec!["t".to_owned()],
            topic_pattern: None,
        }),
        stream_id: 99,
        stream_number: 2,
        ..v1::GroupHeartbeatRequest::default()
    };
    let refused = client.group_heartbeat(beat).await.expect_err("it is older");
    assert_eq!(code(&refused), ErrorCode::SupersededStream);
    let leave = v1::LeaveGroupRequest {
        group: "g".to_owned(),
        member_id: me.member_id.clone(),
        stream_id: 99,
        stream_number: 2,
        ..v1::LeaveGroupRequest::default()
    };
    client.leave_group(leave).await.expect("left long ago");
    write(&running.channel, 0, &["a", "b", "c"]).await;
    first.until("it reads on", |member| member.got.len() == 3).await;
    let mut second = Member::joined(&running.channel, counted(4, before)).await;
    second.until("it has both", |member| member.has.len() == 2).await;
    running.stop().await;
}

/// The members of every broker, over all partitions, wherever they are led and whoever coordinates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_by_any_broker_share_what_any_broker_leads() {
    let nodes = start_all(places(3)).await;
    until("all are unfenced", async || {
        let brokers = nodes[0].cluster().await.brokers;
        brokers.len() == 3 && brokers.iter().all(|broker| !broker.fenced)
    })
    .await;
    let mut channels = Vec::new();
    for node in &nodes {
        channels.push(node.channel().await);
    }
    topic(&channels[0], 6).await;
    let leaders: BTreeSet<_> = nodes[0]
        .topic("t")
        .await
        .partitions
        .iter()
        .map(|p| p.leader)
        .collect();
    assert!(leaders.len() > 1, "{leaders:?}");
    until("it can be written", async || {
        let mut written = true;
        for node in &nodes {
            written &= node
                .topic("t")
                .await
                .partitions
                .iter()
                .all(|p| p.leader.is_some());
        }
        written
    })
    .await;
    for partition in 0..6 {
        write(&channels[0], partition, &["a"]).await;
    }
    let mut members = Vec::new();
    for channel in &channels {
        members.push(Member::joined(channel, group("g")).await);
    }
    let sharing = async {
        // What they have on the way there is nothing to stop at.
        while members.iter().any(|member| member.has.len() != 2) {
            for member in &mut members {
                member.watch(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, sharing).await.expect("two each");
    let all: BTreeSet<_> = members.iter().flat_map(Member::partitions).collect();
    assert_eq!(all.len(), 6);
    let [a, b, c] = &mut members[..] else {
        unreachable!("three")
    };
    for partition in 0..6 {
        write(&channels[1], partition, &["b"]).await;
    }
    let second = |member: &Member| member.got.iter().filter(|(_, _, value)| value == "b").count() == 2;
    tokio::join!(
        a.until("what is new comes", second),
        b.until("what is new comes", second),
        c.until("what is new comes", second),
    );
    let firsts = members.iter().flat_map(|member| &member.got);
    let firsts: BTreeSet<_> = firsts
        .filter(|(_, _, value)| value == "a")
        .map(|(at, _, _)| *at)
        .collect();
    assert_eq!(firsts.len(), 6, "all of it was processed");
    for member in members {
        member.leave().await;
    }
    stop_all(nodes).await;
}

/// Nothing moves when the broker that hosts a stream goes: the member goes on by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_sends_its_members_on() {
    let mut nodes = start_all(places(3)).await;
    until("all are unfenced", async || {
        let brokers = nodes[0].cluster().await.brokers;
        brokers.len() == 3 && brokers.iter().all(|broker| !broker.fenced)
    })
    .await;
    let (first, second) = (nodes[0].channel().await, nodes[1].channel().await);
    topic(&first, 4).await;
    let mut a = Member::joined(&first, group("g")).await;
    a.until("it has everything", |a| a.has.len() == 4).await;
    let mut b = Member::joined(&second, group("g")).await;
    tokio::join!(
        a.until("half", |a| a.has.len() == 2),
        b.until("half", |b| b.has.len() == 2),
    );
    b.watch(Duration::from_millis(500)).await;
    a.watch(Duration::from_millis(500)).await;
    let (me, had) = (a.me.clone().unwrap(), a.has.clone());
    let leaving: Node = nodes.remove(0);
    let stopping = tokio::spawn(async move { leaving.stop().await });
    let ended = loop {
        match a.say.message().await {
            Ok(Some(said)) => a.take(said.message.unwrap()).await,
            Ok(None) => panic!("an end without a status"),
            Err(status) => break code(&status),
        }
    };
    assert_eq!(ended, ErrorCode::ShuttingDown);
    let mut a = Member::joined(&second, as_before("g", &me)).await;
    a.until("it has what it had", |a| a.has.len() == 2).await;
    assert_eq!(a.has, had);
    stopping.await.unwrap();
    let given = b.given;
    b.watch(Duration::from_secs(2)).await;
    assert_eq!(
        (b.given, b.revoked.len(), b.has.len()),
        (given, 0, 2),
        "nothing moved"
    );
    a.leave().await;
    b.leave().await;
    stop_all(nodes).await;
}
