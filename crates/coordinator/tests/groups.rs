//! Short stories about one group, each about one rule.

mod scene;

use quipu_coordinator::*;
use quipu_record::{ErrorCode, TopicPartition};
use scene::{Scene, at, group, member};
use std::time::Duration;

fn ids(answer: &HeartbeatAnswer) -> Vec<TopicPartition> {
    let told = answer.assignment.as_ref().expect("told");
    told.iter().map(|one| one.at).collect()
}

fn waiting(scene: &Scene, id: &str, epoch: MemberEpoch, owned: &[TopicPartition]) -> Request {
    Request::Heartbeat(Heartbeat {
        epoch: Some(epoch),
        subscription: None,
        owned: Some(owned.to_vec()),
        max_wait: Duration::from_secs(10),
        ..scene.opening(id)
    })
}

#[test]
fn a_second_member_gets_its_half_once_the_first_has_given_it_up() {
    let mut scene = Scene::new(&[("t", 4)]);
    let a = scene.join("a");
    assert_eq!(ids(&a).len(), 4);
    let parked = scene.ask(waiting(&scene, "a", a.epoch, &ids(&a)));
    assert!(!scene.answers.contains_key(&parked), "nothing to tell yet");
    let b = scene.join("b");
    assert_eq!(ids(&b), []);
    // The first is told at once, as it waited.
    let Some(Ok(Response::Heartbeat(told))) = scene.answers.remove(&parked) else {
        panic!("answered");
    };
    assert_eq!(ids(&told).len(), 2);
    assert_eq!(told.revocation_left, Some(Duration::from_secs(60)));
    assert_eq!(told.revoking.len(), 2, "it is told both halves");
    assert!(
        told.revoking
            .iter()
            .all(|one| ids(&a).contains(&one.at) && !ids(&told).contains(&one.at))
    );
    let describe = scene.describe();
    assert_eq!(describe.stalled.len(), 2);
    assert_eq!(describe.stalled[0].holder, member("a"));
    assert_eq!(describe.stalled[0].waiting, Some(member("b")));
    // It says that it still has everything; then that it has given up what it should.
    let waits = scene.ask(waiting(&scene, "b", b.epoch, &[]));
    scene.stay("a", told.epoch, &ids(&a));
    assert!(!scene.answers.contains_key(&waits));
    scene.stay("a", told.epoch, &ids(&told));
    let Some(Ok(Response::Heartbeat(got))) = scene.answers.remove(&waits) else {
        panic!("answered");
    };
    assert_eq!(ids(&got).len(), 2);
    assert_eq!(scene.describe().state, GroupState::Stable);
}

/// It was answered at once, with nothing new; a member that is told nothing takes its time to ask again.
#[test]
fn a_member_that_gave_up_what_it_had_to_waits_for_the_next_change() {
    let mut scene = Scene::new(&[("t", 2)]);
    let a = scene.join("a");
    scene.join("b");
    let told = scene.stay("a", a.epoch, &ids(&a));
    let gave_up = scene.ask(waiting(&scene, "a", told.epoch, &ids(&told)));
    assert!(!scene.answers.contains_key(&gave_up), "nothing to tell yet");
    scene.leave("b");
    let Some(Ok(Response::Heartbeat(next))) = scene.answers.remove(&gave_up) else {
        panic!("answered");
    };
    assert_eq!(ids(&next).len(), 2);
}

#[test]
fn the_deadline_takes_only_what_was_revoked() {
    let mut scene = Scene::new(&[("t", 2)]);
    let a = scene.join("a");
    let b = scene.join("b");
    let has = ids(&a);
    let told = scene.stay("a", a.epoch, &has);
    let (kept, lost) = (
        ids(&told)[0],
        *has.iter().find(|at| !ids(&told).contains(at)).expect("one"),
    );
    assert_eq!(scene.commit("a", told.epoch, lost, 5), Ok(()), "it may finish");
    for _ in 0..7 {
        scene.wait(Duration::from_secs(10));
        scene.stay("a", told.epoch, &has);
        scene.stay("b", b.epoch, &[]);
    }
    let refused = scene.commit("a", told.epoch, lost, 6);
    assert_eq!(refused, Err(GroupError::StaleAssignment));
    assert_eq!(
        scene.commit("a", told.epoch, kept, 7),
        Ok(()),
        "it stays, with what it keeps"
    );
    let told = scene.stay("a", told.epoch, &has);
    assert_eq!(
        (ids(&told), told.revocation_left),
        (vec![kept], None),
        "the other is lost"
    );
    assert_eq!(scene.owned("b"), [lost]);
    assert_eq!(scene.committed("g", lost), Some(5));
}

