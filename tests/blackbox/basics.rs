//! The command line as scripts use it: what comes out, what goes in, how it ends.

use crate::support::{Broker, Result, quipu, quipu_with_input, run};
use serde_json::Value;

#[test]
fn a_record_goes_in_and_comes_out() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(at, &["topic", "create", "greetings"])?;
    assert_eq!(
        quipu_with_input(at, &["produce", "greetings"], b"hello\nworld\n")?,
        ""
    );
    assert_eq!(
        quipu(at, &["consume", "greetings", "--exit-at-end"])?,
        "hello\nworld\n"
    );
    Ok(())
}

#[test]
fn what_scripts_rely_on() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(
        at,
        &[
            "topic",
            "create",
            "flights",
            "--partitions",
            "6",
            "--config",
            "retention.ms=-1",
        ],
    )?;

    // Keys before the first separator; a line without one has no key; a last line without a line feed counts.
    let lines = b"N14228:UA 1545:EWR\nN14228:UA 1696\nno key\nN5:last";
    quipu_with_input(at, &["produce", "flights", "--key-separator", ":"], lines)?;
    let keyed = quipu(
        at,
        &["consume", "flights", "--exit-at-end", "--format", r"%t|%k|%v\n"],
    )?;
    let mut keyed: Vec<&str> = keyed.lines().collect();
    keyed.sort_unstable();
    let expected = [
        "flights|N14228|UA 1545:EWR",
        "flights|N14228|UA 1696",
        "flights|N5|last",
        "flights||no key",
    ];
    assert_eq!(keyed, expected);

    // The records of one key are in one partition, in order; offsets begin at 0.
    let of_key = quipu(
        at,
        &[
            "consume",
            "flights",
            "--exit-at-end",
            "--format",
            r"%k %p %o %v\n",
        ],
    )?;
    let of_key: Vec<&str> = of_key.lines().filter(|line| line.starts_with("N14228")).collect();
    let partitions: Vec<&str> = of_key.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(partitions.len(), 2);
    assert_eq!(partitions[0], partitions[1]);
    assert!(
        of_key[0].ends_with("UA 1545:EWR") && of_key[1].ends_with("UA 1696"),
        "{of_key:?}"
    );

    // Some of them, and from the end none.
    let two = quipu(at, &["consume", "flights", "--count", "2"])?;
    assert_eq!(two.lines().count(), 2);
    assert_eq!(
        quipu(at, &["consume", "flights", "--from", "end", "--exit-at-end"])?,
        ""
    );
    // An empty topic ends at once.
    quipu(at, &["topic", "create", "empty", "--partitions", "3"])?;
    assert_eq!(quipu(at, &["consume", "empty", "--exit-at-end"])?, "");
    Ok(())
}

