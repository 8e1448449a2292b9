//! What a history has nothing of is said, and nothing else.

mod words;

use words::verdict_of;

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
