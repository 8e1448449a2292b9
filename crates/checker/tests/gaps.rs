//! What a read may leave out: what was deleted, where a consumer keeps its place, and where marks of transactions stand.

mod words;

use words::told;

#[test]
fn what_was_read_before_it_was_deleted_is_no_gap_whatever_marks_stand_there() {
    let events = [
        r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,5]],"acks":"all""#,
        r#""process":0,"type":"ok","f":"send","key":"t/0","values":[[1,5]],"acks":"all","offset":1"#,
        r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
        r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":0,"records":[[1,1,5]],"control":[0,2]}]"#,
        r#""process":2,"type":"invoke","f":"trim","key":"t/0","before":5"#,
        r#""process":2,"type":"ok","f":"trim","key":"t/0","before":5"#,
    ];
    assert_eq!(told(&events), "");
}

/// Values 1 to 4 at offsets 0 to 3, which somebody has read.
const FOUR: [&str; 4] = [
    r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,5],[2,5],[3,5],[4,5]],"acks":"all""#,
    r#""process":0,"type":"ok","f":"send","key":"t/0","values":[[1,5],[2,5],[3,5],[4,5]],"acks":"all","offset":0"#,
    r#""process":2,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
    r#""process":2,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5],[2,3,5],[3,4,5]]}]"#,
];

#[test]
fn a_read_that_begins_above_where_it_was_asked_to_left_something_out() {
    let from = |offset: u64| {
        let read = format!(
            r#""process":1,"type":"ok","f":"poll","partitions":[{{"key":"t/0","from":{offset},"records":[[2,3,5],[3,4,5]]}}]"#
        );
        let asked = format!(
            r#""process":1,"type":"invoke","f":"poll","partitions":[{{"key":"t/0","from":{offset}}}]"#
        );
        told(&[&FOUR[..], &[&asked, &read]].concat())
    };
    assert_eq!(from(2), "");
    let left_out = from(0);
    assert!(left_out.starts_with("P7 "), "{left_out}");
}

#[test]
fn who_keeps_its_place_and_leaves_values_out_has_skipped_them() {
    let assigned =
        ["invoke", "ok"].map(|kind| format!(r#""process":1,"type":"{kind}","f":"assign","keys":["t/0"]"#));
    let found = told(&[
        &FOUR[..],
        &[
            &assigned[0],
            &assigned[1],
            r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
            r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5]]}]"#,
            r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":1}]"#,
            r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":1,"records":[[3,4,5]]}]"#,
        ],
    ]
    .concat());
    assert!(found.starts_with("poll-skip: "), "{found}");
    assert!(!found.contains("P7 "), "it is told once: {found}");
}

#[test]
fn a_place_is_kept_through_a_subscription_to_its_topic_and_to_no_other() {
    let through = |topic: &str| {
        let subscribed = ["invoke", "ok"].map(|kind| {
            format!(r#""process":1,"type":"{kind}","f":"subscribe","group":"g","topics":["{topic}"]"#)
        });
        let then = [
            r#""process":1,"type":"invoke","f":"assign","keys":["t/0"]"#,
            r#""process":1,"type":"ok","f":"assign","keys":["t/0"]"#,
            r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
            r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}]"#,
            &subscribed[0],
            &subscribed[1],
            r#""process":1,"type":"invoke","f":"assign","keys":["t/0"]"#,
            r#""process":1,"type":"ok","f":"assign","keys":["t/0"]"#,
            r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":3}]"#,
            r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":3,"records":[[3,4,5]]}]"#,
        ];
        told(&[&FOUR[..], &then].concat())
    };
    let skipped = through("t");
    assert!(skipped.contains("poll-skip"), "{skipped}");
    assert_eq!(through("u"), "");
}

#[test]
fn a_hole_is_explained_by_as_many_marks_as_stand_in_it() {
    let read = |control: &str| {
        let read = format!(
            r#""process":1,"type":"ok","f":"poll","partitions":[{{"key":"t/0","from":0,"records":[[0,1,5],[3,2,5]],"control":[{control}]}}]"#
        );
        told(&[
            r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,5]],"acks":"all""#,
            r#""process":0,"type":"ok","f":"send","key":"t/0","values":[[1,5]],"acks":"all","offset":0"#,
            r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[2,5]],"acks":"all""#,
            r#""process":0,"type":"ok","f":"send","key":"t/0","values":[[2,5]],"acks":"all","offset":3"#,
            r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
            &read,
        ])
    };
    assert_eq!(read("1,2"), "");
    for too_few in ["1", "2,4", "4,5"] {
        let hole = read(too_few);
        assert!(hole.starts_with("P7 "), "{too_few}: {hole}");
    }
}

#[test]
fn whatever_is_deleted_before_or_after_it_the_greatest_deletion_counts() {
    let found = |deleted: [u64; 2], log_start: u64| {
        let trim = |before: u64| {
            format!(r#""process":"nemesis","type":"info","f":"trim","key":"t/0","before":{before}"#)
        };
        let [first, second] = deleted.map(trim);
        let last = match log_start {
            2 => "[2,3,5],[3,4,5]",
            _ => "[3,4,5]",
        };
        let log = format!(
            r#""process":"nemesis","type":"info","f":"final","replica":1,"key":"t/0","log_start":{log_start},"records":[{last}]"#
        );
        told(&[&FOUR[..], &[&first, &second, &log]].concat())
    };
    for deleted in [[1, 2], [2, 1], [2, 2]] {
        assert_eq!(found(deleted, 2), "", "{deleted:?}");
        let too_high = found(deleted, 3);
        assert!(too_high.starts_with("P5 below-log-start: "), "{too_high}");
    }
}

#[test]
fn a_deletion_that_failed_deleted_nothing_and_one_that_nobody_knows_of_may_have() {
    let log = r#""process":"nemesis","type":"info","f":"final","replica":1,"key":"t/0","log_start":2,"records":[[2,3,5],[3,4,5]]"#;
    let trim = |kind: &str| format!(r#""process":5,"type":"{kind}","f":"trim","key":"t/0","before":2"#);
    let ended = |kind: &str| told(&[&FOUR[..], &[&trim("invoke"), &trim(kind), log]].concat());
    for may_have in ["ok", "info"] {
        assert_eq!(ended(may_have), "", "{may_have}");
    }
    let under_way = told(&[&FOUR[..], &[&trim("invoke"), log]].concat());
    assert_eq!(under_way, "");
    let failed = ended("fail");
    assert!(failed.starts_with("P5 below-log-start: "), "{failed}");
}
