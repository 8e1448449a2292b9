//! The cases that a checker of logs must know, each a few events long: those of Jepsen's own tests, told anew.
//!
//! `CASES` at the end lists all 23 of them: 18 are told here, transactions included, and 5 are none of a history, with the
//! reason. Two things differ on purpose. A process ends with its `info`, so what Jepsen lets one process do after it is
//! told up to there. And what a process sends is in its order whatever it is assigned to read.

use quipu_checker::{AnomalyKind, Verdict, check, from_lines};

/// Tells short stories. An operation is a line `PROCESS KIND WORDS`; `s 7@2 8` sends value 7 to partition x, found at
/// offset 2, and value 8; `y:` before a value or offset means partition y; `p 0-7 1-8` polls value 7 at 0 and 8 at 1;
/// `t` before the words makes them a transaction; `a x y`, `A x` and `u x` assign, from the beginning, and subscribe; `f` marks the final
/// polls.
fn story(text: &str) -> Verdict {
    let mut lines = vec![quipu_checker::FORMAT_LINE.to_owned()];
    for (time, line) in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .enumerate()
    {
        let mut words = line.split(' ');
        let (process, kind) = (words.next().expect("a process"), words.next().expect("a kind"));
        let op = op(&words.collect::<Vec<_>>(), kind);
        lines.push(format!(
            r#"{{"time":{time},"process":{process},"type":"{kind}",{op}}}"#
        ));
    }
    let history = from_lines(lines.iter().map(String::as_str));
    check(&history.unwrap_or_else(|error| panic!("{error}\n{}", lines.join("\n"))))
}