#[test]
fn a_lost_answer_is_told_again_and_older_epochs_are_fenced() {
    let mut scene = Scene::new(&[("t", 2)]);
    let a = scene.join("a");
    scene.join("b");
    let told = scene.stay("a", a.epoch, &ids(&a));
    assert_eq!(scene.stay("a", a.epoch, &ids(&a)), told, "the answer was lost");
    let has = ids(&told);
    assert_eq!(scene.stay("a", told.epoch, &has).assignment, None, "nothing new");
    scene.leave("b");
    let next = scene.stay("a", told.epoch, &has);
    assert_eq!(ids(&next).len(), 2);
    let old = Heartbeat {
        epoch: Some(a.epoch),
        subscription: None,
        ..scene.opening("a")
    };
    assert_eq!(scene.beat(old), Err(GroupError::FencedMemberEpoch));
    // It joins anew, and has what it had.
    let again = scene.join("a");
    assert_eq!((again.epoch, ids(&again)), (next.epoch, ids(&next)));
}

#[test]
fn a_static_member_that_restarts_moves_nothing() {
    let mut scene = Scene::new(&[("t", 6)]);
    let opening = |scene: &Scene, id: &str| Heartbeat {
        instance: InstanceId::new("i").ok(),
        ..scene.opening(id)
    };
    scene.join("b");
    let first = scene.beat(opening(&scene, "a1")).expect("joins");
    scene.settle(&["b", "a1"]);
    let (has, epoch) = (scene.owned("a1"), scene.describe().epoch);
    let early = scene.beat(opening(&scene, "a2"));
    assert_eq!(early, Err(GroupError::UnreleasedInstance));
    let leave = Leave {
        group: group("g"),
        member: member("a1"),
        stream: Some(StreamId::new(1)),
        stream_number: None,
        will_return: true,
    };
    assert_eq!(scene.call(Request::Leave(leave)), Ok(Response::Left));
    let back = scene.beat(opening(&scene, "a2")).expect("is back");
    assert_eq!(ids(&back), has);
    assert_eq!(scene.describe().epoch, epoch, "nothing to share out anew");
    let late = Heartbeat {
        epoch: Some(first.epoch),
        subscription: None,
        ..opening(&scene, "a1")
    };
    assert_eq!(scene.beat(late), Err(GroupError::FencedInstance));
    assert_eq!(scene.owned("b").len(), 3);
}

#[test]
fn only_a_static_member_that_will_return_stays_a_member() {
    for (is_static, will_return) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut scene = Scene::new(&[("t", 4)]);
        let opening = Heartbeat {
            instance: InstanceId::new("i").ok().filter(|_| is_static),
            ..scene.opening("z")
        };
        scene.beat(opening).expect("joins");
        scene.join("a");
        let leave = Leave {
            group: group("g"),
            member: member("z"),
            stream: Some(StreamId::new(1)),
            stream_number: None,
            will_return,
        };
        assert_eq!(scene.call(Request::Leave(leave)), Ok(Response::Left));
        let stays = scene.describe().members.len() == 2;
        assert_eq!(stays, is_static && will_return);
        assert_eq!(scene.target("a").len(), if stays { 2 } else { 4 });
    }
}

#[test]
fn what_a_static_member_shall_not_keep_goes_to_who_waits_as_it_goes_away() {
    let mut scene = Scene::new(&[("t", 4)]);
    let opening = Heartbeat {
        instance: InstanceId::new("i").ok(),
        ..scene.opening("z")
    };
    scene.beat(opening).expect("joins");
    let a = scene.join("a");
    let waits = scene.ask(waiting(&scene, "a", a.epoch, &[]));
    assert!(!scene.answers.contains_key(&waits), "the other was not told yet");
    let leave = Leave {
        group: group("g"),
        member: member("z"),
        stream: Some(StreamId::new(1)),
        stream_number: None,
        will_return: true,
    };
    assert_eq!(scene.call(Request::Leave(leave)), Ok(Response::Left));
    let Some(Ok(Response::Heartbeat(got))) = scene.answers.remove(&waits) else {
        panic!("answered at once");
    };
    assert_eq!((ids(&got).len(), scene.owned("z").len()), (2, 2));
}

