//! What replicas' final logs must agree on and hold, and what they need not.

mod words;

use quipu_checker::AnomalyKind;
use words::{report, verdict_of};

#[track_caller]
fn finds(kinds: &[AnomalyKind], events: &str) {
    let verdict = verdict_of(events);
    let found: Vec<AnomalyKind> = verdict.found.keys().copied().collect();
    assert_eq!(found, kinds, "{events}\n{verdict}");
}

/// A replica's final log from a start to a high watermark, of batches `(base, last, checksum)`.
fn log(replica: u32, start: u64, high_watermark: u64, batches: &[(u64, u64, u32)]) -> String {
    let batches = batches
        .iter()
        .map(|(base, last, crc)| format!(r#"{{"base":{base},"last":{last},"leader_epoch":6,"crc":{crc}}}"#));
    let batches = batches.collect::<Vec<_>>().join(",");
    format!(
        r#"n info "f":"final","replica":{replica},"key":"t/0","log_start":{start},"high_watermark":{high_watermark},"records":[],"batches":[{batches}]"#
    )
}

#[test]
fn replicas_agree_from_the_later_start_to_the_lower_high_watermark() {
    let [below, across, above] = [(0, 4, 1), (5, 9, 2), (10, 14, 3)];
    let whole = |start, high_watermark| log(1, start, high_watermark, &[below, across, above]);
    for (start, high_watermark, other, differ) in [
        // What lies below one start, or above one high watermark, may be anything.
        (5, 10, [(0, 4, 7), across, (10, 14, 7)], false),
        (4, 10, [(0, 4, 7), across, above], true),
        (0, 10, [(0, 4, 7), across, above], true),
        (5, 11, [below, across, (10, 14, 7)], true),
        (9, 10, [(0, 4, 7), (5, 9, 7), above], true),
        (9, 10, [(0, 4, 7), across, (10, 14, 7)], false),
        (0, 6, [below, (5, 9, 7), above], true),
        (0, 5, [below, (5, 9, 7), (10, 14, 7)], false),
    ] {
        let kinds = &[AnomalyKind::DivergedReplicas][..usize::from(differ)];
        // Whichever of the two begins later, or knows of less.
        for [first, second] in [
            [(start, high_watermark), (0, 15)],
            [(0, 15), (start, high_watermark)],
            [(start, 15), (0, high_watermark)],
            [(0, high_watermark), (start, 15)],
        ] {
            let first = whole(first.0, first.1);
            let second = log(2, second.0, second.1, &other);
            finds(kinds, &format!("{first}\n{second}"));
        }
    }
}

#[test]
fn a_log_that_tells_no_high_watermark_counts_to_its_end() {
    let [first, second] = [
        log(1, 0, 10, &[(0, 4, 1), (5, 9, 2)]),
        log(2, 0, 10, &[(0, 4, 1)]),
    ];
    let untold = |log: &str| log.replace(r#""high_watermark":10,"#, "");
    finds(&[AnomalyKind::DivergedReplicas], &format!("{first}\n{second}"));
    finds(&[], &format!("{}\n{}", untold(&first), untold(&second)));
}

#[test]
fn no_log_ends_below_the_greatest_high_watermark_that_was_told() {
    let told = |watermark: u64| {
        format!(
            r#"
            5 invoke "f":"latest","key":"t/0"
            5 ok "f":"latest","key":"t/0","high_watermark":{watermark}
            "#
        )
    };
    let story = |watermarks: [u64; 2], last: u64| {
        let sent = r#"0 invoke "f":"send","key":"t/0","values":[[1,5]]"#;
        let [first, second] = watermarks.map(told);
        format!(
            "{sent}{first}{}\n{}",
            second.trim(),
            log(1, 0, 5, &[(0, last, 1)])
        )
    };
    for watermarks in [[4, 6], [6, 6]] {
        finds(&[], &story(watermarks, 5));
        finds(&[AnomalyKind::CutBelowHighWatermark], &story(watermarks, 4));
    }
    let told = report(&story([6, 6], 4));
    let first = "#2      3.000000 s  process 5 ok: high watermark of t/0: 6";
    assert!(told.contains(first), "{told}");
    let back = &[
        AnomalyKind::HighWatermarkWentBack,
        AnomalyKind::CutBelowHighWatermark,
    ];
    finds(&back[..1], &story([6, 4], 5));
    finds(back, &story([6, 4], 4));
}

#[test]
fn a_part_of_a_transaction_is_missing_only_where_it_could_be_seen() {
    let story = |end: &str, more: &str| {
        let steps = |offset: &str| {
            ["t/0", "t/1"]
                .iter()
                .zip(1..)
                .map(|(key, value)| format!(r#"{{"send":{{"key":"{key}","values":[[{value},5]]{offset}}}}}"#))
                .collect::<Vec<_>>()
                .join(",")
        };
        let offset = if end == "ok" { r#","offset":0"# } else { "" };
        format!(
            r#"
            0 invoke "f":"txn","steps":[{}]
            0 {end} "f":"txn","steps":[{}]
            {more}"#,
            steps(""),
            steps(offset)
        )
    };
    let log = |partition: u32, records: &str| {
        format!(r#"n info "f":"final","replica":1,"key":"t/{partition}","log_start":0,"records":[{records}]"#)
    };
    let polled = |partition: u32, records: &str, compacted: bool| {
        let part = format!(r#""key":"t/{partition}","from":0"#);
        format!(
            r#"1 invoke "f":"poll","partitions":[{{{part}}}]
            1 ok "f":"poll","partitions":[{{{part},"records":[{records}],"compacted":{compacted}}}]"#
        )
    };
    let trim = r#"n info "f":"trim","key":"t/1","before":1"#;
    let torn = &[AnomalyKind::TornTransaction];
    let (there, missing) = (log(0, "[0,1,5]"), log(1, ""));
    finds(torn, &story("info", &format!("{there}\n{missing}")));
    finds(
        torn,
        &story("info", &format!("{}\n{missing}", polled(0, "[0,1,5]", false))),
    );
    finds(&[], &story("info", &there));
    finds(&[], &story("info", &missing));
    finds(&[], &story("info", &format!("{there}\n{}", log(1, "[0,2,5]"))));
    finds(
        &[],
        &story(
            "info",
            &format!("{there}\n{missing}\n{}", polled(1, "[0,2,5]", false)),
        ),
    );
    finds(&[], &story("info", &format!("{there}\n{missing}\n{trim}")));
    finds(
        &[],
        &story("info", &format!("{there}\n{missing}\n{}", polled(1, "", true))),
    );
    finds(
        &[AnomalyKind::LostWrite],
        &story("ok", &format!("{there}\n{missing}")),
    );
    finds(
        &[AnomalyKind::AbortedRead],
        &story("fail", &format!("{there}\n{missing}")),
    );
}

#[test]
fn what_a_replica_holds_is_not_lost_though_nobody_read_it() {
    let story = |log: &str| {
        format!(
            r#"
            0 invoke "f":"send","key":"t/0","values":[[1,5],[2,5]]
            0 info "f":"send","key":"t/0","values":[[1,5],[2,5]],"offset":0
            1 invoke "f":"poll","partitions":[{{"key":"t/0","from":0}}]
            1 ok "f":"poll","partitions":[{{"key":"t/0","from":0}}]
            1 invoke "f":"poll","partitions":[{{"key":"t/0","from":1}}]
            1 ok "f":"poll","partitions":[{{"key":"t/0","from":1,"records":[[1,2,5]]}}]
            n info "f":"final","replica":1,"key":"t/0","log_start":0,"records":[{log}[1,2,5]]
            "#
        )
    };
    finds(&[], &story("[0,1,5],"));
    finds(&[AnomalyKind::LostWrite], &story(""));
}
