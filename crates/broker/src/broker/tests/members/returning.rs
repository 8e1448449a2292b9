//! Members whose stream breaks: who comes back to what, and what administrators may do meanwhile.

use super::super::groups::{committed, describe, offset, try_commit};
use super::*;
use quipu_proto::v1::reset_target::To;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A connection to a broker that breaks when it is told to, without a last word.
struct Line {
    channel: Channel,
    relay: JoinHandle<()>,
}

impl Line {
    async fn to(running: &Running) -> Self {
        let broker = running.broker.addresses().listeners[0].bound;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let relay = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            // One connection, and none after it.
            drop(listener);
            let mut broker = TcpStream::connect(broker).await.unwrap();
            // However it ends, it is over.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
        });
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{here}")).unwrap();
        Self {
            channel: endpoint.connect().await.unwrap(),
            relay,
        }
    }

    /// Breaks it, under whoever is on it.
    async fn cut(self, member: Member) {
        self.relay.abort();
        assert!(self.relay.await.unwrap_err().is_cancelled());
        drop(member);
    }
}

fn as_instance(name: &str, instance: &str) -> v1::OpenGroup {
    v1::OpenGroup {
        instance_id: Some(instance.to_owned()),
        ..group(name)
    }
}

/// Waits until a broker remembers so much.
async fn until_committed(channel: &Channel, name: &str, wanted: &[u64]) {
    let partitions = u32::try_from(wanted.len()).unwrap();
    let wanted: Vec<_> = wanted.iter().copied().map(Some).collect();
    until("it is committed", async || {
        committed(channel, name, "t", partitions).await == wanted
    })
    .await;
}

/// Waits until all that the member has said before has come to its broker: it answers in order.
async fn until_heard(member: &mut Member) {
    let before = member.sought.len();
    let nothing = v1::Seek {
        topic: "t".to_owned(),
        partition: 99,
        to: Some(v1::StartPosition {
            position: Some(Position::Offset(0)),
        }),
    };
    member.ask(Ask::Seek(nothing)).await;
    member
        .until("it is heard", |member| member.sought.len() > before)
        .await;
}

/// As by a kill and a start of its process: it says no last word, and has only its instance id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_that_breaks_off_has_what_it_had_when_it_is_back_and_nothing_else_moves() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 4).await;
    let line = Line::to(&running).await;
    let mut a = Member::joined(&line.channel, as_instance("g", "one")).await;
    a.until("it has everything", |a| a.has.len() == 4).await;
    let mut b = Member::joined(channel, as_instance("g", "two")).await;
    tokio::join!(
        a.until("half", |a| a.has.len() == 2),
        b.until("half", |b| b.has.len() == 2),
    );
    let (had, before) = (a.partitions(), describe(channel, "g").await.unwrap());
    for partition in &had {
        write(channel, *partition, &["x", "y"]).await;
    }
    a.acks = false;
    a.until("all of it comes", |a| a.got.len() == 4).await;
    a.ack(had[0], 2).await;
    a.ack(had[1], 1).await;
    until_heard(&mut a).await;
    let old = a.me.clone().unwrap();
    line.cut(a).await;

    let mut back = Member::joined(channel, as_instance("g", "one")).await;
    back.until("it has what it had", |back| back.has.len() == 2).await;
    assert_eq!(back.partitions(), had);
    assert_ne!(back.me.clone().unwrap().member_id, old.member_id);
    // From what was acknowledged before it broke off.
    back.until("the rest comes", |back| !back.got.is_empty()).await;
    assert_eq!(back.begun[&had[0]].committed, Some(2));
    assert_eq!(back.begun[&had[1]].committed, Some(1));
    assert_eq!(back.got, [(had[1], 1, "y".to_owned())]);
    let after = describe(channel, "g").await.unwrap();
    assert_eq!(
        after.group_epoch, before.group_epoch,
        "nothing was shared out anew"
    );
    until_heard(&mut b).await;
    assert_eq!((b.given, b.revoked.len(), b.has.len()), (2, 0, 2));

    // The old process, should it be there after all, is none of the group's.
    let late = v1::OpenGroup {
        instance_id: Some("one".to_owned()),
        ..as_before("g", &old)
    };
    let mut late = Member::open(channel, late).await;
    let refused = loop {
        match late.say.message().await {
            Ok(Some(said)) => assert!(!matches!(said.message, Some(Say::Opened(_)))),
            Ok(None) => panic!("an end without a status"),
            Err(status) => break code(&status),
        }
    };
    assert_eq!(refused, ErrorCode::FencedInstance);
    back.leave().await;
    b.leave().await;
    running.stop().await;
}