#[test]
fn a_static_member_that_went_away_and_is_back_itself_gets_partitions_again() {
    let mut scene = Scene::new(&[("t", 4)]);
    let opening = |scene: &Scene, stream| Heartbeat {
        instance: InstanceId::new("i").ok(),
        stream: Some(StreamId::new(stream)),
        ..scene.opening("z")
    };
    scene.join("a");
    let first = opening(&scene, 1);
    scene.beat(first).expect("joins");
    let leave = Leave {
        group: group("g"),
        member: member("z"),
        stream: Some(StreamId::new(1)),
        stream_number: None,
        will_return: true,
    };
    assert_eq!(scene.call(Request::Leave(leave)), Ok(Response::Left));
    let back = opening(&scene, 2);
    scene.beat(back).expect("is back");
    for _ in 0..4 {
        for id in ["a", "z"] {
            let about = scene.about(id);
            let by_stream = Heartbeat {
                epoch: Some(about.epoch),
                subscription: None,
                owned: Some(about.owned.iter().map(|one| one.at).collect()),
                stream: Some(StreamId::new(if id == "z" { 2 } else { 1 })),
                ..scene.opening(id)
            };
            scene.beat(by_stream).expect("stays");
        }
    }
    assert_eq!((scene.owned("a").len(), scene.owned("z").len()), (2, 2));
}

#[test]
fn a_new_stream_speaks_once_it_was_answered_and_the_old_one_cannot_leave_for_it() {
    let mut scene = Scene::new(&[("t", 2)]);
    let a = scene.join("a");
    let by = |scene: &Scene, opens: bool| Heartbeat {
        epoch: Some(a.epoch),
        stream: Some(StreamId::new(2)),
        subscription: scene.opening("a").subscription.filter(|_| opens),
        owned: None,
        ..scene.opening("a")
    };
    let resumed = scene.beat(by(&scene, true)).expect("resumes");
    assert_eq!(ids(&resumed), ids(&a));
    let leave = |stream| Leave {
        group: group("g"),
        member: member("a"),
        stream: Some(StreamId::new(stream)),
        stream_number: None,
        will_return: false,
    };
    assert_eq!(scene.call(Request::Leave(leave(1))), Ok(Response::Left));
    scene.beat(by(&scene, false)).expect("still there");
    let old = Heartbeat {
        epoch: Some(a.epoch),
        ..scene.opening("a")
    };
    assert_eq!(scene.beat(old), Err(GroupError::FencedMemberEpoch));
    scene.fail_over();
    assert_eq!(scene.call(Request::Leave(leave(1))), Ok(Response::Left));
    assert_eq!(scene.owned("a"), ids(&a));
    assert_eq!(scene.call(Request::Leave(leave(2))), Ok(Response::Left));
    assert_eq!(scene.describe().state, GroupState::Empty);
}

/// Histories 9679 and 22282: two streams of a member begin at once, and the older one, asked to wait, displaced the newer.
#[test]
fn of_two_streams_that_begin_at_once_the_second_waits_until_the_first_is_silent() {
    let mut scene = Scene::new(&[("t", 1)]);
    scene.join("a");
    scene.settle(&["a"]);
    let by = |scene: &Scene, stream| Heartbeat {
        stream: Some(StreamId::new(stream)),
        ..scene.opening("a")
    };
    for (stream, taken) in [(2, true), (3, false), (2, true)] {
        let opening = by(&scene, stream);
        assert_eq!(scene.beat(opening).is_ok(), taken, "{stream}");
    }
    // Seven twelfths of a session of 45 seconds.
    let silent = Duration::from_millis(26_250);
    for (wait, taken) in [
        (silent - Duration::from_millis(1), false),
        (Duration::from_millis(1), true),
    ] {
        scene.wait(wait);
        let opening = by(&scene, 3);
        assert_eq!(scene.beat(opening).is_ok(), taken, "{wait:?}");
    }
}

