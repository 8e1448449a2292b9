//! What acknowledgements, reads and final logs tell of where values stand, and what they do not tell.

mod words;

use quipu_checker::AnomalyKind;
use words::{report, verdict_of};

/// The kinds that are found.
#[track_caller]
fn finds(kinds: &[AnomalyKind], events: &str) {
    let verdict = verdict_of(events);
    let found: Vec<AnomalyKind> = verdict.found.keys().copied().collect();
    assert_eq!(found, kinds, "{verdict}");
}

#[test]
fn where_a_weak_acknowledgement_put_a_value_something_else_may_come_to_stand() {
    // The second try of value 1 came to another leader.
    let story = |acks: &str| {
        format!(
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5]],"acks":"{acks}"
            1 invoke "f":"send","key":"t/0","values":[[2,5]]
            0 ok "f":"send","key":"t/0","values":[[1,5]],"acks":"{acks}","offset":0
            1 ok "f":"send","key":"t/0","values":[[2,5]],"offset":0
            2 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
            2 ok "f":"poll","partitions":[{{"key":"t/0","from":0,"records":[[0,2,5],[1,1,5]]}}]
            "#
        )
    };
    for weak in ["leader", "none"] {
        finds(&[], &story(weak));
    }
    finds(&[AnomalyKind::InconsistentOffsets], &story("all"));
}