#[test]
fn json_out_is_json_in() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(at, &["topic", "create", "a"])?;
    quipu(at, &["topic", "create", "b"])?;
    let records = concat!(
        r#"{"key":"k","value":"v","timestamp_ms":1357035300000,"headers":[{"key":"h","value":"1"},{"key":"n"}]}"#,
        "\n",
        r#"{"key":null,"value":null}"#,
        "\n",
        r#"{"key_base64":"//4=","value":"gr\u00fcezi"}"#,
        "\n"
    );
    quipu_with_input(at, &["produce", "a", "--format", "json"], records.as_bytes())?;
    let out = quipu(at, &["consume", "a", "--exit-at-end", "-o", "json"])?;
    let read: Vec<Value> = out
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()?;
    assert_eq!(read.len(), 3);
    assert_eq!(read[0]["headers"][0]["value"], "1");
    assert_eq!(read[0]["timestamp_ms"], 1_357_035_300_000_i64);
    assert_eq!(read[1]["value"], Value::Null);
    assert_eq!(read[2]["key_base64"], "//4=");

    quipu_with_input(at, &["produce", "b", "--format", "json"], out.as_bytes())?;
    let again = quipu(at, &["consume", "b", "--exit-at-end", "-o", "json"])?;
    assert_eq!(again, out.replace(r#""topic":"a""#, r#""topic":"b""#));

    // kcat's tokens for headers, time and lengths.
    let tokens = quipu(
        at,
        &["consume", "a", "--count", "1", "--format", r"%T %K %S [%h]\n"],
    )?;
    assert_eq!(tokens, "1357035300000 1 1 [h=1,n=NULL]\n");
    // From a time, and from an offset.
    let from = |from: &str| {
        quipu(
            at,
            &[
                "consume",
                "a",
                "--exit-at-end",
                "--format",
                r"%o\n",
                "--from",
                from,
            ],
        )
    };
    assert_eq!(from("2013-01-01T10:15:00Z")?, "0\n1\n2\n");
    assert_eq!(from("2013-01-01T10:15:00.001Z")?, "1\n2\n");
    assert_eq!(from("2")?, "2\n");
    Ok(())
}

#[test]
fn topics_are_made_looked_at_changed_and_deleted() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    let json = |args: &[&str]| -> Result<Value> {
        let args = [args, &["-o", "json"]].concat();
        Ok(serde_json::from_str(&quipu(at, &args)?)?)
    };
    let created = json(&[
        "topic",
        "create",
        "t",
        "--partitions",
        "2",
        "--config",
        "retention.ms=3600000",
    ])?;
    assert_eq!(created["partitions"].as_array().map(Vec::len), Some(2));
    let config = |topic: &Value, key: &str| -> Value {
        let configs = topic["configs"].as_array().into_iter().flatten();
        configs
            .into_iter()
            .find(|c| c["key"] == key)
            .map_or(Value::Null, |c| c["value"].clone())
    };
    assert_eq!(config(&created, "retention.ms"), "3600000");

    // What is wrong is said, with what to do; nothing happens by halves.
    let again = run(at, &["topic", "create", "t"], b"")?;
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("TOPIC_ALREADY_EXISTS") && again.stderr.contains("next:"),
        "{}",
        again.stderr
    );
    quipu(at, &["topic", "create", "t", "--if-not-exists"])?;
    let unknown = run(at, &["topic", "create", "u", "--config", "retention.sm=1"], b"")?;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("retention.sm"), "{}", unknown.stderr);
    quipu(at, &["topic", "create", "u", "--validate-only"])?;
    assert_eq!(json(&["topic", "list"])?.as_array().map(Vec::len), Some(1));

    let altered = json(&[
        "topic",
        "alter",
        "t",
        "--config",
        "retention.ms=-1",
        "--partitions",
        "3",
    ])?;
    assert_eq!(config(&altered, "retention.ms"), "-1");
    assert_eq!(altered["partitions"].as_array().map(Vec::len), Some(3));
    let version = altered["config_version"].to_string();
    quipu(
        at,
        &[
            "topic",
            "alter",
            "t",
            "--unset",
            "retention.ms",
            "--expected-version",
            &version,
        ],
    )?;
    let late = run(
        at,
        &[
            "topic",
            "alter",
            "t",
            "--config",
            "retention.ms=5",
            "--expected-version",
            &version,
        ],
        b"",
    )?;
    assert!(
        late.code == Some(1) && late.stderr.contains("VERSION_MISMATCH"),
        "{}",
        late.stderr
    );

    assert_eq!(quipu(at, &["topic", "describe", "--under-replicated"])?, "");
    assert_eq!(quipu(at, &["topic", "describe", "--offline"])?, "");
    let described = quipu(at, &["topic", "describe", "t"])?;
    assert!(described.contains("PARTITION  LEADER"), "{described}");

    quipu_with_input(at, &["produce", "t", "--partition", "1"], b"0\n1\n2\n3\n")?;
    let deleted = json(&[
        "topic",
        "delete-records",
        "t",
        "--partition",
        "1",
        "--before",
        "3",
    ])?;
    assert_eq!(deleted[0]["log_start"], 3);
    assert_eq!(quipu(at, &["consume", "t", "--exit-at-end"])?, "3\n");
    quipu(at, &["topic", "delete-records", "t", "--all"])?;
    assert_eq!(quipu(at, &["consume", "t", "--exit-at-end"])?, "");

    quipu(at, &["topic", "delete", "t"])?;
    let gone = run(at, &["topic", "describe", "t"], b"")?;
    assert!(
        gone.code == Some(1) && gone.stderr.contains("quipu topic list"),
        "{}",
        gone.stderr
    );
    Ok(())
}