#[test]
fn an_older_stream_never_displaces_a_newer_one_whoever_coordinates() {
    let numbered = |scene: &Scene, number: u64, epoch: MemberEpoch, opens: bool| Heartbeat {
        epoch: Some(epoch),
        stream: Some(StreamId::new(100 + number)),
        stream_number: Some(StreamNumber::new(number)),
        subscription: scene.opening("a").subscription.filter(|_| opens),
        owned: None,
        ..scene.opening("a")
    };
    let mut scene = Scene::new(&[("t", 2)]);
    let first = Heartbeat {
        epoch: None,
        owned: Some(Vec::new()),
        ..numbered(&scene, 1, MemberEpoch::new(0), true)
    };
    let a = scene.beat(first).expect("joins");
    let waits = Heartbeat {
        owned: Some(ids(&a)),
        max_wait: Duration::from_secs(5),
        ..numbered(&scene, 1, a.epoch, false)
    };
    let waiting = scene.ask(Request::Heartbeat(waits));
    assert!(!scene.answers.contains_key(&waiting), "it waits");
    // The third one is there before the second.
    let third = numbered(&scene, 3, a.epoch, true);
    assert_eq!(ids(&scene.beat(third.clone()).expect("goes on")), ids(&a));
    assert_eq!(
        scene.answers.remove(&waiting),
        Some(Err(GroupError::SupersededStream))
    );
    let leave = |number| {
        Request::Leave(Leave {
            group: group("g"),
            member: member("a"),
            stream: Some(StreamId::new(100 + number)),
            stream_number: Some(StreamNumber::new(number)),
            will_return: false,
        })
    };
    for failed_over in [false, true] {
        for older in [1, 2] {
            for opens in [true, false] {
                let beat = numbered(&scene, older, a.epoch, opens);
                let refused = scene.beat(beat).expect_err("a later one is there");
                assert_eq!(refused, GroupError::SupersededStream, "{older} {failed_over}");
                assert!(!refused.retryable());
            }
            assert_eq!(scene.call(leave(older)), Ok(Response::Left));
        }
        // Once more, and late: it is the member's all the same.
        assert_eq!(ids(&scene.beat(third.clone()).expect("is there")), ids(&a));
        let stays = Heartbeat {
            owned: Some(ids(&a)),
            ..numbered(&scene, 3, a.epoch, false)
        };
        scene.beat(stays).expect("speaks");
        scene.fail_over();
    }
    // A last word by a stream that was never heard may come late as well: only the member's own counts.
    assert_eq!(scene.call(leave(4)), Ok(Response::Left));
    assert_eq!(scene.owned("a"), ids(&a));
    // What is not counted can only be guessed: it speaks once it has shown that it had an answer.
    let uncounted = Heartbeat {
        stream: Some(StreamId::new(7)),
        stream_number: None,
        ..numbered(&scene, 4, a.epoch, true)
    };
    scene.beat(uncounted.clone()).expect("goes on");
    assert_eq!(scene.call(leave(3)), Ok(Response::Left));
    assert_eq!(scene.owned("a"), ids(&a), "the other one is there");
    let last = Leave {
        group: group("g"),
        member: member("a"),
        stream: Some(StreamId::new(7)),
        stream_number: None,
        will_return: false,
    };
    assert_eq!(scene.call(Request::Leave(last)), Ok(Response::Left));
    assert_eq!(scene.describe().state, GroupState::Empty);
}