#[test]
fn batches_alone_do_not_name_their_values() {
    let story = |log: &str| {
        format!(
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
            0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0
            n info "f":"final-polls"
            2 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
            2 ok "f":"poll","partitions":[{{"key":"t/0","from":0,"records":[[0,1,5]]}}]
            n info "f":"final","replica":1,"key":"t/0","log_start":0,{log}
            "#
        )
    };
    let batches = r#""batches":[{"base":0,"last":1,"leader_epoch":6,"crc":10}]"#;
    // Whether value 2 is in the log, no batch says: nobody saw it.
    finds(
        &[AnomalyKind::Unseen],
        &story(&format!(r#""records":[],{batches}"#)),
    );
    // It is, and nobody read it.
    let both = r#""records":[[0,1,5],[1,2,5]]"#;
    finds(&[AnomalyKind::Unseen], &story(both));
    finds(&[AnomalyKind::Unseen], &story(&format!("{both},{batches}")));
    // It is not, which has a better name than that nobody read it.
    for records in [r#""records":[]"#, r#""records":[[0,1,5]]"#] {
        finds(&[AnomalyKind::LostWrite], &story(records));
    }
    finds(
        &[AnomalyKind::LostWrite],
        &story(&format!(r#""records":[[0,1,5]],{batches}"#)),
    );
}

#[test]
fn what_no_batch_of_a_replica_holds_is_lost() {
    let batch =
        |base: u64, last: u64| format!(r#"{{"base":{base},"last":{last},"leader_epoch":6,"crc":10}}"#);
    let values = (1..=11).map(|value| format!("[{value},5]"));
    let values = values.collect::<Vec<_>>().join(",");
    let story = format!(
        r#"
        0 invoke "f":"send","key":"t/0","values":[{values}]
        0 ok "f":"send","key":"t/0","values":[{values}],"offset":0
        n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[],"batches":[{},{}]
        "#,
        batch(1, 4),
        batch(6, 9)
    );
    let report = report(&story);
    let lost =
        |offset: u64| format!("acknowledged at t/0 offset {offset}, and replica 1 holds nothing there");
    let found = (0..11).filter(|offset| report.contains(&lost(*offset)));
    assert_eq!(found.collect::<Vec<_>>(), [0, 5, 10], "{report}");
}

#[test]
fn of_each_batch_of_a_transaction_it_is_known_what_was_sent() {
    let story = |read: &str| {
        format!(
            r#"
            0 invoke "f":"txn","steps":[{{"send":{{"key":"t/0","values":[[1,5],[2,6]]}}}},{{"send":{{"key":"t/1","values":[[3,7],[4,8]]}}}}]
            0 ok "f":"txn","steps":[{{"send":{{"key":"t/0","values":[[1,5],[2,6]],"offset":0}}}},{{"send":{{"key":"t/1","values":[[3,7],[4,8]],"offset":0}}}}]
            2 invoke "f":"poll","partitions":[{{"key":"t/1","from":0}}]
            2 ok "f":"poll","partitions":[{{"key":"t/1","from":0,"records":{read}}}]
            "#
        )
    };
    finds(&[], &story("[[0,3,7],[1,4,8]]"));
    finds(&[AnomalyKind::CorruptRead], &story("[[0,3,7],[1,4,6]]"));
    finds(&[AnomalyKind::CorruptRead], &story("[[0,3,5],[1,4,8]]"));
    let each_others = verdict_of(&story("[[0,3,8],[1,4,7]]")).found;
    assert_eq!(each_others.get(&AnomalyKind::CorruptRead), Some(&2));
}

#[test]
fn each_place_of_a_value_counts_that_a_plain_producer_stored_three_times() {
    let story = |read: &str| {
        format!(
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5]]
            0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":3
            1 invoke "f":"send","key":"t/0","values":[[2,5]]
            1 info "f":"send","key":"t/0","values":[[2,5]]
            2 invoke "f":"poll","partitions":[{{"key":"t/0","from":3}}]
            2 ok "f":"poll","partitions":[{{"key":"t/0","from":3,"records":{read},"control":[0,1]}}]
            "#
        )
    };
    let after = story("[[3,1,5],[4,2,5],[5,2,5],[6,2,5]]");
    finds(&[], &after);
    assert_eq!(verdict_of(&after).counts.allowed_duplicates, 1);
    for before in [
        story("[[2,2,5],[3,1,5],[4,2,5],[5,2,5]]"),
        format!(
            r#"{}
            3 invoke "f":"poll","partitions":[{{"key":"t/0","from":2}}]
            3 ok "f":"poll","partitions":[{{"key":"t/0","from":2,"records":[[2,2,5],[3,1,5]]}}]
            "#,
            after.trim_end()
        ),
    ] {
        finds(&[AnomalyKind::RealTimeOrder], &before);
    }
}

#[test]
fn of_three_values_at_one_offset_all_are_lost_but_the_one_that_is_read() {
    let story = r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        1 invoke "f":"send","key":"t/0","values":[[2,5]]
        2 invoke "f":"send","key":"t/0","values":[[3,5]]
        3 invoke "f":"send","key":"t/0","values":[[4,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0
        1 ok "f":"send","key":"t/0","values":[[2,5]],"offset":0
        2 ok "f":"send","key":"t/0","values":[[3,5]],"offset":0
        3 ok "f":"send","key":"t/0","values":[[4,5]],"offset":1
        n info "f":"final-polls"
        4 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        4 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,2,5],[1,4,5]]}]
        "#;
    finds(&[AnomalyKind::InconsistentOffsets, AnomalyKind::LostWrite], story);
    let lost = report(story);
    let is_lost = |value: &u64| lost.contains(&format!("lost-write: value {value} is at t/0 offset 0,"));
    assert_eq!((1..=4).filter(is_lost).collect::<Vec<_>>(), [1, 3], "{lost}");
}

/// Values 1 and 2, of which an aborted poll saw the second.
fn seen_by_an_aborted_poll(end: &str) -> String {
    format!(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
        0 {end}
        1 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
        1 fail "f":"poll","partitions":[{{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}}]
        2 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
        "#
    )
}

#[test]
fn what_only_an_aborted_poll_saw_is_unseen() {
    let end = r#"ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0"#;
    let story = format!(
        r#"{}
        2 ok "f":"poll","partitions":[{{"key":"t/0","from":0,"records":[[0,1,5]]}}]
        n info "f":"final-polls"
        "#,
        seen_by_an_aborted_poll(end).trim_end()
    );
    finds(&[AnomalyKind::Unseen], &story);
}

#[test]
fn what_only_an_aborted_poll_saw_of_a_send_that_nobody_knows_of_may_be_gone() {
    let end = r#"info "f":"send","key":"t/0","values":[[1,5],[2,5]]"#;
    let other = r#"
        3 invoke "f":"send","key":"t/0","values":[[3,5]]
        3 ok "f":"send","key":"t/0","values":[[3,5]],"offset":2
        "#;
    let reads = |records: &str| {
        let story = seen_by_an_aborted_poll(end);
        format!(
            r#"{}{}
        2 ok "f":"poll","partitions":[{{"key":"t/0","from":0,"records":{records},"control":[0,1]}}]
        "#,
            story.trim_end(),
            other.trim_end()
        )
    };
    finds(
        &[AnomalyKind::LostWrite, AnomalyKind::IntPollSkip],
        &reads("[[0,1,5],[2,3,5]]").replace("[0,1]", "[]"),
    );
    finds(&[], &reads("[[2,3,5]]"));
}

#[test]
fn who_read_a_value_first_is_named() {
    let report = report(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0
        0 invoke "f":"send","key":"t/0","values":[[2,5]]
        0 ok "f":"send","key":"t/0","values":[[2,5]],"offset":1
        1 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        1 ok "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":1}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":1,"records":[[1,2,5]]}]
        3 invoke "f":"poll","partitions":[{"key":"t/0","from":1}]
        3 ok "f":"poll","partitions":[{"key":"t/0","from":1,"records":[[1,2,5]]}]
        "#,
    );
    let expected = "\
P5 lost-write: value 1 is at t/0 offset 0, and nobody read it, though offset 1 was read
    #0      1.000000 s  process 0 invoke: send value 1 to t/0
    #1      2.000000 s  process 0 ok: value 1 acknowledged at t/0 offset 0
    #7      8.000000 s  process 2 ok: value 2 read at t/0 offset 1";
    assert_eq!(report, expected);
}

