//! Where a member begins when what was committed is not in the log any more, and that it is told.

use super::super::groups::{commit, committed, offset};
use super::*;

fn beginning(name: &str, at: Option<Position>) -> v1::OpenGroup {
    v1::OpenGroup {
        start: at.map(|position| v1::StartPosition {
            position: Some(position),
        }),
        ..group(name)
    }
}

fn latest() -> Option<Position> {
    Some(Position::Latest(v1::Latest {}))
}

fn earliest() -> Option<Position> {
    Some(Position::Earliest(v1::Earliest {}))
}

async fn delete_below(channel: &Channel, before: u64) {
    let request = v1::DeleteRecordsRequest {
        name: "t".to_owned(),
        partitions: vec![v1::DeleteRecordsPartition {
            partition: 0,
            before_offset: Some(before),
        }],
        ..v1::DeleteRecordsRequest::default()
    };
    let mut client = TopicServiceClient::new(channel.clone());
    let deleted = client.delete_records(request).await.unwrap().into_inner();
    assert_eq!(
        (&deleted.results[0].error, deleted.results[0].log_start),
        (&None, before)
    );
}

async fn delete_topic(channel: &Channel) {
    let request = v1::DeleteTopicRequest {
        name: "t".to_owned(),
        ..v1::DeleteTopicRequest::default()
    };
    TopicServiceClient::new(channel.clone())
        .delete_topic(request)
        .await
        .unwrap();
}

/// What a member is told of partition 0: what was committed, where it begins, and the log's ends.
fn told(member: &Member) -> (Option<u64>, u64, u64, u64) {
    let assigned = &member.begun[&0];
    let opened = assigned.opened.as_ref().unwrap();
    (
        assigned.committed,
        opened.offset,
        opened.log_start,
        opened.high_watermark,
    )
}

/// Whatever the stream was opened with: that is for what was never committed, and would leave out what is still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_offset_that_was_deleted_becomes_the_log_start_and_the_member_is_told() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["0", "1", "2"]).await;
    write(channel, 0, &["3", "4", "5"]).await;
    let starts = [
        ("none", None),
        ("earliest", earliest()),
        ("latest", latest()),
        ("offset", Some(Position::Offset(5))),
    ];
    for (name, _) in &starts {
        commit(channel, name, &[offset("t", 0, 2)]).await;
    }
    delete_below(channel, 4).await;
    for (name, at) in starts {
        let mut member = Member::joined(channel, beginning(name, at)).await;
        member
            .until("the rest comes", |member| member.got.len() == 2)
            .await;
        assert_eq!(told(&member), (Some(2), 4, 4, 6), "{name}");
        let rest = [(0, 4, "4".to_owned()), (0, 5, "5".to_owned())];
        assert_eq!(member.got, rest, "{name}");
        member.leave().await;
        assert_eq!(committed(channel, name, "t", 1).await, [Some(6)], "{name}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_offset_above_the_log_gives_way_to_what_the_stream_was_opened_with() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["0", "1", "2"]).await;
    let starts = [
        ("none", None, 0),
        ("earliest", earliest(), 0),
        ("latest", latest(), 3),
        ("offset", Some(Position::Offset(1)), 1),
        ("no offset of the log", Some(Position::Offset(99)), 3),
    ];
    for (name, _, _) in &starts {
        commit(channel, name, &[offset("t", 0, 10)]).await;
    }
    for (name, at, begins) in starts {
        let mut member = Member::joined(channel, beginning(name, at)).await;
        member.until("it is told", |member| member.has.len() == 1).await;
        assert_eq!(told(&member), (Some(10), begins, 0, 3), "{name}");
        let left = usize::try_from(3 - begins).unwrap();
        member
            .until("what is left comes", |member| member.got.len() == left)
            .await;
        let offsets: Vec<_> = member.got.iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, (begins..3).collect::<Vec<_>>(), "{name}");
        member.leave().await;
    }
    running.stop().await;
}

/// Offsets are of a topic, not of its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_has_nothing_committed() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["old", "old", "old"]).await;
    let mut member = Member::joined(channel, group("g")).await;
    member
        .until("all of it comes", |member| member.got.len() == 3)
        .await;
    member.leave().await;
    assert_eq!(committed(channel, "g", "t", 1).await, [Some(3)]);
    delete_topic(channel).await;
    topic(channel, 1).await;
    write(channel, 0, &["new"]).await;
    let mut next = Member::joined(channel, beginning("g", earliest())).await;
    next.until("what is new comes", |next| next.got.len() == 1).await;
    assert_eq!(told(&next), (None, 0, 0, 1));
    assert_eq!(next.got, [(0, 0, "new".to_owned())]);
    drop(next);
    let mut late = Member::joined(channel, beginning("another", latest())).await;
    late.until("it has it", |late| late.has.len() == 1).await;
    assert_eq!(told(&late), (None, 1, 0, 1));
    drop(late);
    running.stop().await;
}