/// `jepsen/run` seed 77 (`stale-commit`): a commit was held up in a paused broker; its client said it again by another stream,
/// and committed more; then the first one arrived, and undid that.
#[test]
fn a_stale_commit_of_an_earlier_stream_or_try_undoes_nothing() {
    for counted in [true, false] {
        let mut scene = Scene::new(&[("t", 1)]);
        let by_stream = |scene: &Scene, number: u64| Heartbeat {
            stream: Some(StreamId::new(100 + number)),
            stream_number: counted.then(|| StreamNumber::new(number)),
            ..scene.opening("a")
        };
        let a = scene.beat(by_stream(&scene, 1)).expect("joins");
        let commit = |stream: u64, number: u64| Committer {
            stream: Some(StreamId::new(100 + stream)),
            stream_number: counted.then(|| StreamNumber::new(stream)),
            number: Some(CommitNumber::new(number)),
            ..Scene::committer("a", a.epoch)
        };
        let place = at(1, 0);
        assert_eq!(scene.commit_by(commit(1, 1), place, 10), Ok(()));
        assert_eq!(scene.commit_by(commit(1, 2), place, 20), Ok(()));
        // One try more of the last does no harm; one of the first would.
        assert_eq!(scene.commit_by(commit(1, 2), place, 20), Ok(()));
        let late = scene.commit_by(commit(1, 1), place, 10);
        assert_eq!(late, Err(GroupError::SupersededCommit));
        assert!(!late.unwrap_err().retryable());
        // The client goes on by another stream, which counts from one again.
        let resumes = Heartbeat {
            epoch: Some(a.epoch),
            owned: None,
            ..by_stream(&scene, 2)
        };
        scene.beat(resumes).expect("goes on");
        // It may commit before it is known that it speaks: what the first stream made before is late all the same.
        assert_eq!(scene.commit_by(commit(2, 1), place, 30), Ok(()));
        let late = scene
            .commit_by(commit(1, 1), place, 10)
            .map_err(|error| error.code());
        assert_eq!(late, Err(ErrorCode::SupersededStream));
        let speaks = Heartbeat {
            epoch: Some(a.epoch),
            subscription: None,
            owned: Some(vec![place]),
            ..by_stream(&scene, 2)
        };
        scene.beat(speaks).expect("speaks");
        assert_eq!(scene.commit_by(commit(2, 1), place, 30), Ok(()));
        for failed_over in [false, true] {
            let late = scene.commit_by(commit(1, 3), place, 21);
            assert_eq!(late, Err(GroupError::SupersededStream), "{counted} {failed_over}");
            assert_eq!(scene.committed("g", place), Some(30));
            scene.fail_over();
        }
        assert_eq!(scene.commit_by(commit(2, 2), place, 31), Ok(()));
    }
}

#[test]
fn a_silent_member_is_gone_after_its_session_and_a_failover_gives_a_fresh_one() {
    let mut scene = Scene::new(&[("t", 2)]);
    scene.join("a");
    scene.wait(Duration::from_secs(40));
    scene.fail_over();
    scene.wait(Duration::from_secs(40));
    assert_eq!(scene.describe().members.len(), 1);
    scene.wait(Duration::from_secs(6));
    assert_eq!(scene.describe().state, GroupState::Empty);
}

#[test]
fn after_a_failover_a_target_is_made_at_once_if_one_is_due_and_not_otherwise() {
    let mut scene = Scene::new(&[("t", 2)]);
    let second = Duration::from_secs(1);
    scene.config(GroupConfig {
        assignment_interval: second,
        ..GroupConfig::default()
    });
    scene.join("a");
    scene.join("b");
    assert_eq!(scene.targets().len(), 2);
    assert_eq!(scene.target("b"), [], "a second after the last one");
    scene.fail_over();
    assert_eq!(scene.deadline, Some(scene.now));
    scene.step(Input::Tick);
    assert_eq!(scene.target("b").len(), 1);
    scene.settle(&["a", "b"]);
    scene.fail_over();
    assert!(scene.deadline > Some(scene.now), "nothing is due");
}

#[test]
fn topics_that_appear_later_are_taken_up_by_name_and_by_pattern() {
    let mut scene = Scene::new(&[("t", 1)]);
    scene.join("a");
    let mut by_pattern = scene.opening("b");
    by_pattern.subscription = Some(Subscription {
        topics: Vec::new(),
        pattern: Some("[tv].*".into()),
    });
    scene.beat(by_pattern).expect("joins");
    let epoch = scene.describe().epoch;
    scene.topic("u", 7, 2);
    scene.topic("vv", 8, 3);
    scene.topic("w", 9, 1);
    assert_eq!(
        scene.describe().epoch,
        epoch.next().next(),
        "only what somebody wants counts"
    );
    let targets = scene.targets();
    assert_eq!(targets.len(), 6);
    assert!(
        targets
            .iter()
            .all(|(at, id)| at.topic != at_topic(8) || *id == member("b"))
    );
    for pattern in ["(", "a)|(b", "x{9999}{9999}"] {
        let mut bad = scene.opening("c");
        bad.subscription = Some(Subscription {
            topics: Vec::new(),
            pattern: Some(pattern.into()),
        });
        let refused = scene.beat(bad).map_err(|error| error.code());
        assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{pattern}");
    }
}

fn at_topic(id: u128) -> quipu_record::TopicId {
    quipu_record::TopicId::from_u128(id)
}

