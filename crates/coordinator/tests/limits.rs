//! What a request may ask for at most: the last value that is taken, and the first that is not.

mod scene;

use quipu_coordinator::*;
use quipu_record::{ErrorCode, Offset, TopicPartition};
use scene::{Scene, at, group, member};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn subscribing(scene: &Scene, id: &str, topics: usize, pattern: Option<String>) -> Heartbeat {
    Heartbeat {
        subscription: Some(Subscription {
            topics: (0..topics).map(|n| Arc::from(format!("t{n}"))).collect(),
            pattern: pattern.map(Arc::from),
        }),
        ..scene.opening(id)
    }
}

fn code(answer: Result<HeartbeatAnswer, GroupError>) -> Option<ErrorCode> {
    answer.err().map(|error| error.code())
}

#[test]
fn names_and_ids_have_a_length() {
    for (len, fits) in [(0, false), (1, true), (249, true), (250, false)] {
        let name = "n".repeat(len);
        assert_eq!(GroupId::new(&name).is_ok(), fits, "a group's name of {len}");
        assert_eq!(InstanceId::new(&name).is_ok(), fits, "an instance id of {len}");
    }
    for (len, fits) in [(0, false), (1, true), (64, true), (65, false)] {
        // Characters count, not bytes: up to four each.
        for character in ["m", "\u{1f980}"] {
            assert_eq!(
                MemberId::new(&character.repeat(len)).is_ok(),
                fits,
                "{len} times {character}"
            );
        }
    }
    for control in ["a\nb", "\0", "tab\t"] {
        assert_eq!(GroupId::new(control), Err(GroupError::InvalidGroup));
        assert!(MemberId::new(control).is_err() && InstanceId::new(control).is_err());
    }
}

#[test]
fn a_subscription_names_1000_topics_at_most_and_something_at_least() {
    let mut scene = Scene::new(&[("t0", 1)]);
    let most = subscribing(&scene, "a", 1_000, None);
    assert_eq!(code(scene.beat(most)), None);
    for (topics, pattern) in [(1_001, None), (0, None), (0, Some("a".repeat(1_001)))] {
        let refused = subscribing(&scene, "b", topics, pattern);
        assert_eq!(
            code(scene.beat(refused)),
            Some(ErrorCode::InvalidRequest),
            "{topics}"
        );
    }
    let longest = subscribing(&scene, "b", 0, Some("a".repeat(1_000)));
    assert_eq!(code(scene.beat(longest)), None);
    let mut odd = subscribing(&scene, "c", 1, None);
    odd.subscription = odd.subscription.map(|wants| Subscription {
        topics: vec!["a/b".into()],
        ..wants
    });
    assert_eq!(
        code(scene.beat(odd)),
        Some(ErrorCode::InvalidRequest),
        "no topic's name"
    );
}

#[test]
fn a_pattern_matches_whole_names() {
    let mut scene = Scene::new(&[("ta", 1), ("tab", 1), ("xta", 1)]);
    let both = subscribing(&scene, "a", 0, Some("ta|b".to_owned()));
    scene.beat(both).expect("joins");
    assert_eq!(scene.target("a"), [at(1, 0)]);
}

#[test]
fn what_a_client_says_of_itself_has_a_length() {
    let mut scene = Scene::new(&[("t", 1)]);
    let of = |scene: &Scene, len: usize| {
        let text: Arc<str> = "c".repeat(len).into();
        let with = |change: &dyn Fn(&mut Heartbeat)| {
            let mut heartbeat = scene.opening("a");
            change(&mut heartbeat);
            heartbeat
        };
        [
            with(&|it| it.client_id = Arc::clone(&text)),
            with(&|it| it.client_host = Arc::clone(&text)),
            with(&|it| it.rack = Some(Arc::clone(&text))),
        ]
    };
    for longest in of(&scene, 1_000) {
        assert_eq!(code(scene.beat(longest)), None);
    }
    for refused in of(&scene, 1_001) {
        assert_eq!(code(scene.beat(refused)), Some(ErrorCode::InvalidRequest));
    }
    let rack = scene.about("a").rack.expect("the last that was taken");
    assert_eq!(rack.len(), 1_000, "what was refused changed nothing");
}

