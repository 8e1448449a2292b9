//! `quipu check`: against a cluster of its own that is broken on the way, and against one that somebody else runs.

use crate::support::{Broker, QUIPU, Result, quipu, quipu_with_input, without_configuration};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn check(address: &str, out: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(QUIPU);
    without_configuration(&mut command);
    command.arg("check").args(args).arg("--out").arg(out);
    if !address.is_empty() {
        command.args(["--bootstrap", address]);
    }
    Ok(command.output()?)
}

/// What `-o json` says, and that the directory holds all that it should.
fn report(ran: &Output, out: &Path) -> Result<Value> {
    let said = String::from_utf8_lossy(&ran.stderr);
    let report: Value = serde_json::from_slice(&ran.stdout).map_err(|error| format!("{error}\n{said}"))?;
    assert_eq!(report["outcome"], "clean", "{report:#}\n{said}");
    assert!(ran.status.success(), "{report:#}\n{said}");
    assert!(report["operations"]["ok"].as_u64() > Some(100), "{report:#}");
    assert!(
        report["records"]["acknowledged"].as_u64() > Some(100),
        "{report:#}"
    );
    let read =
        |name: &str| std::fs::read_to_string(out.join(name)).map_err(|error| format!("{name}: {error}"));
    assert!(read("report.md")?.contains("**Clean: "));
    assert!(read("latency.svg")?.starts_with("<svg "));
    let mut kept: Value = serde_json::from_str(&read("report.json")?)?;
    kept["directory"] = report["directory"].clone();
    assert_eq!(kept, report);
    // Whoever doubts the verdict has the history.
    let history = read("history.jsonl")?;
    let history = quipu_checker::from_lines(history.lines())?;
    let verdict = quipu_checker::check(&history);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(
        report["operations"]["ok"].as_u64(),
        Some(verdict.counts.ok as u64)
    );
    Ok(report)
}

#[test]
fn a_cluster_of_its_own_is_killed_and_paused_and_holds() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    let out = directory.path().join("out");
    let args = [
        "--local", "--time", "6", "--rate", "500", "--seed", "7", "-o", "json",
    ];
    let mut command = Command::new(QUIPU);
    without_configuration(&mut command);
    let command = command.arg("check").args(args).arg("--out").arg(&out);
    let ran = command.env("TMPDIR", &temporary).output()?;
    let report = report(&ran, &out)?;
    assert_eq!(
        (&report["nodes"], &report["seed"]),
        (&Value::from(3), &Value::from(7))
    );
    for kind in ["kill", "pause"] {
        assert!(report["faults_by_kind"][kind].as_u64() > Some(0), "{report:#}");
    }
    assert!(report["records"]["final_logs"].as_u64() >= Some(18), "{report:#}");
    assert!(report["healing"]["worst_ms"].as_f64() > Some(0.0), "{report:#}");
    assert_eq!(
        std::fs::read_dir(&temporary)?.count(),
        0,
        "it left something behind"
    );
    Ok(())
}

#[test]
fn a_running_cluster_is_checked_and_nothing_is_left_in_it() -> Result<()> {
    let broker = Broker::start()?;
    let address = broker.address();
    quipu(address, &["topic", "create", "mine"])?;
    quipu_with_input(address, &["produce", "mine"], b"kept\n")?;
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    let args = ["--time", "4", "--rate", "500", "--partitions", "2", "-o", "json"];
    let report = report(&check(address, &out, &args)?, &out)?;
    assert_eq!(report["faults"], serde_json::json!([]));
    assert!(
        report["command"]
            .as_str()
            .is_some_and(|command| command.contains(address))
    );
    for what in ["topic", "group"] {
        let listed = quipu(address, &[what, "list", "-o", "json"])?;
        assert!(!listed.contains("quipu-check"), "{listed}");
    }
    assert_eq!(quipu(address, &["consume", "mine", "--exit-at-end"])?, "kept\n");
    Ok(())
}

#[test]
fn what_cannot_be_done_is_said_at_once_and_leaves_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    // Nobody listens there.
    let ran = check("127.0.0.1:1", &out, &[])?;
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    for word in ["127.0.0.1:1", "next: ", "--bootstrap"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!out.exists(), "an empty directory is left");

    std::fs::create_dir(&out)?;
    std::fs::write(out.join("report.md"), "of yesterday")?;
    let ran = check("127.0.0.1:1", &out, &["--local"])?;
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("is not empty"), "{said}");
    assert_eq!(std::fs::read_to_string(out.join("report.md"))?, "of yesterday");

    let ran = check("127.0.0.1:1", &out, &["--workloads", "append,sing"])?;
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("append"), "{said}");
    Ok(())
}