#[test]
fn offsets_expire_a_week_after_the_last_member_went_and_are_still_shown() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut scene = Scene::new(&[("t", 1)]);
    let a = scene.join("a");
    assert_eq!(scene.commit("a", a.epoch, at(1, 0), 42), Ok(()));
    scene.leave("a");
    scene.wait(DAY * 5);
    assert!(scene.coordinator.expiring(scene.wall).is_empty());
    scene.wait(DAY + Duration::from_secs(60));
    let soon = scene.coordinator.expiring(scene.wall);
    assert_eq!((soon.len(), soon[0].offsets), (1, 1), "a warning, a day before");
    scene.fail_over();
    scene.wait(DAY);
    assert_eq!(scene.committed("g", at(1, 0)), None);
    let shown = &scene.describe().offsets[0];
    let committed = shown.committed.as_ref().expect("its last position");
    assert_eq!((shown.expired, committed.offset.get()), (true, 42));
    // What is committed anew takes its place.
    scene.admin_commit("g", at(1, 0), 50);
    assert!(!scene.describe().offsets[0].expired);
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_but_not_by_old_metadata() {
    let mut scene = Scene::new(&[("t", 1)]);
    scene.admin_commit("g", at(1, 0), 42);
    scene.topic("t", 0, 0);
    scene.wait(Duration::from_secs(30));
    scene.topic("t", 1, 1);
    scene.wait(Duration::from_secs(3_600));
    assert_eq!(scene.committed("g", at(1, 0)), Some(42));
    scene.topic("t", 0, 0);
    scene.wait(Duration::from_secs(61));
    assert_eq!(scene.committed("g", at(1, 0)), None);
    let gone = scene.call(Request::Describe(group("g")));
    assert_eq!(gone, Err(GroupError::UnknownGroup));
}

#[test]
fn administrators_wait_until_the_members_are_gone() {
    let mut scene = Scene::new(&[("t", 2)]);
    let a = scene.join("a");
    assert_eq!(scene.commit("a", a.epoch, at(1, 0), 9), Ok(()));
    let reset = |validate_only| {
        Request::Reset(Reset {
            group: group("g"),
            offsets: vec![(at(1, 0), MoveTo::Offset(quipu_record::Offset::new(3)))],
            validate_only,
        })
    };
    let delete = |validate_only| Request::Delete {
        group: group("g"),
        validate_only,
    };
    for request in [reset(false), delete(true), delete(false)] {
        assert_eq!(scene.call(request), Err(GroupError::GroupNotEmpty));
    }
    scene.leave("a");
    scene.call(reset(true)).expect("may");
    assert_eq!(scene.committed("g", at(1, 0)), Some(9));
    scene.call(reset(false)).expect("may");
    assert_eq!(scene.committed("g", at(1, 0)), Some(3));
    scene.call(delete(true)).expect("may");
    assert_eq!(scene.call(delete(false)), Ok(Response::Deleted));
    assert_eq!(scene.call(delete(false)), Err(GroupError::UnknownGroup));
    scene.fail_over();
    assert_eq!(scene.coordinator.group_count(), 0);
}

#[test]
fn a_group_takes_no_more_members_than_it_may() {
    let mut scene = Scene::new(&[("t", 2)]);
    scene.config(GroupConfig {
        group_max_size: 1,
        ..GroupConfig::default()
    });
    scene.join("a");
    let opening = scene.opening("b");
    assert_eq!(scene.beat(opening), Err(GroupError::GroupFull(1)));
    let mut odd = scene.opening("a");
    odd.assignor = Some("best".to_owned());
    let refused = scene.beat(odd);
    assert_eq!(refused, Err(GroupError::UnsupportedAssignor("best".to_owned())));
}

#[test]
fn many_joins_at_once_make_few_targets() {
    let mut scene = Scene::new(&[("t", 12)]);
    scene.config(GroupConfig::default());
    for index in 0..6 {
        scene.join(&format!("m{index}"));
    }
    assert_eq!(
        scene.describe().target_epoch,
        GroupEpoch::new(1),
        "the first at once"
    );
    assert_eq!(scene.describe().state, GroupState::Assigning);
    scene.wait(Duration::from_millis(250));
    assert_eq!(
        scene.describe().target_epoch,
        GroupEpoch::new(6),
        "the rest together"
    );
    assert_eq!(scene.target("m5").len(), 2);
}