/// The same while the member is there: the old partition is taken from it, and the new one is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_under_a_member_begins_anew_for_it() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["old", "old", "old"]).await;
    let mut member = Member::joined(channel, group("g")).await;
    member.may_stop = true;
    member
        .until("all of it comes", |member| member.got.len() == 3)
        .await;
    let before = member.begun[&0].opened.clone().unwrap().topic_id;
    delete_topic(channel).await;
    topic(channel, 1).await;
    write(channel, 0, &["new"]).await;
    member
        .until("what is new comes", |member| member.got.len() == 4)
        .await;
    let after = member.begun[&0].opened.clone().unwrap().topic_id;
    assert_ne!(before, after);
    assert_eq!((member.given, told(&member).0, told(&member).1), (2, None, 0));
    assert_eq!(member.got[3], (0, 0, "new".to_owned()));
    member.leave().await;
    assert_eq!(committed(channel, "g", "t", 1).await, [Some(1)]);
    running.stop().await;
}

/// Records that are deleted under a member that has not read them: it is told, and goes on where it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_under_a_member_is_told_and_a_seek_goes_on() {
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["0", "1", "2"]).await;
    let mut member = Member::joined(channel, group("g")).await;
    member.may_stop = true;
    member
        .until("all of it comes", |member| member.got.len() == 3)
        .await;
    let pause = |paused| {
        Ask::Pause(v1::Pause {
            topic: "t".to_owned(),
            partition: 0,
            paused,
        })
    };
    let seek = |partition, to| {
        Ask::Seek(v1::Seek {
            topic: "t".to_owned(),
            partition,
            to: Some(v1::StartPosition { position: Some(to) }),
        })
    };
    member.ask(pause(true)).await;
    // It answers in order: with this, the pause has come.
    member.ask(seek(9, Position::Offset(0))).await;
    member
        .until("it is paused", |member| member.sought.len() == 1)
        .await;
    write(channel, 0, &["3", "4", "5"]).await;
    write(channel, 0, &["6", "7"]).await;
    delete_below(channel, 6).await;
    member.ask(pause(false)).await;
    member
        .until("it is told", |member| !member.stopped.is_empty())
        .await;
    assert_eq!(member.stopped, [(0, ErrorCode::OffsetOutOfRange)]);
    assert_eq!(
        (member.got.len(), member.has.len()),
        (3, 1),
        "it is still its own"
    );
    member.ask(seek(0, earliest().unwrap())).await;
    member
        .until("the rest comes", |member| member.got.len() == 5)
        .await;
    assert_eq!(member.sought[1].offset, 6);
    assert_eq!(member.got[3..], [(0, 6, "6".to_owned()), (0, 7, "7".to_owned())]);
    member.leave().await;
    assert_eq!(committed(channel, "g", "t", 1).await, [Some(8)]);
    running.stop().await;
}

async fn soon<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.expect("an answer")
}

/// The client's own reset is for this too: by itself the broker would begin at the log start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_goes_on_as_its_reset_says_where_what_was_committed_was_deleted() {
    use quipu_client::{Client, ClientConfig, GroupConfig, Reset};
    let running = Running::start().await;
    let channel = &running.channel;
    topic(channel, 1).await;
    write(channel, 0, &["0", "1", "2"]).await;
    write(channel, 0, &["3", "4", "5"]).await;
    for name in ["none", "earliest", "latest"] {
        commit(channel, name, &[offset("t", 0, 2)]).await;
    }
    delete_below(channel, 4).await;
    let at = running.broker.addresses().listeners[0].bound.to_string();
    let client = Client::connect(ClientConfig::new([at])).await.unwrap();
    let consumer = |name: &str, reset| {
        let mut config = GroupConfig::new(name).with_topics(["t"]);
        config.reset = reset;
        client.group_consumer(config).unwrap()
    };
    let mut told = consumer("none", Reset::None);
    let refused = soon(told.next()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OffsetOutOfRange);
    let mut rest = consumer("earliest", Reset::Earliest);
    assert_eq!(soon(rest.next()).await.unwrap().next_offset().get(), 6);
    let mut news = consumer("latest", Reset::Latest);
    let writing = async {
        loop {
            // The first that it reads is one that came after it.
            write(channel, 0, &["new"]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let next = tokio::select! {
        next = soon(news.next()) => next.unwrap(),
        () = writing => unreachable!("it goes on"),
    };
    assert!(next.next_offset().get() > 6);
    drop((told, rest, news));
    running.stop().await;
}
