//! The command line of groups as scripts use it.

use super::{Member, describe, until, until_shared};
use crate::support::{Broker, Result, quipu, quipu_with_input, run};
use serde_json::Value;

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("{n}\n")).collect()
}

fn sorted(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn what_was_printed_is_committed_and_the_next_goes_on_there() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(at, &["topic", "create", "t", "--partitions", "3"])?;
    quipu_with_input(at, &["produce", "t"], lines(0..300).as_bytes())?;
    let member = ["consume", "t", "--group", "g", "--exit-at-end"];
    let first = quipu(at, &[&member[..], &["--count", "100"]].concat())?;
    assert_eq!(first.lines().count(), 100);
    let rest = quipu(at, &member)?;
    assert_eq!(
        sorted(&(first + &rest)),
        (0..300).collect::<Vec<_>>(),
        "each once"
    );
    assert_eq!(quipu(at, &member)?, "", "there is no more");

    // Across a restart of the broker.
    let broker = broker.restart()?;
    let at = broker.address();
    assert_eq!(quipu(at, &member)?, "");
    quipu_with_input(at, &["produce", "t"], lines(300..310).as_bytes())?;
    assert_eq!(sorted(&quipu(at, &member)?), (300..310).collect::<Vec<_>>());

    // And through a kill.
    let broker = broker.kill()?.start()?;
    assert_eq!(quipu(broker.address(), &member)?, "");
    Ok(())
}

#[test]
fn two_share_and_describe_shows_who_has_what_and_how_far_they_are() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(at, &["topic", "create", "t", "--partitions", "4"])?;
    quipu_with_input(at, &["produce", "t", "--partition", "0"], lines(0..50).as_bytes())?;
    let (one, two) = (Member::start(at, "t", &[])?, Member::start(at, "t", &[])?);
    until_shared(at, 2, 4)?;
    until("all is read", || Ok(one.count() + two.count() == 50))?;
    let lag = |group: &Value, partition: u64| {
        let mut known = group["partitions"].as_array().into_iter().flatten();
        let known = known.find(|known| known["partition"] == partition);
        known.map(|known| (known["current_offset"].clone(), known["lag"].clone()))
    };
    until("it is committed", || {
        Ok(lag(&describe(at)?, 0) == Some((50.into(), 0.into())))
    })?;
    let text = quipu(at, &["group", "describe", "g"])?;
    assert!(text.starts_with("g: stable, members: 2"), "{text}");
    let header: Vec<&str> = text
        .lines()
        .find(|line| line.starts_with("GROUP"))
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let expected = [
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "MEMBER",
        "HOST",
    ];
    assert_eq!(header, expected, "{text}");
    let members = quipu(at, &["group", "describe", "g", "--members"])?;
    assert_eq!(members.matches("quipu-cli").count(), 2, "{members}");
    let list: Value = serde_json::from_str(&quipu(at, &["group", "list", "-o", "json"])?)?;
    assert_eq!(list["groups"][0]["group"], "g");
    assert_eq!(list["groups"][0]["members"], 2);

    // Both end in order: nothing is left of them but what they have committed.
    for member in [one, two] {
        let (status, _) = member.terminate()?;
        assert!(status.success(), "{status}");
    }
    quipu_with_input(at, &["produce", "t", "--partition", "0"], lines(0..7).as_bytes())?;
    until("the group is empty", || Ok(describe(at)?["state"] == "empty"))?;
    assert_eq!(lag(&describe(at)?, 0), Some((50.into(), 7.into())));
    Ok(())
}

#[test]
fn offsets_are_moved_only_when_told_to_and_only_of_a_group_without_members() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(at, &["topic", "create", "t", "--partitions", "2"])?;
    for partition in ["0", "1"] {
        quipu_with_input(
            at,
            &["produce", "t", "--partition", partition],
            lines(0..20).as_bytes(),
        )?;
    }
    let member = ["consume", "t", "--group", "g", "--exit-at-end"];
    assert_eq!(quipu(at, &member)?.lines().count(), 40);

    let reset = ["group", "reset-offsets", "g", "-o", "json"];
    let moved = |more: &[&str]| -> Result<Value> {
        Ok(serde_json::from_str(&quipu(at, &[&reset[..], more].concat())?)?)
    };
    let dry = run(
        at,
        &["group", "reset-offsets", "g", "--all-topics", "--to-earliest"],
        b"",
    )?;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(
        dry.stderr.contains("nothing was changed") && dry.stderr.contains("--execute"),
        "{}",
        dry.stderr
    );
    let dry = moved(&["--all-topics", "--to-earliest"])?;
    assert_eq!(
        (&dry["executed"], &dry["partitions"][1]["new_offset"]),
        (&false.into(), &0.into())
    );
    assert_eq!(quipu(at, &member)?, "", "a dry run moves nothing");

    let done = moved(&["--topic", "t:1", "--shift-by", "-5", "--execute"])?;
    assert_eq!(done["partitions"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(
        (
            &done["partitions"][0]["current_offset"],
            &done["partitions"][0]["new_offset"]
        ),
        (&20.into(), &15.into())
    );
    assert_eq!(sorted(&quipu(at, &member)?), (15..20).collect::<Vec<_>>());
    moved(&["--topic", "t", "--to-offset", "18", "--execute"])?;
    assert_eq!(quipu(at, &member)?.lines().count(), 4);
    moved(&["--all-topics", "--to-datetime", "2000-01-01", "--execute"])?;
    assert_eq!(quipu(at, &member)?.lines().count(), 40);
    moved(&["--all-topics", "--to-offset", "1000", "--execute"])?;
    assert_eq!(quipu(at, &member)?, "", "moved to the nearer end");
    moved(&["--all-topics", "--to-earliest", "--execute"])?;
    moved(&["--all-topics", "--to-latest", "--execute"])?;
    assert_eq!(quipu(at, &member)?, "");

    let running = Member::start(at, "t", &[])?;
    until_shared(at, 1, 2)?;
    for refused in [
        &[
            "group",
            "reset-offsets",
            "g",
            "--all-topics",
            "--to-earliest",
            "--execute",
        ][..],
        &["group", "delete", "g"],
    ] {
        let ran = run(at, refused, b"")?;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("GROUP_NOT_EMPTY") && ran.stderr.contains("next: stop its members"),
            "{}",
            ran.stderr
        );
    }
    running.terminate()?;
    quipu(at, &["group", "delete", "g"])?;
    let gone = run(at, &["group", "describe", "g"], b"")?;
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("quipu group list"), "{}", gone.stderr);
    Ok(())
}

#[test]
fn what_is_asked_wrongly_is_told_what_to_give() -> Result<()> {
    for wrong in [
        &["group", "reset-offsets", "g", "--all-topics"][..],
        &["group", "reset-offsets", "g", "--to-earliest"],
        &[
            "group",
            "reset-offsets",
            "g",
            "--all-topics",
            "--to-earliest",
            "--to-latest",
        ],
        &["group", "reset-offsets", "g", "--topic", "t:x", "--to-earliest"],
        &[
            "group",
            "reset-offsets",
            "g",
            "--all-topics",
            "--to-datetime",
            "yesterday",
        ],
        &["consume", "t", "--group", "g", "--partition", "1"],
        &["consume", "t", "--instance-id", "one"],
    ] {
        let ran = run("127.0.0.1:1", wrong, b"")?;
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    Ok(())
}