#[test]
fn the_cluster_is_described_and_checked() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    quipu(at, &["topic", "create", "t", "--partitions", "5"])?;
    let cluster: Value = serde_json::from_str(&quipu(at, &["cluster", "describe", "-o", "json"])?)?;
    assert_eq!(cluster["partitions"], 5);
    assert_eq!(cluster["brokers"][0]["endpoint"], at);
    let fine = quipu(at, &["cluster", "check"])?;
    assert!(fine.starts_with("QUIPU OK - "), "{fine}");
    let check: Value = serde_json::from_str(&quipu(at, &["cluster", "check", "-o", "json"])?)?;
    assert_eq!(check["status"], "OK");
    assert_eq!(check["notes"], serde_json::json!([]));
    // The topic that groups bring with them wants three replicas, and one broker cannot have them.
    quipu_with_input(at, &["produce", "t"], b"x\n")?;
    let read = quipu(at, &["consume", "t", "--group", "g", "--exit-at-end"])?;
    assert_eq!(read, "x\n");
    let alone = quipu(at, &["cluster", "check"])?;
    assert!(alone.starts_with("QUIPU OK - "), "{alone}");
    assert!(
        alone.contains("note: __consumer_offsets has one replica"),
        "{alone}"
    );
    drop(broker);
    Ok(())
}

#[test]
fn exit_codes_and_what_to_do_next() -> Result<()> {
    // Nobody listens there: port 1 is not given to anyone.
    let nobody = "127.0.0.1:1";
    let lost = run(nobody, &["topic", "list"], b"")?;
    assert_eq!(lost.code, Some(1));
    assert!(lost.stderr.contains("quipu dev"), "{}", lost.stderr);
    assert_eq!(run(nobody, &["cluster", "check"], b"")?.code, Some(2));

    for wrong in [
        &["consume"][..],
        &["consume", "t", "--format", "%q"],
        &["consume", "t", "--from", "yesterday"],
        &["topic", "create", "t", "--config", "no-equals-sign"],
        &["nothing-of-the-kind"],
    ] {
        let ran = run(nobody, wrong, b"")?;
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{wrong:?}");
    }

    let broker = Broker::start()?;
    let no_topic = run(broker.address(), &["produce", "nowhere"], b"x\n")?;
    assert_eq!(no_topic.code, Some(1));
    assert!(no_topic.stderr.contains("nowhere"), "{}", no_topic.stderr);
    quipu(broker.address(), &["topic", "create", "t"])?;
    let bad_line = run(
        broker.address(),
        &["produce", "t", "--format", "json"],
        b"{\"value\":\"1\"}\n{oops\n",
    )?;
    assert_eq!(bad_line.code, Some(1));
    assert!(
        bad_line.stderr.contains("line 2") && bad_line.stderr.contains("1 records were"),
        "{}",
        bad_line.stderr
    );
    Ok(())
}

#[test]
fn completions_and_help_need_no_cluster() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        assert!(quipu("", &["completions", shell])?.contains("consume"));
    }
    for command in ["serve", "dev", "demo", "produce", "consume", "log"] {
        assert!(
            quipu("", &[command, "--help"])?.contains("Usage: quipu"),
            "{command}"
        );
    }
    assert!(quipu("", &["consume", "--help"])?.contains("Examples:"));
    Ok(())
}

#[test]
fn benchmarks_speak_as_kafkas_do() -> Result<()> {
    let broker = Broker::start()?;
    let at = broker.address();
    let produced = quipu(
        at,
        &["bench", "produce", "--records", "2000", "--record-size", "100"],
    )?;
    assert!(
        produced.starts_with("2000 records sent, ") && produced.contains(" ms 99.9th."),
        "{produced}"
    );
    let paced = [
        "bench",
        "produce",
        "--records",
        "500",
        "--throughput",
        "1000",
        "--json",
        "--record-size",
        "10",
    ];
    let paced: Value = serde_json::from_str(&quipu(at, &paced)?)?;
    assert_eq!(paced["records"], 500);
    assert_eq!(paced["latency"]["samples"], 500);
    assert!(
        paced["seconds"].as_f64() >= Some(0.49),
        "not faster than asked for: {paced}"
    );
    let consumed = quipu(at, &["bench", "consume", "--records", "2500"])?;
    assert!(
        consumed.starts_with("start.time, end.time, data.consumed.in.MB"),
        "{consumed}"
    );
    let both = [
        "bench",
        "e2e",
        "--topic",
        "e2e",
        "--records",
        "200",
        "--throughput",
        "500",
        "--json",
    ];
    let both: Value = serde_json::from_str(&quipu(at, &both)?)?;
    assert_eq!(both["latency"]["samples"], 200);
    Ok(())
}
