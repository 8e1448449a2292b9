//! Committed offsets: who may commit, and in which order what was committed is read.

mod words;

use words::told;

/// What is told of a commit by `m` in an epoch, while it owns t/0 since epoch 3 and is told the epochs 5 and then 6.
fn committed_in(epoch: u32) -> String {
    let by = format!(r#""by":{{"member":"m","member_epoch":{epoch}}}"#);
    let commit = ["invoke", "ok"].map(|kind| {
        format!(r#""process":0,"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":5,"id":1,{by}"#)
    });
    told(&[
        r#""process":0,"type":"info","f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":3,"member_epoch":5"#,
        &commit[0],
        &commit[1],
        r#""process":0,"type":"info","f":"advanced","group":"g","member":"m","member_epoch":6"#,
        r#""process":0,"type":"info","f":"released","group":"g","member":"m","key":"t/0""#,
    ])
}

#[test]
fn a_commit_in_an_epoch_before_the_partition_was_assigned_is_not_fenced() {
    assert_eq!(committed_in(3), "");
    let early = committed_in(2);
    assert!(early.starts_with("unfenced-commit: "), "{early}");
}

#[test]
fn a_commit_in_an_epoch_that_its_member_has_not_reached_is_not_fenced() {
    assert_eq!(committed_in(6), "");
    let ahead = committed_in(7);
    assert!(ahead.starts_with("unfenced-commit: "), "{ahead}");
}

/// Commits 1 and 2 are made one after the other, or at once; then they are read in this order.
fn read_in_order(at_once: bool, read: &[u32]) -> String {
    let commit = |id: u32, kind: &str| {
        format!(
            r#""process":{id},"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":{id},"id":{id}"#
        )
    };
    let mut events = match at_once {
        false => vec![
            commit(1, "invoke"),
            commit(1, "ok"),
            commit(2, "invoke"),
            commit(2, "ok"),
        ],
        true => vec![
            commit(1, "invoke"),
            commit(2, "invoke"),
            commit(1, "ok"),
            commit(2, "ok"),
        ],
    };
    for id in read {
        events.push(r#""process":3,"type":"invoke","f":"committed","group":"g","key":"t/0""#.to_owned());
        events.push(format!(
            r#""process":3,"type":"ok","f":"committed","group":"g","key":"t/0","found":{{"offset":{id},"id":{id}}}"#
        ));
    }
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    told(&events)
}

#[test]
fn what_was_read_is_not_read_again_after_another_was() {
    for at_once in [false, true] {
        assert_eq!(read_in_order(at_once, &[2, 2]), "");
        let again = read_in_order(at_once, &[1, 2, 1]);
        assert!(again.starts_with("stale-commit: "), "{again}");
    }
    assert_eq!(read_in_order(true, &[1, 1]), "");
    let earlier = read_in_order(false, &[1]);
    assert!(earlier.starts_with("stale-commit: "), "{earlier}");
}

#[test]
fn what_was_read_before_its_commit_was_acknowledged_counts_from_then_on() {
    let read = |found: u32| {
        [
            r#""process":3,"type":"invoke","f":"committed","group":"g","key":"t/0""#.to_owned(),
            format!(
                r#""process":3,"type":"ok","f":"committed","group":"g","key":"t/0","found":{{"offset":{found},"id":{found}}}"#
            ),
        ]
    };
    let commit = |id: u32, kind: &str| {
        format!(
            r#""process":{id},"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":{id},"id":{id}"#
        )
    };
    let story = |last: u32| {
        let mut events = vec![commit(1, "invoke")];
        events.extend(read(1));
        events.extend([commit(2, "invoke"), commit(2, "ok")]);
        events.extend(read(last));
        events.push(commit(1, "ok"));
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        told(&events)
    };
    assert_eq!(story(2), "");
    let back = story(1);
    assert!(back.starts_with("stale-commit: "), "{back}");
}

const RELEASED: &str = r#""process":0,"type":"info","f":"released","group":"g","member":"m","key":"t/0""#;

/// An event of `m` owning t/0 since an epoch, which is its own too.
fn owned_since(epoch: u32) -> String {
    format!(
        r#""process":0,"type":"info","f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":{epoch},"member_epoch":{epoch}"#
    )
}

#[test]
fn only_a_commit_that_was_refused_as_fenced_is_wrongly_fenced() {
    let refused = |why: &str| {
        let commit = |kind: &str| {
            let by = r#""by":{"member":"m","member_epoch":3}"#;
            format!(
                r#""process":0,"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":5,"id":1,{by}"#
            )
        };
        told(&[
            &owned_since(3),
            &commit("invoke"),
            &format!("{}{why}", commit("fail")),
            RELEASED,
        ])
    };
    assert_eq!(refused(""), "");
    let fenced = refused(r#","fenced":true"#);
    assert!(fenced.starts_with("wrongly-fenced-commit: "), "{fenced}");
}

#[test]
fn who_gets_a_partition_again_had_it_taken_in_between() {
    let commit = |kind: &str| {
        let by = r#""by":{"member":"m","member_epoch":5}"#;
        format!(r#""process":0,"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":5,"id":1,{by}"#)
    };
    let since_7 = told(&[
        &owned_since(3),
        r#""process":0,"type":"info","f":"advanced","group":"g","member":"m","member_epoch":7"#,
        &owned_since(7),
        &commit("invoke"),
        &commit("ok"),
        RELEASED,
    ]);
    assert!(since_7.starts_with("unfenced-commit: "), "{since_7}");
}

#[test]
fn when_a_partition_was_taken_its_member_does_not_know_so_another_may_commit() {
    let other_commits = |lost: bool| {
        let by = r#""by":{"member":"n","member_epoch":4}"#;
        let commit = |kind: &str| {
            format!(
                r#""process":1,"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":5,"id":1,{by}"#
            )
        };
        told(&[
            &owned_since(3),
            &commit("invoke"),
            &commit("ok"),
            &format!(r#"{RELEASED},"lost":{lost}"#),
        ])
    };
    assert_eq!(other_commits(true), "");
    let not_its_own = other_commits(false);
    assert!(not_its_own.starts_with("unfenced-commit: "), "{not_its_own}");
}

#[test]
fn who_owns_a_partition_may_commit_in_any_of_its_epochs_since_it_got_it() {
    let refused_in = |epoch: u32| {
        let by = format!(r#""by":{{"member":"m","member_epoch":{epoch}}}"#);
        let commit = |kind: &str| {
            format!(
                r#""process":0,"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":5,"id":1,{by}"#
            )
        };
        told(&[
            &owned_since(3),
            r#""process":0,"type":"info","f":"advanced","group":"g","member":"m","member_epoch":5"#,
            &commit("invoke"),
            &format!(r#"{},"fenced":true"#, commit("fail")),
            r#""process":0,"type":"info","f":"advanced","group":"g","member":"m","member_epoch":6"#,
            RELEASED,
        ])
    };
    for (epoch, wrongly) in [
        (2, false),
        (3, true),
        (4, true),
        (5, true),
        (6, false),
        (7, false),
    ] {
        let refused = refused_in(epoch);
        assert_eq!(
            refused.starts_with("wrongly-fenced-commit: "),
            wrongly,
            "{epoch}: {refused}"
        );
        assert_eq!(refused.is_empty(), !wrongly, "{epoch}: {refused}");
    }
}

#[test]
fn who_does_not_own_a_partition_is_rightly_fenced() {
    let commit = |kind: &str| {
        let by = r#""by":{"member":"n","member_epoch":5}"#;
        format!(r#""process":1,"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":5,"id":1,{by}"#)
    };
    let refused = told(&[
        &owned_since(3),
        r#""process":1,"type":"info","f":"advanced","group":"g","member":"n","member_epoch":5"#,
        &commit("invoke"),
        &format!(r#"{},"fenced":true"#, commit("fail")),
        RELEASED,
    ]);
    assert_eq!(refused, "");
}

#[test]
fn who_reads_while_another_commits_may_read_what_was_before() {
    let commit = |id: u32, kind: &str| {
        format!(
            r#""process":{id},"type":"{kind}","f":"commit","group":"g","key":"t/0","offset":{id},"id":{id}"#
        )
    };
    let read = r#""process":3,"type":"invoke","f":"committed","group":"g","key":"t/0""#;
    let found = |id: u32| {
        format!(
            r#""process":3,"type":"ok","f":"committed","group":"g","key":"t/0","found":{{"offset":{id},"id":{id}}}"#
        )
    };
    for id in [1, 2] {
        let events = [
            &commit(1, "invoke"),
            &commit(1, "ok"),
            read,
            &commit(2, "invoke"),
            &commit(2, "ok"),
            &found(id),
        ];
        assert_eq!(told(&events.map(|event| event as &str)), "");
    }
    let nothing = r#""process":3,"type":"ok","f":"committed","group":"g","key":"t/0""#;
    assert_eq!(told(&[read, &commit(1, "invoke"), &commit(1, "ok"), nothing]), "");
}