#[test]
fn timeouts_are_brought_within_what_is_configured() {
    let mut scene = Scene::new(&[("t", 1)]);
    scene.config(GroupConfig {
        session_timeout: SECOND * 45,
        session_timeout_min: SECOND * 8,
        session_timeout_max: SECOND * 100,
        heartbeat_interval: SECOND * 5,
        ..GroupConfig::default()
    });
    let mut asking = |id: &str, timeout: Option<Duration>| {
        let heartbeat = Heartbeat {
            session_timeout: timeout,
            ..scene.opening(id)
        };
        let answer = scene.beat(heartbeat).expect("joins");
        (answer.session_timeout.as_secs(), answer.heartbeat_interval)
    };
    assert_eq!(asking("a", None), (45, SECOND * 5));
    assert_eq!(
        asking("b", Some(Duration::ZERO)),
        (45, SECOND * 5),
        "0 is no wish"
    );
    assert_eq!(
        asking("c", Some(SECOND * 12)),
        (12, SECOND * 3),
        "a quarter of it"
    );
    assert_eq!(asking("d", Some(SECOND)), (8, SECOND * 2));
    assert_eq!(asking("e", Some(SECOND * 1_000)), (100, SECOND * 5));
}

#[test]
fn what_is_given_up_may_take_as_long_as_the_member_says_and_is_configured() {
    for (asked, waits) in [(None, 60), (Some(SECOND * 7), 7), (Some(SECOND * 9_000), 3_600)] {
        let mut scene = Scene::new(&[("t", 2)]);
        let first = Heartbeat {
            revocation_timeout: asked,
            ..scene.opening("a")
        };
        let a = scene.beat(first).expect("joins");
        scene.join("b");
        let told = scene.stay("a", a.epoch, &[at(1, 0), at(1, 1)]);
        assert_eq!(told.revocation_left, Some(SECOND * waits), "{asked:?}");
    }
}

#[test]
fn a_heartbeat_waits_as_long_as_it_says_as_is_configured_and_a_third_of_its_session() {
    for (session, asked, waits) in [(45, 4, 4), (45, 100, 15), (30, 100, 10)] {
        let mut scene = Scene::new(&[("t", 1)]);
        let opening = Heartbeat {
            session_timeout: Some(SECOND * session),
            ..scene.opening("a")
        };
        let a = scene.beat(opening).expect("joins");
        let waiting = Heartbeat {
            epoch: Some(a.epoch),
            subscription: None,
            owned: Some(vec![at(1, 0)]),
            max_wait: SECOND * asked,
            ..scene.opening("a")
        };
        // The first is told what it has, and is then known to know.
        scene.stay("a", a.epoch, &[at(1, 0)]);
        let token = scene.ask(Request::Heartbeat(waiting));
        scene.wait(SECOND * waits - Duration::from_millis(1));
        assert!(
            !scene.answers.contains_key(&token),
            "{session} {asked}: too early"
        );
        scene.wait(Duration::from_millis(1));
        assert!(scene.answers.contains_key(&token), "{session} {asked}: too late");
    }
}

fn commit_of(offsets: Vec<(TopicPartition, u64, usize)>) -> Request {
    let offsets = offsets.into_iter().map(|(at, offset, metadata)| OffsetCommit {
        at,
        offset: Offset::new(offset),
        leader_epoch: None,
        metadata: "m".repeat(metadata).into(),
    });
    Request::Commit(Commit {
        group: group("g"),
        by: None,
        offsets: offsets.collect(),
    })
}

#[test]
fn a_commit_has_its_limits_and_is_taken_whole_or_not_at_all() {
    let mut scene = Scene::new(&[("t", 10_001)]);
    let many = |count: u32| commit_of((0..count).map(|n| (at(1, n), 1, 0)).collect());
    assert!(scene.call(many(10_000)).is_ok());
    let refused = scene.call(many(10_001)).map_err(|error| error.code());
    assert_eq!(refused, Err(ErrorCode::InvalidRequest));
    let twice = scene.call(commit_of(vec![(at(1, 0), 1, 0), (at(1, 0), 2, 0)]));
    assert_eq!(
        twice.map_err(|error| error.code()),
        Err(ErrorCode::InvalidRequest)
    );

    let mut one = |what| match scene.call(commit_of(vec![(at(1, 1), 7, 0), what])) {
        Ok(Response::Committed(results)) => results,
        other => panic!("{other:?}"),
    };
    assert_eq!(one((at(1, 2), Offset::MAX.get(), 4_096)), [Ok(()), Ok(())]);
    for (what, error) in [
        ((at(1, 2), 5, 4_097), GroupError::MetadataTooLarge(4_097)),
        ((at(1, 10_001), 5, 0), GroupError::UnknownTopicOrPartition),
        ((at(2, 0), 5, 0), GroupError::UnknownTopicOrPartition),
        (
            (at(1, 2), Offset::MAX.get() + 1, 0),
            GroupError::invalid("offset: above 2^63 - 1"),
        ),
    ] {
        let others = GroupError::WithOthers(error.code());
        assert_eq!(one(what), [Err(others), Err(error)]);
    }
    assert_eq!(scene.committed("g", at(1, 2)), Some(Offset::MAX.get()));
    assert_eq!(scene.committed("g", at(1, 10_000)), None);
}