#[test]
fn of_a_compacted_partition_offsets_may_be_missing() {
    let story = |compacted: bool| {
        format!(
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5],[3,5],[4,5]]
            0 ok "f":"send","key":"t/0","values":[[1,5],[2,5],[3,5],[4,5]],"offset":0
            n info "f":"final-polls"
            1 invoke "f":"assign","keys":["t/0"]
            1 ok "f":"assign","keys":["t/0"]
            1 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
            1 ok "f":"poll","partitions":[{{"key":"t/0","from":0,"records":[[0,1,5]],"compacted":{compacted}}}]
            1 invoke "f":"poll","partitions":[{{"key":"t/0","from":1}}]
            1 ok "f":"poll","partitions":[{{"key":"t/0","from":1,"records":[[2,3,5]],"compacted":{compacted}}}]
            "#
        )
    };
    finds(&[], &story(true));
    finds(
        &[AnomalyKind::LostWrite, AnomalyKind::Unseen, AnomalyKind::PollSkip],
        &story(false),
    );
}

#[test]
fn of_each_kind_five_are_told_and_all_are_counted() {
    let values = |of: &dyn Fn(u64) -> String| (0..7).map(of).collect::<Vec<_>>().join(",");
    let sent = values(&|value| format!("[{value},5]"));
    let read = values(&|value| format!("[{value},{value},6]"));
    let verdict = verdict_of(&format!(
        r#"
        0 invoke "f":"send","key":"t/0","values":[{sent}]
        1 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
        1 ok "f":"poll","partitions":[{{"key":"t/0","from":0,"records":[{read}]}}]
        "#
    ));
    assert_eq!(verdict.found.get(&AnomalyKind::CorruptRead), Some(&7));
    assert_eq!(verdict.anomalies.len(), 5);
}

#[test]
fn what_is_read_at_the_offset_of_a_lost_value_is_no_more_than_that() {
    // The greatest offset that is read has two values.
    let story = r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5]]
        1 invoke "f":"send","key":"t/0","values":[[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0
        1 ok "f":"send","key":"t/0","values":[[2,5]],"offset":0
        n info "f":"final-polls"
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5]]}]
        "#;
    finds(&[AnomalyKind::InconsistentOffsets, AnomalyKind::LostWrite], story);
}

#[test]
fn a_lost_value_is_told_once_of_each_replica_and_nameless_bytes_each_time() {
    let verdict = verdict_of(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0
        1 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        1 ok "f":"poll","partitions":[{"key":"t/0","from":0}]
        1 invoke "f":"poll","partitions":[{"key":"t/0","from":1}]
        1 ok "f":"poll","partitions":[{"key":"t/0","from":1,"records":[[1,2,5]]}]
        n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[[1,2,5],[2,null,6]]
        n info "f":"final","replica":2,"key":"t/0","log_start":0,"records":[[1,2,5],[2,null,6]]
        "#,
    );
    let found = [AnomalyKind::UnsentRead, AnomalyKind::LostWrite].map(|kind| (kind, 2));
    assert_eq!(verdict.found, found.into_iter().collect(), "{verdict}");
}

#[test]
fn a_log_with_holes_holds_what_stands_after_them() {
    let story = |records: &str| {
        format!(
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5]]
            0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":3
            0 invoke "f":"send","key":"t/0","values":[[2,5],[3,5]]
            0 ok "f":"send","key":"t/0","values":[[2,5],[3,5]],"offset":5
            n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[{records}]
            "#
        )
    };
    finds(&[], &story("[3,1,5],[5,2,5],[6,3,5]"));
    for lacking in ["[3,1,5],[6,3,5]", "[3,1,5],[5,2,5]", "[5,2,5],[6,3,5]", ""] {
        finds(&[AnomalyKind::LostWrite], &story(lacking));
    }
}

#[test]
fn what_a_producer_sends_after_an_answer_has_another_name_in_the_wrong_order() {
    let story = |end: &str, next: u64| {
        let send = |process: u64, kind: &str, sequence: u64, offset: &str| {
            let value = sequence + 1;
            format!(
                r#"{process} {kind} "f":"send","key":"t/0","values":[[{value},5]],"producer":4,"sequence":{sequence}{offset}
                "#
            )
        };
        let events = [
            send(0, "invoke", 0, ""),
            send(0, end, 0, if end == "ok" { r#","offset":5"# } else { "" }),
            send(next, "invoke", 1, ""),
            send(next, "ok", 1, r#","offset":3"#),
            r#"9 invoke "f":"poll","partitions":[{"key":"t/0","from":5}]
            9 ok "f":"poll","partitions":[{"key":"t/0","from":5,"records":[[5,1,5]]}]"#
                .to_owned(),
        ];
        events.concat()
    };
    finds(&[AnomalyKind::RealTimeOrder], &story("ok", 1));
    finds(&[AnomalyKind::NonmonotonicSend], &story("ok", 0));
    finds(&[AnomalyKind::ProducerOrder], &story("info", 1));
}