fn op(words: &[&str], kind: &str) -> String {
    let list = |keys: &[&str]| {
        format!(
            "[{}]",
            keys.iter()
                .map(|key| format!("\"{key}/0\""))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    match words[0] {
        "a" => format!(r#""f":"assign","keys":{}"#, list(&words[1..])),
        "A" => format!(
            r#""f":"assign","keys":{},"from_beginning":true"#,
            list(&words[1..])
        ),
        "u" => {
            let topics: Vec<String> = words[1..].iter().map(|topic| format!("\"{topic}\"")).collect();
            format!(r#""f":"subscribe","group":"g","topics":[{}]"#, topics.join(","))
        }
        "t" => {
            let at: Vec<usize> = (1..words.len())
                .filter(|at| ["s", "p"].contains(&words[*at]))
                .collect();
            let steps = at.iter().enumerate().map(|(number, from)| {
                let to = at.get(number + 1).copied().unwrap_or(words.len());
                let step = step(&words[*from..to], kind);
                format!(
                    "{{\"{}\":{{{step}}}}}",
                    if words[*from] == "s" { "send" } else { "poll" }
                )
            });
            format!(r#""f":"txn","steps":[{}]"#, steps.collect::<Vec<_>>().join(","))
        }
        "s" => format!(r#""f":"send",{}"#, step(words, kind)),
        "f" => r#""f":"final-polls""#.to_owned(),
        _ => format!(r#""f":"poll",{}"#, step(words, kind)),
    }
}

fn step(words: &[&str], kind: &str) -> String {
    let place = |word: &str| {
        let (key, rest) = word.split_once(':').unwrap_or(("x", word));
        (format!("{key}/0"), rest.to_owned())
    };
    if words[0] == "p" {
        let mut parts: Vec<(String, Vec<String>)> = Vec::new();
        for word in &words[1..] {
            let (key, rest) = place(word);
            let (offset, value) = rest.split_once('-').expect("OFFSET-VALUE");
            let record = format!("[{offset},{value},0]");
            match parts.iter_mut().find(|(of, _)| *of == key) {
                Some((_, records)) => records.push(record),
                None => parts.push((key, vec![record])),
            }
        }
        let parts: Vec<String> = parts
            .iter()
            .filter(|_| kind != "invoke")
            .map(|(key, records)| {
                let from = records[0]
                    .trim_start_matches('[')
                    .split(',')
                    .next()
                    .expect("an offset");
                let records = records.join(",");
                // Offsets may be missing for all that these cases say.
                format!(r#"{{"key":"{key}","from":{from},"records":[{records}]}}"#)
            })
            .collect();
        return format!(r#""partitions":[{}]"#, parts.join(","));
    }
    let (mut key, mut base, mut values) = (String::new(), None, Vec::new());
    for word in &words[1..] {
        let (of, rest) = place(word);
        key = of;
        let (value, offset) = rest
            .split_once('@')
            .map_or((rest.as_str(), None), |(v, o)| (v, Some(o.to_owned())));
        base = base.or(offset);
        values.push(format!("[{value},0]"));
    }
    let offset = base
        .filter(|_| kind != "invoke")
        .map_or_else(String::new, |base| format!(r#","offset":{base}"#));
    format!(
        r#""key":"{key}","values":[{}],"acks":"all","producer":1{offset}"#,
        values.join(",")
    )
}

#[track_caller]
fn finds(kinds: &[AnomalyKind], text: &str) {
    let verdict = story(text);
    let found: Vec<AnomalyKind> = verdict.found.keys().copied().collect();
    assert_eq!(found, kinds, "{verdict}");
}

#[test]
fn what_an_unknown_send_says_counts_once_it_was_read() {
    let unknown = "0 invoke t s 1 s y:11\n0 info t s 1@0 s y:11\n1 invoke s 2\n1 ok s 2@0";
    finds(&[], unknown);
    let read = format!("{unknown}\n2 invoke p\n2 ok p y:5-11");
    finds(&[AnomalyKind::InconsistentOffsets], &read);
}

#[test]
fn one_offset_of_two_sends() {
    finds(
        &[AnomalyKind::InconsistentOffsets],
        "0 invoke s 641\n1 invoke s 645\n0 ok s 641@537\n1 ok s 645@537",
    );
}

#[test]
fn a_failed_send_that_is_read_is_g1a() {
    finds(
        &[AnomalyKind::AbortedRead],
        "0 invoke s 2 3\n0 fail s 2 3\n1 invoke p\n1 ok p 0-2",
    );
}

#[test]
fn what_lies_below_what_was_read_is_lost() {
    let sent = "0 invoke s 1\n0 ok s 1@0\n0 invoke s 2\n0 ok s 2@1\n1 invoke s 3\n1 info s 3";
    finds(&[], &format!("{sent}\n2 invoke p\n2 ok p 0-1 1-2 2-3"));
    // Somebody asked for the beginning, so it could have been read.
    let asked = "3 invoke p\n3 ok p 0-1";
    finds(
        &[AnomalyKind::LostWrite],
        &format!("{sent}\n{asked}\n2 invoke p\n2 ok p 2-3"),
    );
}

#[test]
fn a_part_of_an_unknown_transaction_is_lost_if_another_was_read() {
    let sent = "0 invoke t s 1 s y:2\n0 info t s 1 s y:2@1\n1 invoke s y:3\n1 info s y:3\n5 invoke s y:4\n5 ok s y:4@0";
    let later = "3 invoke p\n3 ok p y:0-4\n4 invoke p\n4 ok p y:2-3";
    finds(&[], &format!("{sent}\n{later}"));
    finds(
        &[AnomalyKind::LostWrite],
        &format!("{sent}\n2 invoke p\n2 ok p 0-1\n{later}"),
    );
}

const SENT: &str = "9 invoke s 1 2 3 4 5 6\n9 ok s 1@0 2 3 4 5 6\n8 invoke p\n8 ok p 0-1 1-2 2-3 3-4 4-5 5-6\n0 invoke a x\n0 ok a x";

#[test]
fn polls_go_on_where_they_were() {
    finds(
        &[],
        &format!("{SENT}\n0 invoke p\n0 ok p 0-1 1-2\n0 invoke p\n0 ok p 2-3"),
    );
    finds(
        &[AnomalyKind::PollSkip],
        &format!("{SENT}\n0 invoke p\n0 ok p 0-1 1-2\n0 invoke p\n0 ok p 3-4"),
    );
    finds(
        &[AnomalyKind::NonmonotonicPoll],
        &format!("{SENT}\n0 invoke p\n0 ok p 0-1 1-2\n0 invoke p\n0 ok p 1-2"),
    );
    finds(
        &[AnomalyKind::IntPollSkip],
        &format!("{SENT}\n0 invoke p\n0 ok p 0-1 2-3"),
    );
    finds(
        &[AnomalyKind::IntNonmonotonicPoll],
        &format!("{SENT}\n0 invoke p\n0 ok p 1-2 1-2"),
    );
}

#[test]
fn an_assignment_keeps_the_places_of_what_it_names() {
    let skips = |between: &str| format!("{SENT}\n0 invoke p\n0 ok p 0-1\n{between}\n0 invoke p\n0 ok p 2-3");
    finds(&[AnomalyKind::PollSkip], &skips("0 invoke a x y\n0 ok a x y"));
    finds(&[], &skips("0 invoke a y\n0 ok a y\n0 invoke a x y\n0 ok a x y"));
    finds(&[], &skips("0 invoke A x\n0 ok A x"));
}

#[test]
fn an_assignment_that_failed_moves_nobody() {
    let skips = |end: &str| {
        let assigned = format!("0 invoke A x\n0 {end} A x");
        format!("{SENT}\n0 invoke p\n0 ok p 0-1\n{assigned}\n0 invoke p\n0 ok p 2-3")
    };
    finds(&[AnomalyKind::PollSkip], &skips("fail"));
    finds(&[], &skips("ok"));
}

#[test]
fn a_subscriber_may_skip_and_go_back() {
    let verdict = story(&format!(
        "{SENT}\n0 invoke u x\n0 ok u x\n0 invoke p\n0 ok p 0-1\n0 invoke p\n0 ok p 2-3\n0 invoke p\n0 ok p 1-2\n0 invoke p\n0 ok p 5-6"
    ));
    assert!(verdict.is_clean(), "{verdict}");
    let allowed: Vec<(AnomalyKind, usize)> = verdict.allowed.into_iter().collect();
    assert_eq!(
        allowed,
        [(AnomalyKind::PollSkip, 2), (AnomalyKind::NonmonotonicPoll, 1)]
    );
}

#[test]
fn an_aborted_poll_does_not_move() {
    let aborted = format!("{SENT}\n0 invoke p\n0 ok p 0-1\n0 invoke p\n0 fail p 1-2 2-3");
    finds(&[], &format!("{aborted}\n0 invoke p\n0 ok p 1-2"));
    finds(
        &[AnomalyKind::PollSkip],
        &format!("{aborted}\n0 invoke p\n0 ok p 3-4"),
    );
}

#[test]
fn sends_stand_in_their_order() {
    finds(&[], "0 invoke s 1\n0 ok s 1@0\n0 invoke s 2\n0 ok s 2@5");
    finds(
        &[AnomalyKind::NonmonotonicSend],
        "0 invoke s 1\n0 ok s 1@5\n0 invoke s 2\n0 ok s 2@0",
    );
    let read = "1 invoke p\n1 ok p 0-2 1-1";
    finds(
        &[AnomalyKind::IntNonmonotonicSend],
        &format!("0 invoke s 1 2\n0 info s 1 2\n{read}"),
    );
    let verdict =
        story("0 invoke s 1 2\n0 info s 1 2\n2 invoke s 3\n2 info s 3\n1 invoke p\n1 ok p 0-1 1-3 2-2");
    assert!(
        verdict.is_clean() && verdict.allowed.contains_key(&AnomalyKind::IntSendSkip),
        "{verdict}"
    );
}

#[test]
fn the_later_of_two_sends_does_not_stand_where_the_earlier_one_does() {
    let story = |process: u64| format!("0 invoke s 1\n0 ok s 1@5\n{process} invoke s 2\n{process} ok s 2@5");
    finds(
        &[AnomalyKind::InconsistentOffsets, AnomalyKind::NonmonotonicSend],
        &story(0),
    );
    finds(
        &[AnomalyKind::InconsistentOffsets, AnomalyKind::RealTimeOrder],
        &story(1),
    );
}

#[test]
fn in_which_order_the_values_of_a_failed_send_stand_says_nothing() {
    let read = "1 invoke p\n1 ok p 0-2 1-1";
    finds(
        &[AnomalyKind::AbortedRead],
        &format!("0 invoke s 1 2\n0 fail s 1 2\n{read}"),
    );
}

#[test]
fn a_value_at_two_places_is_a_duplicate() {
    finds(
        &[AnomalyKind::Duplicate],
        "0 invoke s 1\n0 ok s 1@0\n1 invoke p\n1 ok p 0-1 1-1",
    );
}

#[test]
fn a_transaction_does_not_read_itself() {
    finds(
        &[AnomalyKind::PrecommittedRead],
        "0 invoke t s 1 p\n0 ok t s 1@0 p 0-1",
    );
}

#[test]
fn transactions_overwrite_each_other_as_they_may() {
    let verdict =
        story("0 invoke t s 1 s y:11\n1 invoke t s 2 s y:12\n0 ok t s 1@0 s y:11@1\n1 ok t s 2@1 s y:12@0");
    assert!(
        verdict.is_clean() && verdict.allowed.contains_key(&AnomalyKind::G0),
        "{verdict}"
    );
}

#[test]
fn transactions_that_read_each_other_are_g1c() {
    finds(
        &[AnomalyKind::G1c],
        "0 invoke t s 1 p\n1 invoke t s y:2 p\n0 ok t s 1@0 p y:0-2\n1 ok t s y:2@0 p 0-1",
    );
    let mixed =
        story("0 invoke t s 1 s y:11\n1 invoke t s 2 p\n0 ok t s 1@1 s y:11@0\n1 ok t s 2@0 p y:0-11");
    assert!(
        mixed.is_clean() && mixed.allowed.contains_key(&AnomalyKind::G1c),
        "{mixed}"
    );
}

#[test]
fn three_transactions_that_read_each_other_are_one_circle() {
    let sent = "0 invoke t s x:1 p\n1 invoke t s y:2 p\n2 invoke t s z:3 p";
    let read = "0 ok t s x:1@0 p y:0-2\n1 ok t s y:2@0 p z:0-3\n2 ok t s z:3@0 p x:0-1";
    finds(&[AnomalyKind::G1c], &format!("{sent}\n{read}"));
}

#[test]
fn reading_what_is_sent_later_is_a_circle_in_time() {
    finds(
        &[AnomalyKind::G1cProcess],
        "0 invoke t p\n0 ok t p 0-1\n0 invoke t s 1\n0 ok t s 1@0",
    );
    finds(
        &[AnomalyKind::G1cRealtime],
        "0 invoke t p\n0 ok t p 0-1\n1 invoke t s 1\n1 ok t s 1@0",
    );
    // Reads and sends that are no transactions count among those that are.
    let transaction = "2 invoke t s y:9\n2 ok t s y:9@0";
    finds(
        &[AnomalyKind::G1cProcess],
        &format!("{transaction}\n0 invoke p\n0 ok p 0-1\n0 invoke s 1\n0 ok s 1@0"),
    );
    let aborted = format!("{transaction}\n0 invoke p\n0 fail p 0-1\n0 invoke s 1\n0 ok s 1@0");
    finds(&[], &aborted);
}

#[test]
fn a_torn_transaction_and_a_read_past_the_last_stable_offset() {
    let log = |key: &str, records: &str| {
        format!(
            r#"{{"time":9,"process":"nemesis","type":"info","f":"final","replica":1,"key":"{key}","log_start":0,"records":[{records}]}}"#
        )
    };
    let txn = |kind: &str| {
        let send = |key: &str, value: u64| {
            format!(r#"{{"send":{{"key":"{key}","values":[[{value},0]],"producer":1}}}}"#)
        };
        let steps = format!("{},{}", send("x/0", 1), send("y/0", 2));
        format!(r#"{{"time":1,"process":0,"type":"{kind}","f":"txn","steps":[{steps}]}}"#)
    };
    let poll = |kind: &str, records: &str| {
        format!(
            r#"{{"time":2,"process":1,"type":"{kind}","f":"poll","partitions":[{{"key":"x/0","from":0,"records":[{records}],"last_stable":0}}]}}"#
        )
    };
    let check_lines = |lines: &[String]| {
        let first = [quipu_checker::FORMAT_LINE.to_owned()];
        let history = from_lines(first.iter().chain(lines).map(String::as_str)).expect("a history");
        check(&history).found.keys().copied().collect::<Vec<_>>()
    };
    let torn = [txn("invoke"), txn("info"), log("x/0", "[0,1,0]"), log("y/0", "")];
    assert_eq!(check_lines(&torn), [AnomalyKind::TornTransaction]);
    let past = [
        txn("invoke"),
        txn("info"),
        poll("invoke", ""),
        poll("ok", "[0,1,0]"),
    ];
    assert_eq!(check_lines(&past), [AnomalyKind::PastLastStable]);
}

#[test]
fn a_value_that_was_read_makes_the_rest_of_its_send_count() {
    let read = "0 invoke p\n0 ok p 0-1 1-2";
    let unread = "1 invoke t s 1 s 3 s 5\n1 info t s 1 s 3@1 s 5@4";
    let verdict = story(&format!("2 invoke s 2\n2 info s 2\n{unread}\n{read}"));
    assert!(
        verdict.found.contains_key(&AnomalyKind::InconsistentOffsets),
        "{verdict}"
    );
    // Nothing of that transaction was read: then it may never have happened.
    let read = "0 invoke p\n0 ok p 1-2";
    finds(&[], &format!("2 invoke s 2\n2 info s 2\n{unread}\n{read}"));
}

#[test]
fn what_was_overwritten_is_lost_too() {
    let sent = "0 invoke s 1\n0 ok s 1@0\n1 invoke t s 2 s 3\n1 ok t s 2@0 s 3@2";
    let verdict = story(&format!("{sent}\n2 invoke p\n2 ok p 0-2 2-3"));
    for kind in [AnomalyKind::LostWrite, AnomalyKind::InconsistentOffsets] {
        assert_eq!(verdict.found.get(&kind), Some(&1), "{verdict}");
    }
}

#[test]
fn a_gap_is_no_skip_and_what_others_saw_there_is() {
    let known = "9 invoke s 1 2 3 4 7\n9 info s 1 2 3 4 7\n8 invoke s 6\n8 info s 6\n7 invoke a x\n7 ok a x";
    let own = |others: &str| {
        let polls = ["1-1 2-2", "4-4", "7-7"].map(|read| format!("7 invoke p\n7 ok p {read}"));
        story(&format!("{known}\n{others}\n{}", polls.join("\n")))
    };
    let seen = own("6 invoke p\n6 ok p 3-3\n5 invoke p\n5 ok p 6-6");
    assert_eq!(seen.found.get(&AnomalyKind::PollSkip), Some(&2), "{seen}");
    assert_eq!(seen.found.len(), 1, "{seen}");
    let unseen = own("6 invoke p\n6 ok p");
    assert!(unseen.is_clean(), "{unseen}");
}

#[test]
fn an_aborted_transaction_reads_again_from_where_it_began() {
    let polls = |told: &[(&str, &str)]| {
        let polls = told
            .iter()
            .map(|(kind, read)| format!("0 invoke t p\n0 {kind} t p {read}"));
        format!("{SENT}\n{}", polls.collect::<Vec<_>>().join("\n"))
    };
    let (first, next) = (("ok", "0-1"), "1-2 2-3");
    finds(
        &[],
        &polls(&[first, ("fail", next), ("fail", next), ("ok", next)]),
    );
    finds(&[], &polls(&[first, ("fail", next), ("info", next)]));
    // It did not go back: told of the aborted one, and of the next.
    let verdict = story(&polls(&[
        first,
        ("fail", next),
        ("fail", "3-4 4-5"),
        ("ok", "5-6"),
    ]));
    assert_eq!(verdict.found.get(&AnomalyKind::PollSkip), Some(&2), "{verdict}");
    finds(
        &[AnomalyKind::PollSkip],
        &polls(&[first, ("fail", next), ("info", "3-4 4-5")]),
    );
}

#[test]
fn going_back_is_forgiven_after_another_assignment() {
    let back = |between: &str| {
        format!("{SENT}\n0 invoke p\n0 ok p 0-1 1-2 2-3\n{between}\n0 invoke p\n0 ok p 1-2 2-3 3-4")
    };
    finds(
        &[AnomalyKind::NonmonotonicPoll],
        &back("0 invoke a x y\n0 ok a x y"),
    );
    finds(&[], &back("0 invoke a y\n0 ok a y"));
    finds(&[], &back("0 invoke u y\n0 ok u y"));
}

#[test]
fn sends_stand_in_their_order_whatever_is_assigned() {
    // Jepsen forgets a process's sends with its assignment; here what is read has no say in what is sent.
    for between in ["", "0 invoke a x y\n0 ok a x y\n", "0 invoke a y\n0 ok a y\n"] {
        finds(
            &[AnomalyKind::NonmonotonicSend],
            &format!("0 invoke s 3 4\n0 ok s 3@3 4\n{between}0 invoke s 1 2\n0 ok s 1@1 2"),
        );
    }
}

#[test]
fn the_steps_of_a_transaction_read_on() {
    let reads = |steps: &str| format!("{SENT}\n0 invoke t p p\n0 ok t {steps}");
    finds(&[], &reads("p 0-1 p 1-2"));
    finds(&[AnomalyKind::IntPollSkip], &reads("p 0-1 p 3-4"));
    finds(&[AnomalyKind::IntNonmonotonicPoll], &reads("p 1-2 2-3 p 2-3"));
    finds(&[AnomalyKind::IntNonmonotonicPoll], &reads("p 2-3 0-1 p"));
}

#[test]
fn two_sends_of_a_transaction_do_not_stand_at_one_offset() {
    finds(
        &[AnomalyKind::InconsistentOffsets, AnomalyKind::IntNonmonotonicSend],
        "0 invoke t s 1 s 2\n0 ok t s 1@4 s 2@4",
    );
}

#[test]
fn the_sends_of_a_transaction_stand_in_its_order() {
    finds(
        &[AnomalyKind::IntNonmonotonicSend],
        "0 invoke t s 3 s 1\n0 ok t s 3@3 s 1@1",
    );
    // Known from a read alone, with another's value between them.
    let sent = "0 invoke t s y:4 s y:2\n0 info t s y:4 s y:2\n1 invoke s y:3\n1 info s y:3";
    finds(
        &[AnomalyKind::IntNonmonotonicSend],
        &format!("{sent}\n2 invoke p\n2 ok p y:2-2 y:3-3 y:4-4"),
    );
}

#[test]
fn many_values_at_two_places_are_each_a_duplicate() {
    let values: Vec<String> = (1..=10)
        .map(|value| {
            format!(
                "{value} invoke s {value}\n{value} ok s {value}@0\n9{value} invoke p\n9{value} ok p 1-{value}"
            )
        })
        .collect();
    let verdict = story(&values.join("\n"));
    assert_eq!(verdict.found.get(&AnomalyKind::Duplicate), Some(&10), "{verdict}");
    assert_eq!(
        verdict.found.get(&AnomalyKind::InconsistentOffsets),
        Some(&2),
        "{verdict}"
    );
}

#[test]
fn an_aborted_poll_tells_of_duplicates_and_an_aborted_send_of_no_place() {
    let sent = "0 invoke s 1\n0 ok s 1@1\n0 invoke s 2\n0 fail s 2@2";
    let verdict = story(&format!("{sent}\n1 invoke p\n1 fail p 11-1 12-2"));
    assert_eq!(verdict.found.get(&AnomalyKind::Duplicate), Some(&1), "{verdict}");
}

#[test]
fn a_history_without_reads_proves_nothing() {
    let verdict = story("0 invoke a x\n0 ok a x");
    assert!(
        verdict.unchecked.contains(&"P3: nothing was read"),
        "a report calls that unproven: {verdict}"
    );
    assert!(!verdict.not_exercised.is_empty(), "{verdict}");
}

#[test]
fn what_nobody_polled_in_the_end_is_unseen() {
    let sent = "0 invoke s 1 2\n0 ok s 1@0 2\n1 invoke p\n1 ok p 0-1";
    finds(&[], sent);
    let end = format!("{sent}\n\"nemesis\" info f");
    let unseen = story(&end);
    assert_eq!(unseen.found.get(&AnomalyKind::Unseen), Some(&1), "{unseen}");
    let read = story(&format!("{end}\n1 invoke p\n1 ok p 1-2"));
    assert!(!read.found.contains_key(&AnomalyKind::Unseen), "{read}");
}

/// How a case of Jepsen's suite is told here.
enum Case {
    /// By these tests.
    Told(&'static [fn()]),
    /// It is none of a history: why not.
    NotHere(&'static str),
}

/// All cases of `jepsen/test/jepsen/tests/kafka_test.clj`, as of its commit c4c7473, in their order.
const CASES: [(&str, Case); 23] = {
    use Case::{NotHere, Told};
    [
        (
            "op->max-offsets",
            NotHere("a helper of its generator: how far the final polls must come; ours ask the brokers"),
        ),
        (
            "log->last-index->values",
            NotHere("a helper on its own form of a log; what it is for is told with lost-write"),
        ),
        ("log->value->first-index", NotHere("the same")),
        (
            "version-orders",
            Told(&[
                a_value_that_was_read_makes_the_rest_of_its_send_count,
                one_offset_of_two_sends,
            ]),
        ),
        (
            "inconsistent-offsets",
            Told(&[what_an_unknown_send_says_counts_once_it_was_read]),
        ),
        ("g1a", Told(&[a_failed_send_that_is_read_is_g1a])),
        (
            "lost-write",
            Told(&[
                what_lies_below_what_was_read_is_lost,
                what_was_overwritten_is_lost_too,
                a_part_of_an_unknown_transaction_is_lost_if_another_was_read,
            ]),
        ),
        (
            "poll-skip",
            Told(&[
                a_gap_is_no_skip_and_what_others_saw_there_is,
                an_assignment_keeps_the_places_of_what_it_names,
                an_aborted_poll_does_not_move,
                an_aborted_transaction_reads_again_from_where_it_began,
            ]),
        ),
        (
            "nonmonotonic-poll",
            Told(&[
                polls_go_on_where_they_were,
                going_back_is_forgiven_after_another_assignment,
                a_subscriber_may_skip_and_go_back,
            ]),
        ),
        (
            "nonmonotonic-send",
            Told(&[sends_stand_in_their_order_whatever_is_assigned]),
        ),
        (
            "int-poll-skip",
            Told(&[polls_go_on_where_they_were, the_steps_of_a_transaction_read_on]),
        ),
        ("int-send-skip", Told(&[sends_stand_in_their_order])),
        (
            "int-nonmonotonic-poll",
            Told(&[the_steps_of_a_transaction_read_on]),
        ),
        (
            "int-nonmonotonic-send",
            Told(&[the_sends_of_a_transaction_stand_in_its_order]),
        ),
        (
            "duplicate",
            Told(&[
                a_value_at_two_places_is_a_duplicate,
                many_values_at_two_places_are_each_a_duplicate,
                an_aborted_poll_tells_of_duplicates_and_an_aborted_send_of_no_place,
            ]),
        ),
        (
            "realtime-lag",
            NotHere("a figure in its report, no anomaly; ours has latencies, and the final polls a limit"),
        ),
        ("empty-history", Told(&[a_history_without_reads_proves_nothing])),
        ("unseen", Told(&[what_nobody_polled_in_the_end_is_unseen])),
        ("g0", Told(&[transactions_overwrite_each_other_as_they_may])),
        ("g1c-pure-wr", Told(&[transactions_that_read_each_other_are_g1c])),
        ("g1c-ww-wr", Told(&[transactions_that_read_each_other_are_g1c])),
        ("precommitted-read", Told(&[a_transaction_does_not_read_itself])),
        (
            "gen-poll-unseen",
            NotHere("of its generator: it polls again what lags; ours polls to the end, with a limit"),
        ),
    ]
};

#[test]
fn each_case_of_jepsens_suite_is_told_or_has_its_reason() {
    let mut told = 0;
    for (name, case) in &CASES {
        match case {
            Case::Told(tests) => {
                told += 1;
                tests.iter().for_each(|test| test());
            }
            Case::NotHere(why) => println!("{name}: {why}"),
        }
    }
    println!(
        "{told} of {} cases told, {} are none of a history",
        CASES.len(),
        CASES.len() - told
    );
    assert_eq!(told, 18, "nothing that was told is left out again");
}
