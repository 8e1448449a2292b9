//! `quipu demo` holds, says so, and leaves nothing behind.

use crate::support::{QUIPU, Result, signal, without_configuration};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn demo(temporary: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(QUIPU);
    without_configuration(&mut command);
    Ok(command
        // Long enough for a second kill, should the first come too late.
        .args(["demo", "--seconds", "8"])
        .args(args)
        .env("TMPDIR", temporary)
        .output()?)
}

#[test]
fn it_proves_what_it_claims() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let ran = demo(temporary.path(), &["-o", "json"])?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let report: Value = serde_json::from_slice(&ran.stdout)?;
    assert_eq!(report["proven"], true);
    assert_eq!(report["produced"]["acknowledged"], 27_004);
    assert_eq!(report["consumed"]["records"], 27_004);
    assert!(
        report["outage"]["unacknowledged_batches"].as_u64() > Some(0),
        "{report}"
    );
    assert_eq!(report["brokers"], 3);
    let rebalances = report["rebalances"].as_array().map_or(&[][..], Vec::as_slice);
    let shares: Vec<_> = rebalances
        .iter()
        .map(|rebalance| rebalance["after"].clone())
        .collect();
    assert_eq!(
        shares,
        [serde_json::json!([2, 2, 2]), serde_json::json!([3, 3])],
        "{report}"
    );
    let (failover, led) = (
        &report["outage"]["failover_seconds"],
        &report["outage"]["partitions"],
    );
    assert!(failover.as_f64() > Some(0.0), "{report}");
    assert!(led.as_array().is_some_and(|led| !led.is_empty()), "{report}");
    assert_eq!(report["totals"]["UA"], 4_637);
    let checks = report["checks"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(
        checks.len() == 9 && checks.iter().all(|check| check["holds"] == true),
        "{report}"
    );
    assert_eq!(
        std::fs::read_dir(temporary.path())?.count(),
        0,
        "it left something behind"
    );
    Ok(())
}

#[test]
fn it_fits_a_screen() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let ran = demo(temporary.path(), &[])?;
    let screen = String::from_utf8(ran.stdout)?;
    assert!(
        ran.status.success(),
        "{screen}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(screen.contains("batches unacknowledged: "), "{screen}");
    assert!(
        screen.contains("Proven: nothing acknowledged was lost"),
        "{screen}"
    );
    assert!(screen.lines().count() <= 40, "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 120), "{screen}");
    Ok(())
}

/// Told to stop in the midst of it, by Ctrl-C or as `timeout` does: the broker is gone, and the directory with it.
#[test]
fn interrupted_it_leaves_nothing_behind() -> Result<()> {
    for told in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        interrupted_by(told)?;
    }
    Ok(())
}

fn interrupted_by(told: rustix::process::Signal) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let mut command = Command::new(QUIPU);
    without_configuration(&mut command);
    command.arg("demo").env("TMPDIR", temporary.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // It says where its source is from once the broker serves.
    let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
    let serving = lines
        .map_while(std::result::Result::ok)
        .any(|line| line.contains("source"));
    assert!(serving, "it ended early");
    signal(child.id(), told)?;
    assert_eq!(child.wait()?.code(), Some(1));
    assert_eq!(
        std::fs::read_dir(temporary.path())?.count(),
        0,
        "it left something behind"
    );
    Ok(())
}