#[test]
fn what_is_committed_is_told_with_the_metadata_that_came_with_it() {
    let mut scene = Scene::new(&[("t", 2)]);
    let taken = scene.call(commit_of(vec![(at(1, 0), 5, 3), (at(1, 1), 6, 0)]));
    assert_eq!(taken, Ok(Response::Committed(vec![Ok(()), Ok(())])));
    for _ in 0..2 {
        let query = OffsetsQuery {
            group: group("g"),
            partitions: Some(vec![at(1, 0), at(1, 1)]),
        };
        let Ok(Response::Offsets(found)) = scene.call(Request::Offsets(query)) else {
            panic!("offsets");
        };
        let told = found.iter().map(|(_, one)| one.as_ref().expect("one"));
        let told: Vec<_> = told.map(|one| (one.offset.get(), &*one.metadata)).collect();
        assert_eq!(told, [(5, "mmm"), (6, "")]);
        // Another broker knows it too.
        scene.fail_over();
    }
}

#[test]
fn a_reset_has_the_same_limits() {
    let mut scene = Scene::new(&[("t", 2)]);
    let mut reset = |offsets: &[(TopicPartition, u64)]| {
        let answer = scene.call(Request::Reset(Reset {
            group: group("g"),
            offsets: offsets
                .iter()
                .map(|(at, to)| (*at, MoveTo::Offset(Offset::new(*to))))
                .collect(),
            validate_only: false,
        }));
        answer.map(drop).map_err(|error| error.code())
    };
    assert_eq!(reset(&[(at(1, 1), Offset::MAX.get())]), Ok(()));
    assert_eq!(
        reset(&[(at(1, 1), Offset::MAX.get() + 1)]),
        Err(ErrorCode::InvalidRequest)
    );
    assert_eq!(reset(&[(at(1, 2), 5)]), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(
        reset(&[(at(1, 0), 5), (at(1, 0), 6)]),
        Err(ErrorCode::InvalidRequest)
    );
    assert_eq!(scene.committed("g", at(1, 0)), None);
}

#[test]
fn an_offset_is_shifted_from_where_it_stands_and_never_out_of_the_log() {
    let mut scene = Scene::new(&[("t", 2)]);
    let shift = |scene: &mut Scene, at: TopicPartition, by: i64| {
        let within = (Offset::new(3), Offset::new(20));
        let answer = scene.call(Request::Reset(Reset {
            group: group("g"),
            offsets: vec![(at, MoveTo::Shift { by, within })],
            validate_only: false,
        }));
        match answer {
            Ok(Response::Reset(moved)) => Ok((moved[0].from.map(Offset::get), moved[0].to.get())),
            other => Err(other.map_err(|error| error.code())),
        }
    };
    assert_eq!(
        shift(&mut scene, at(1, 0), 1),
        Err(Err(ErrorCode::InvalidRequest)),
        "nothing is committed"
    );
    let a = scene.join("a");
    assert_eq!(scene.commit("a", a.epoch, at(1, 0), 9), Ok(()));
    scene.leave("a");
    assert_eq!(shift(&mut scene, at(1, 0), -2), Ok((Some(9), 7)));
    assert_eq!(shift(&mut scene, at(1, 0), 5), Ok((Some(7), 12)));
    assert_eq!(shift(&mut scene, at(1, 0), -100), Ok((Some(12), 3)));
    assert_eq!(shift(&mut scene, at(1, 0), i64::MAX), Ok((Some(3), 20)));
    assert_eq!(scene.committed("g", at(1, 0)), Some(20));
}

#[test]
fn a_commit_is_taken_from_the_epoch_in_which_the_partition_came_to_the_present_one() {
    let mut scene = Scene::new(&[("t", 2)]);
    scene.join("a");
    scene.join("b");
    scene.settle(&["a", "b"]);
    let given = scene.about("b").owned[0];
    scene.topic("u", 2, 2);
    scene.settle(&["a", "b"]);
    let now = scene.about("b").epoch;
    let since = MemberEpoch::new(given.epoch.get());
    assert!(since < now, "it had the partition before the latest target");
    for epoch in since.get()..=now.get() {
        assert_eq!(
            scene.commit("b", MemberEpoch::new(epoch), given.at, 5),
            Ok(()),
            "{epoch}"
        );
    }
    for epoch in [since.get() - 1, now.get() + 1] {
        let refused = scene.commit("b", MemberEpoch::new(epoch), given.at, 6);
        assert_eq!(refused, Err(GroupError::StaleAssignment), "{epoch}");
    }
    let strange = scene.commit("c", now, given.at, 6);
    assert_eq!(strange, Err(GroupError::UnknownMember));
    let of_a = scene.owned("a")[0];
    assert_eq!(scene.commit("b", now, of_a, 6), Err(GroupError::StaleAssignment));
}

#[test]
fn who_holds_back_what_another_waits_for_is_named() {
    let mut scene = Scene::new(&[("t", 2)]);
    let a = scene.join("a");
    scene.join("b");
    let left = |scene: &mut Scene| {
        let stalled = scene.describe().stalled;
        assert_eq!(stalled.len(), 1);
        assert_eq!(
            (&stalled[0].holder, &stalled[0].waiting),
            (&member("a"), &Some(member("b")))
        );
        stalled[0].left
    };
    assert_eq!(
        left(&mut scene),
        SECOND * 45,
        "not asked to give it up: until its session ends"
    );
    scene.stay("a", a.epoch, &[at(1, 0), at(1, 1)]);
    assert_eq!(left(&mut scene), SECOND * 60);
    assert_eq!(scene.about("a").revocation_left, Some(SECOND * 60));
    scene.wait(SECOND * 20);
    assert_eq!(left(&mut scene), SECOND * 40);
    scene.settle(&["a", "b"]);
    assert_eq!(scene.describe().stalled, []);
}

#[test]
fn groups_expire_together_and_a_large_one_a_thousand_offsets_at_a_time() {
    let mut scene = Scene::new(&[("t", 2_000)]);
    scene.admin_commit("f", at(1, 0), 5);
    scene.admin_commit("h", at(1, 0), 5);
    let many = commit_of((0..1_001).map(|n| (at(1, n), 1, 0)).collect());
    assert!(scene.call(many).is_ok());
    let left = |scene: &mut Scene, name: &str| {
        let query = OffsetsQuery {
            group: group(name),
            partitions: None,
        };
        match scene.call(Request::Offsets(query)) {
            Ok(Response::Offsets(found)) => found.len(),
            other => panic!("{other:?}"),
        }
    };
    let week = SECOND * 7 * 24 * 3_600;
    scene.now = scene.now.after(week);
    scene.wall = scene.wall.plus_millis(7 * 24 * 3_600 * 1_000);
    scene.step(Input::Tick);
    assert_eq!((left(&mut scene, "f"), left(&mut scene, "g")), (0, 1));
    assert_eq!(left(&mut scene, "h"), 1, "after the large one, in the next step");
    assert_eq!(scene.deadline, Some(scene.now), "which comes at once");
    scene.step(Input::Tick);
    assert_eq!((left(&mut scene, "g"), left(&mut scene, "h")), (0, 0));
}

#[test]
fn several_groups_expire_in_one_step_up_to_a_little_more_than_4000_records() {
    let mut scene = Scene::new(&[("t", 500)]);
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        let Request::Commit(many) = commit_of((0..500).map(|n| (at(1, n), 1, 0)).collect()) else {
            panic!("a commit")
        };
        let many = Commit {
            group: group(name),
            ..many
        };
        assert!(scene.call(Request::Commit(many)).is_ok());
    }
    let week = SECOND * 7 * 24 * 3_600;
    scene.now = scene.now.after(week);
    scene.wall = scene.wall.plus_millis(7 * 24 * 3_600 * 1_000);
    // Each offset that expires is two records.
    for expired in [5, 6] {
        scene.step(Input::Tick);
        let left = names.map(|name| scene.committed(name, at(1, 0)).is_some());
        assert_eq!(left.iter().filter(|left| !**left).count(), expired);
    }
}

#[test]
fn ways_of_sharing_out_go_by_their_names() {
    for (assignor, name) in [(Assignor::Uniform, "uniform"), (Assignor::Range, "range")] {
        assert_eq!((assignor.name(), Assignor::named(name)), (name, Some(assignor)));
        assert_eq!(assignor.to_string(), name);
    }
    assert_eq!(Assignor::named("best"), None);
}

#[test]
fn most_members_decide_how_partitions_are_shared_out() {
    let mut scene = Scene::new(&[("t", 2)]);
    let asking = |scene: &Scene, id: &str, name: &str| Heartbeat {
        assignor: Some(name.to_owned()),
        ..scene.opening(id)
    };
    for (id, name, decided) in [
        ("a", "range", Assignor::Range),
        ("b", "uniform", Assignor::Uniform),
        ("c", "range", Assignor::Range),
        ("d", "", Assignor::Uniform),
    ] {
        let heartbeat = asking(&scene, id, name);
        scene.beat(heartbeat).expect("joins");
        assert_eq!(scene.describe().assignor, decided, "after {id}");
    }
}
