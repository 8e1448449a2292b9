//! The cluster's metadata: whose topics are looked at, and what a read of a version has to hold.

mod words;

use quipu_checker::AnomalyKind;
use words::verdict_of;

/// What is found where somebody writes `TOPIC PARTITIONS VERSION` (no partitions: `-`; no version: it failed, or for `?`
/// nobody knows of it), one after another, and then reads a version.
#[track_caller]
fn finds(kinds: &[AnomalyKind], writes: &[&str], (version, topics): (u64, &str)) {
    let mut events = String::new();
    for (process, write) in writes.iter().enumerate() {
        let [topic, partitions, version] = write.split(' ').collect::<Vec<_>>().try_into().expect("three");
        let partitions = match partitions {
            "-" => String::new(),
            count => format!(r#","partitions":{count}"#),
        };
        let write = format!(r#""f":"metadata-write","topic":"{topic}"{partitions}"#);
        let (kind, version) = match version {
            "fail" => ("fail", String::new()),
            "?" => ("info", String::new()),
            version => ("ok", format!(r#","version":{version}"#)),
        };
        events += &format!("{process} invoke {write}\n{process} {kind} {write}{version}\n");
    }
    events += &format!(
        "9 invoke \"f\":\"metadata-read\"\n9 ok \"f\":\"metadata-read\",\"version\":{version},\"topics\":{{{topics}}}\n"
    );
    let verdict = verdict_of(&events);
    let found: Vec<AnomalyKind> = verdict.found.keys().copied().collect();
    assert_eq!(found, kinds, "{events}\n{verdict}");
}

const MISMATCH: &[AnomalyKind] = &[AnomalyKind::MetadataMismatch];

#[test]
fn a_read_holds_what_was_written_up_to_its_version() {
    let writes = ["t 3 5", "u 1 6", "t - 7", "t 4 8"];
    for (version, topics, sound) in [
        (4, "", true),
        (4, r#""t":3"#, false),
        (5, r#""t":3"#, true),
        (5, "", false),
        (5, r#""t":4"#, false),
        (5, r#""t":3,"u":1"#, false),
        (6, r#""t":3,"u":1"#, true),
        (6, r#""t":3"#, false),
        (6, r#""u":1"#, false),
        (7, r#""u":1"#, true),
        (7, r#""t":3,"u":1"#, false),
        (8, r#""t":4,"u":1"#, true),
        (8, r#""t":3,"u":1"#, false),
        (8, r#""u":1"#, false),
        (99, r#""t":4,"u":1"#, true),
    ] {
        let kinds = if sound { &[] } else { MISMATCH };
        finds(kinds, &writes, (version, topics));
    }
}

#[test]
fn topics_of_somebody_else_may_be_there_or_not() {
    // It was there before anybody told of it.
    for topics in ["", r#""x":3"#] {
        finds(&[], &["x - 5", "x 2 6"], (4, topics));
        finds(&[], &["t 3 5"], (4, topics));
    }
    finds(&[], &["t 3 5"], (5, r#""t":3,"x":1"#));
}

#[test]
fn a_topic_of_whose_change_nobody_knows_may_be_as_before_or_changed() {
    for topics in ["", r#""t":3"#, r#""t":4"#] {
        finds(&[], &["t 3 5", "t - ?"], (8, topics));
        finds(&[], &["t 3 ?"], (8, topics));
    }
}

#[test]
fn a_change_that_failed_is_none() {
    finds(&[], &["t 3 5", "t - fail"], (8, r#""t":3"#));
    finds(MISMATCH, &["t 3 5", "t - fail"], (8, ""));
    finds(&[], &["t 3 fail"], (8, ""));
}

#[test]
fn two_changes_one_after_the_other_have_two_versions_the_later_one_the_greater() {
    let order = &[AnomalyKind::MetadataWriteOrder];
    finds(&[], &["t 3 5", "u 1 6"], (6, r#""t":3,"u":1"#));
    finds(order, &["t 3 5", "u 1 5"], (6, r#""t":3,"u":1"#));
    finds(order, &["t 3 5", "u 1 4"], (6, r#""t":3,"u":1"#));
}

#[test]
fn what_one_reads_linearizably_no_later_linearizable_read_lacks() {
    let reads = |process: u32, linearizable: bool, version: u64| {
        let asked = format!(r#""f":"metadata-read","linearizable":{linearizable}"#);
        format!("{process} invoke {asked}\n{process} ok {asked},\"version\":{version}\n")
    };
    for (first, second, version, stale) in [
        (true, true, 8, true),
        (true, true, 9, false),
        (true, false, 8, false),
        (false, true, 8, false),
    ] {
        let events = reads(0, first, 9) + &reads(1, second, version);
        let verdict = verdict_of(&events);
        assert_eq!(
            verdict.found.contains_key(&AnomalyKind::StaleMetadata),
            stale,
            "{verdict}"
        );
        assert_eq!(verdict.is_clean(), !stale, "{verdict}");
    }
    // A client's own reads do not go back, and may stay where they are.
    for (version, back) in [(8, true), (9, false)] {
        let verdict = verdict_of(&(reads(0, false, 9) + &reads(0, false, version)));
        assert_eq!(
            verdict.found.contains_key(&AnomalyKind::MetadataWentBack),
            back,
            "{verdict}"
        );
        assert_eq!(verdict.is_clean(), !back, "{verdict}");
    }
}