async fn reset(channel: &Channel, validate_only: bool) -> Result<v1::OffsetReset, Status> {
    let request = v1::ResetOffsetsRequest {
        group: "g".to_owned(),
        topics: vec![v1::ResetTopic {
            topic: "t".to_owned(),
            partitions: vec![0],
        }],
        target: Some(v1::ResetTarget {
            to: Some(To::Offset(2)),
        }),
        validate_only,
        ..v1::ResetOffsetsRequest::default()
    };
    let mut client = GroupServiceClient::new(channel.clone());
    let mut answer = client.reset_offsets(request).await?.into_inner();
    let moved = answer.resets.remove(0);
    assert_eq!((&moved.error, answer.resets.len()), (&None, 0));
    Ok(moved)
}

/// An administrator, for as long as there is a member: refused, and nothing is changed.
async fn refused(channel: &Channel) {
    for only_looks in [false, true] {
        let status = reset(channel, only_looks).await.unwrap_err();
        assert_eq!(code(&status), ErrorCode::GroupNotEmpty);
    }
    let status = try_commit(channel, "g", None, &[offset("t", 0, 2)]).await;
    assert_eq!(code(&status.unwrap_err()), ErrorCode::GroupNotEmpty);
}

/// The line of a member breaks that has processed five records of one partition, and has committed none of them.
async fn break_off_before_a_commit(running: &Running) {
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["0", "1", "2", "3", "4"]).await;
    let seldom = v1::OpenGroup {
        auto_commit_interval_ms: 600_000,
        ..group("g")
    };
    let line = Line::to(running).await;
    let mut member = Member::joined(&line.channel, seldom).await;
    member
        .until("all of it comes", |member| member.got.len() == 5)
        .await;
    until_heard(&mut member).await;
    refused(channel).await;
    assert_eq!(committed(channel, "g", "t", 1).await, [None]);
    line.cut(member).await;
}

/// In a member's grace its offsets are its own: a reset is refused, until it is gone; and then its last commit comes before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_a_members_grace_is_refused_and_holds_once_the_member_is_gone() {
    let running = Running::start().await;
    let channel = &running.channel;
    break_off_before_a_commit(&running).await;
    let mut refusals = 0;
    let resetting = async {
        loop {
            match reset(channel, false).await {
                Ok(moved) => return moved,
                Err(status) => assert_eq!(code(&status), ErrorCode::GroupNotEmpty),
            }
            refusals += 1;
            nothing_changed(channel).await;
        }
    };
    let moved = tokio::time::timeout(PATIENCE, resetting)
        .await
        .expect("it is gone");
    println!("{refusals} resets were refused in its grace");
    assert_eq!((moved.from, moved.to), (Some(5), 2), "after its last commit");
    goes_on_at_2(channel).await;
    running.stop().await;
}

/// What was refused has changed nothing: the member's last commit is there, or not yet.
async fn nothing_changed(channel: &Channel) {
    let now = committed(channel, "g", "t", 1).await;
    assert!(
        matches!(now[..], [None | Some(5)]),
        "what was refused changed {now:?}"
    );
}

