//! What a history has is counted; and what it has nothing of is said, and nothing else.

mod words;

use quipu_checker::{Counts, Outcomes};
use words::verdict_of;

#[test]
fn what_a_history_has_is_counted() {
    let counts = verdict_of(
        r#"
        0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
        0 ok "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0
        0 invoke "f":"send","key":"t/0","values":[[3,5]],"acks":"leader"
        0 ok "f":"send","key":"t/0","values":[[3,5]],"acks":"leader","offset":2
        1 invoke "f":"send","key":"t/1","values":[[4,5]]
        1 info "f":"send","key":"t/1","values":[[4,5]]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":1}]
        2 ok "f":"poll","partitions":[{"key":"t/0","from":1,"records":[[1,2,5]]}]
        2 invoke "f":"poll","partitions":[{"key":"t/0","from":0}]
        2 fail "f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}]
        2 invoke "f":"crash"
        n info "f":"fault","what":"","kind":"kill","phase":"begin"
        n info "f":"fault","what":"","kind":"kill","phase":"end"
        n info "f":"fault","what":"","kind":"kill"
        n info "f":"fault","what":"","kind":"pause","phase":"begin"
        n info "f":"fault","what":""
        n invoke "f":"trim","key":"t/1","before":0
        3 info "f":"owned","group":"g","member":"m","key":"t/2","assignment_epoch":3,"member_epoch":3
        n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[[0,1,5],[1,2,5]]
        n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[[2,3,5]]
        n info "f":"final","replica":2,"key":"t/0","log_start":0,"records":[[0,1,5],[1,2,5]]
        "#,
    )
    .counts;
    let of = |ok, fail, info| Outcomes { ok, fail, info };
    let operations = [
        ("crash", of(0, 0, 1)),
        ("poll", of(2, 1, 0)),
        ("send", of(2, 0, 1)),
    ];
    let faults = [("kill", 2), ("pause", 1)].map(|(kind, count)| (kind.to_owned(), count));
    let expected = Counts {
        events: 23,
        partitions: 2,
        ok: 4,
        fail: 1,
        info: 2,
        operations: operations.into(),
        sent: 4,
        acked: 2,
        read: 3,
        final_records: 5,
        final_logs: 2,
        allowed_duplicates: 0,
        faults: 4,
        faults_by_kind: faults.into(),
    };
    assert_eq!(counts, expected);
}

/// How many there are to name.
const ALL: usize = 11;

#[test]
fn what_a_history_has_is_not_named_among_what_it_lacks() {
    let nothing = verdict_of("").not_exercised;
    assert_eq!(nothing.len(), ALL, "{nothing:?}");
    for (has, events) in [
        ("unseen", r#"n info "f":"final-polls""#),
        (
            "P6",
            r#"
            0 invoke "f":"latest","key":"t/0"
            0 ok "f":"latest","key":"t/0","high_watermark":0
            "#,
        ),
        (
            "P8",
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5]],"producer":4,"sequence":0
            0 ok "f":"send","key":"t/0","values":[[1,5]],"producer":4,"sequence":0,"offset":0
            "#,
        ),
        (
            "P10",
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5]]
            0 ok "f":"send","key":"t/0","values":[[1,5]],"offset":0,"leader_epoch":3
            1 invoke "f":"send","key":"t/1","values":[[2,5]]
            1 ok "f":"send","key":"t/1","values":[[2,5]],"offset":0
            "#,
        ),
        (
            "P10",
            r#"
            n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[],"batches":[{"base":0,"last":1,"leader_epoch":6,"crc":10}]
            n info "f":"final","replica":1,"key":"t/1","log_start":0,"records":[]
            "#,
        ),
        ("P9", r#"0 invoke "f":"txn","steps":[]"#),
        (
            "committed offsets",
            r#"0 invoke "f":"commit","group":"g","key":"t/0","offset":5,"id":1"#,
        ),
        (
            "metadata",
            r#"
            0 invoke "f":"metadata-read"
            0 ok "f":"metadata-read","version":3
            "#,
        ),
        (
            "availability",
            r#"n info "f":"healed","what":"all brokers are up""#,
        ),
        (
            "ownership",
            r#"0 info "f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":3,"member_epoch":3"#,
        ),
    ] {
        let lacks = verdict_of(events).not_exercised;
        let named = |what: &&&str| what.starts_with(&format!("{has} "));
        assert_eq!(lacks.iter().filter(named).count(), 0, "{has}: {lacks:?}");
        assert_eq!(lacks.len(), ALL - 1, "{has}: {lacks:?}");
    }
}

#[test]
fn what_two_together_exercise() {
    for (has, events) in [
        (
            ["P11 ", "P10 "],
            r#"
            n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[],"batches":[{"base":0,"last":1,"leader_epoch":6,"crc":10}]
            n info "f":"final","replica":2,"key":"t/0","log_start":0,"records":[],"batches":[{"base":0,"last":1,"leader_epoch":6,"crc":10}]
            "#,
        ),
        (
            ["fencing of commits ", "ownership of partitions "],
            r#"
            0 info "f":"owned","group":"g","member":"m","key":"t/0","assignment_epoch":3,"member_epoch":3
            0 invoke "f":"commit","group":"g","key":"t/0","offset":5,"id":1,"by":{"member":"m","member_epoch":3}
            0 fail "f":"commit","group":"g","key":"t/0","offset":5,"id":1,"by":{"member":"m","member_epoch":3}
            0 info "f":"released","group":"g","member":"m","key":"t/0"
            "#,
        ),
    ] {
        let lacks = verdict_of(events).not_exercised;
        assert_eq!(lacks.len(), ALL - 2, "{lacks:?}");
        let named = |what: &&&str| has.iter().any(|has| what.starts_with(has));
        assert_eq!(lacks.iter().filter(named).count(), 0, "{lacks:?}");
    }
}
