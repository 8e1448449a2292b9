//! How soon a cluster that is whole again acknowledges, and how soon the final polls reach what was acknowledged.

use quipu_checker::{AnomalyKind, FORMAT_LINE, check, from_lines};

/// What is found where a cluster is whole from second 10 on; `SECOND begin` and `end` are of a fault, and `SECOND PROCESS
/// KIND` of a send; and how often the check of that had too little to look at.
fn healed(told: &[&str]) -> (usize, usize) {
    let line = |told: &&str| {
        let (second, words) = told.split_once(' ').expect("a second");
        let (process, kind, op) = match words.split_once(' ') {
            None if words == "healed" => (r#""nemesis""#, "info", r#""f":"healed","what":"""#.to_owned()),
            None => {
                let op = format!(r#""f":"fault","what":"","kind":"kill","phase":"{words}""#);
                (r#""nemesis""#, "info", op)
            }
            Some((process, kind)) => {
                let offset = if kind == "ok" { r#","offset":0"# } else { "" };
                let op = format!(
                    r#""f":"send","key":"t/0","values":[[{process},0]],"acks":"all","producer":1{offset}"#
                );
                (process, kind, op)
            }
        };
        format!(r#"{{"time":{second}000000000,"process":{process},"type":"{kind}",{op}}}"#)
    };
    let lines: Vec<String> = told.iter().map(line).collect();
    let lines = std::iter::once(FORMAT_LINE).chain(lines.iter().map(String::as_str));
    let verdict = check(&from_lines(lines).expect("a history"));
    let found = verdict.found.get(&AnomalyKind::NoWriteAfterHealing).copied();
    let unchecked = verdict
        .unchecked
        .iter()
        .filter(|why| why.starts_with("availability: "));
    (found.unwrap_or_default(), unchecked.count())
}

#[test]
fn who_waits_in_the_first_half_of_five_seconds_after_a_healing_is_answered_in_them() {
    for (found, told) in [
        (1, &["10 healed", "11 1 invoke", "20 end"][..]),
        (0, &["10 healed", "11 1 invoke", "15 1 ok", "20 end"]),
        (1, &["10 healed", "11 1 invoke", "16 1 ok", "20 end"]),
        (1, &["10 healed", "12 1 invoke", "16 1 ok", "20 end"]),
        (0, &["10 healed", "13 1 invoke", "16 1 ok", "20 end"]),
        (1, &["9 1 invoke", "10 healed", "20 end"]),
        (0, &["9 1 invoke", "10 healed", "14 1 ok", "20 end"]),
        // An answer before the healing is none after it, and nobody waits for what has failed.
        (1, &["8 1 invoke", "9 1 ok", "10 healed", "11 2 invoke", "20 end"]),
        (0, &["10 healed", "11 1 invoke", "12 1 fail", "20 end"]),
        // One answer is enough for all.
        (
            0,
            &["10 healed", "11 1 invoke", "11 2 invoke", "14 2 ok", "20 end"],
        ),
    ] {
        assert_eq!(healed(told), (found, 0), "{told:?}");
    }
}

#[test]
fn a_healing_cut_short_by_the_next_fault_does_not_count() {
    for (found, unchecked, told) in [
        (0, 1, &["10 healed", "11 1 invoke", "14 begin", "20 end"][..]),
        (1, 0, &["10 healed", "11 1 invoke", "15 begin", "20 end"]),
        (1, 0, &["10 healed", "11 1 invoke", "14 end", "20 end"]),
        // Nor does one that the history ends too soon after.
        (0, 1, &["10 healed", "11 1 invoke", "14 end"]),
        (1, 0, &["10 healed", "11 1 invoke", "15 end"]),
        (
            1,
            0,
            &["10 healed", "14 begin", "20 healed", "21 1 invoke", "30 end"],
        ),
    ] {
        assert_eq!(healed(told), (found, unchecked), "{told:?}");
    }
}

/// What a person is told of events, each with its second.
fn told(events: &[(u32, &str)]) -> String {
    let line = |(second, event): &(u32, &str)| format!(r#"{{"time":{second}000000000,{event}}}"#);
    let lines: Vec<String> = events.iter().map(line).collect();
    let lines = std::iter::once(FORMAT_LINE).chain(lines.iter().map(String::as_str));
    let verdict = check(&from_lines(lines).expect("a history"));
    let told: Vec<String> = verdict.anomalies.iter().map(ToString::to_string).collect();
    told.join("\n")
}

#[test]
fn a_person_can_read_after_which_healing_nothing_was_acknowledged() {
    let end = r#""process":"nemesis","type":"info","f":"fault","what":"","kind":"kill","phase":"end""#;
    let found = told(&[
        (
            10,
            r#""process":"nemesis","type":"info","f":"healed","what":"all brokers are up""#,
        ),
        (
            11,
            r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,0]],"acks":"all""#,
        ),
        (20, end),
    ]);
    let expected = "\
no-write-after-healing: nothing was acknowledged in t/0 within 5s after a healing
    #0      10.000000 s  healed: all brokers are up
    #1      11.000000 s  process 0 invoke: send to t/0";
    assert_eq!(found, expected);
}

#[test]
fn who_waits_for_a_topic_that_is_deleted_waits_in_vain() {
    let write = |kind: &str, words: &str| {
        format!(r#""process":1,"type":"{kind}","f":"metadata-write","topic":"{words}"#)
    };
    let found = |topic: &str| {
        told(&[
            (1, &write("invoke", topic)),
            (2, &write("ok", &format!(r#"{topic},"version":7"#))),
            (
                10,
                r#""process":"nemesis","type":"info","f":"healed","what":"all brokers are up""#,
            ),
            (
                11,
                r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,0]],"acks":"all""#,
            ),
            (
                20,
                r#""process":"nemesis","type":"info","f":"fault","what":"","kind":"kill","phase":"end""#,
            ),
        ])
    };
    assert_eq!(found(r#"t""#), "");
    for other in [r#"u""#, r#"t","partitions":3"#] {
        let waits = found(other);
        assert!(waits.starts_with("no-write-after-healing: "), "{other}: {waits}");
    }
}

#[test]
fn who_reads_a_part_at_first_reaches_the_end_only_with_the_rest() {
    let poll = |kind: &str, records: &str| {
        let part = format!(r#"{{"key":"t/0","from":0{records}}}"#);
        format!(r#""process":1,"type":"{kind}","f":"poll","partitions":[{part}]"#)
    };
    let sent = r#""f":"send","key":"t/0","values":[[1,5],[2,5]],"acks":"all""#;
    let found = |second: u32| {
        told(&[
            (1, &format!(r#""process":0,"type":"invoke",{sent}"#)),
            (2, &format!(r#""process":0,"type":"ok",{sent},"offset":0"#)),
            (10, r#""process":"nemesis","type":"info","f":"final-polls""#),
            (11, &poll("invoke", "")),
            (12, &poll("ok", "")),
            (13, &poll("invoke", "")),
            (14, &poll("ok", r#","records":[[0,1,5]]"#)),
            (15, &poll("invoke", "")),
            (second, &poll("ok", r#","records":[[0,1,5],[1,2,5]]"#)),
        ])
    };
    assert_eq!(found(40), "");
    let expected = "\
tail-not-reached: t/0 ends at offset 1, which the final polls did not reach within 30s
    #2      10.000000 s  the final polls begin
    #8      41.000000 s  process 1 ok: t/0 read up to there";
    assert_eq!(found(41), expected);
}

#[test]
fn the_end_of_a_partition_is_reached_within_half_a_minute_unless_it_is_deleted() {
    let found = |second: u32, deleted_below: u64| {
        let trim =
            format!(r#""process":"nemesis","type":"info","f":"trim","key":"t/0","before":{deleted_below}"#);
        told(&[
            (
                1,
                r#""process":0,"type":"invoke","f":"send","key":"t/0","values":[[1,5],[2,5]],"acks":"all""#,
            ),
            (
                2,
                r#""process":0,"type":"ok","f":"send","key":"t/0","values":[[1,5],[2,5]],"acks":"all","offset":0"#,
            ),
            (3, &trim),
            (10, r#""process":"nemesis","type":"info","f":"final-polls""#),
            (
                10,
                r#""process":1,"type":"invoke","f":"poll","partitions":[{"key":"t/0","from":0}]"#,
            ),
            (
                second,
                r#""process":1,"type":"ok","f":"poll","partitions":[{"key":"t/0","from":0,"records":[[0,1,5],[1,2,5]]}]"#,
            ),
        ])
    };
    for (second, deleted_below, late) in [(40, 0, false), (41, 0, true), (41, 1, true), (41, 2, false)] {
        let found = found(second, deleted_below);
        assert_eq!(found.starts_with("tail-not-reached: "), late, "{found}");
        assert_eq!(found.is_empty(), !late, "{found}");
    }
}
