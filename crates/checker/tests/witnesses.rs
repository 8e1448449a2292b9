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