/// The next member begins at offset 2, where an administrator put the group.
async fn goes_on_at_2(channel: &Channel) {
    let mut next = Member::joined(channel, group("g")).await;
    next.until("it goes on there", |next| next.got.len() == 3).await;
    assert_eq!((next.begun[&0].committed, next.got[0].1), (Some(2), 2));
    next.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_by_an_administrator_in_a_members_grace_is_refused_and_holds_once_it_is_gone() {
    let running = Running::start().await;
    let channel = &running.channel;
    break_off_before_a_commit(&running).await;
    let committing = async {
        loop {
            match try_commit(channel, "g", None, &[offset("t", 0, 2)]).await {
                Ok(results) => return assert_eq!(results, [None]),
                Err(status) => assert_eq!(code(&status), ErrorCode::GroupNotEmpty),
            }
            nothing_changed(channel).await;
        }
    };
    tokio::time::timeout(PATIENCE, committing)
        .await
        .expect("it is gone");
    goes_on_at_2(channel).await;
    running.stop().await;
}

/// A member that comes back while an administrator tries again and again: either the reset comes before it and it goes on
/// there, or it is refused and the member goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_that_races_with_a_member_coming_back_is_refused_or_seen_by_it() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["0", "1", "2", "3", "4"]).await;
    let mut line = Line::to(&running).await;
    let mut member = Member::joined(&line.channel, group("g")).await;
    member
        .until("all of it comes", |member| member.got.len() == 5)
        .await;
    for waits in [false, true, false, true] {
        until_committed(channel, "g", &[5]).await;
        refused(channel).await;
        let me = member.me.clone().unwrap();
        line.cut(member).await;
        let (held, holds) = tokio::sync::watch::channel(false);
        let (asking, mut seen) = (channel.clone(), holds.clone());
        let resetting = tokio::spawn(async move {
            // Until the member is there again.
            while !held.is_closed() {
                match reset(&asking, false).await {
                    Ok(_) => _ = held.send_replace(true),
                    Err(status) => assert_eq!(code(&status), ErrorCode::GroupNotEmpty),
                }
            }
            *held.borrow()
        });
        if waits {
            let honoured = seen.wait_for(|held| *held);
            let honoured = tokio::time::timeout(PATIENCE, honoured).await;
            honoured.expect("its grace ends").unwrap();
        }
        line = Line::to(&running).await;
        member = Member::joined(&line.channel, as_before("g", &me)).await;
        member
            .until("it has it again", |member| member.has.len() == 1)
            .await;
        drop((holds, seen));
        let was_reset = resetting.await.unwrap();
        assert!(was_reset || !waits);
        println!("came back at once: {}; the reset came first: {was_reset}", !waits);
        let expected = if was_reset { 2 } else { 5 };
        assert_eq!(member.begun[&0].committed, Some(expected));
        let left = usize::try_from(5 - expected).unwrap();
        member
            .until("the rest comes", |member| member.got.len() == left)
            .await;
    }
    until_committed(channel, "g", &[5]).await;
    member.leave().await;
    running.stop().await;
}

fn that_answers(open: v1::OpenGroup) -> v1::OpenGroup {
    v1::OpenGroup {
        acknowledges_revocations: true,
        ..open
    }
}

/// A client that answers revocations is waited for, by whichever stream it does so, until the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_revoked_as_a_stream_breaks_is_nobody_elses_until_the_next_stream_gives_it_up() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 2).await;
    for partition in 0..2 {
        write(channel, partition, &["x"]).await;
    }
    let line = Line::to(&running).await;
    let mut a = Member::joined(&line.channel, that_answers(group("g"))).await;
    a.until("all of it comes", |a| a.got.len() == 2).await;
    let mut b = Member::joined(channel, group("g")).await;
    a.until("one is taken", |a| a.revoked.len() == 1).await;
    let (kept, taken, had) = (a.partitions()[0], a.revoked[0], a.has.clone());
    let me = a.me.clone().unwrap();
    line.cut(a).await;

    let mut a = Member::joined(channel, that_answers(as_before("g", &me))).await;
    let back = a.me.clone().unwrap();
    let held = |held: &[v1::HeldPartition]| -> Vec<_> {
        let held = held.iter();
        held.map(|held| (held.topic.clone(), held.partition, held.assignment_epoch))
            .collect()
    };
    assert_eq!(held(&back.assigned), [("t".to_owned(), kept, had[&kept])]);
    assert_eq!(held(&back.revoking).len(), 1);
    assert_eq!(back.revoking[0].partition, taken);
    assert!(back.revocation_left_ms > 0 && back.revocation_left_ms <= 60_000);
    a.until("it begins with the other", |a| a.has.len() == 1).await;
    // What it has of the other comes by two heartbeats at least.
    write(channel, kept, &["y"]).await;
    a.until("it reads on", |a| !a.got.is_empty()).await;
    b.watch(Duration::from_millis(700)).await;
    assert_eq!((b.has.len(), b.named.len()), (0, 0), "it was given up by nobody");
    let ours = describe(channel, "g").await.unwrap();
    let revoking: usize = ours.members.iter().map(|member| member.revoking.len()).sum();
    assert_eq!(revoking, 1, "{ours:?}");

    let gives_up = v1::AssignmentAck {
        partitions: vec![v1::StreamPartition {
            topic: "t".to_owned(),
            partition: taken,
        }],
    };
    a.ask(Ask::AssignmentAck(gives_up)).await;
    b.until("it has the one", |b| b.partitions() == [taken]).await;
    a.leave().await;
    b.leave().await;
    running.stop().await;
}
