//! `quipu dev`: stays up, and starts again with everything that was there.

use crate::support::{PATIENCE, QUIPU, Result, quipu, quipu_with_input, signal, without_configuration};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

struct Dev {
    child: Child,
    address: String,
    /// Of all brokers.
    bootstrap: String,
    broker_pid: u32,
}

impl Dev {
    fn start(args: &[&str], temporary: &Path) -> Result<Self> {
        let mut command = Command::new(QUIPU);
        without_configuration(&mut command);
        command
            .args(["dev", "--port", "0", "-o", "json"])
            .args(args)
            .env("TMPDIR", temporary);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let address = ready["listeners"]["client"]
            .as_str()
            .ok_or("no address")?
            .to_owned();
        let bootstrap = ready["bootstrap"].as_str().ok_or("no bootstrap")?.to_owned();
        let broker_pid = u32::try_from(ready["pid"].as_u64().ok_or("no pid")?)?;
        Ok(Self {
            child,
            address,
            bootstrap,
            broker_pid,
        })
    }

    fn stop(mut self) -> Result<()> {
        signal(self.child.id(), rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        assert!(status.success(), "{status}");
        self.broker_is_gone()
    }

    fn broker_is_gone(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Path::new(&format!("/proc/{}/exe", self.broker_pid))
            .read_link()
            .is_ok()
        {
            if Instant::now() > deadline {
                return Err("the broker outlived its owner".into());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It is gone either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_starts_again_with_everything_that_was_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data").display().to_string();
    let dev = Dev::start(&["--data-dir", &data], directory.path())?;
    quipu(&dev.address, &["topic", "create", "t"])?;
    quipu_with_input(&dev.address, &["produce", "t"], b"kept\n")?;
    dev.stop()?;
    let dev = Dev::start(&["--data-dir", &data], directory.path())?;
    assert_eq!(quipu(&dev.address, &["consume", "t", "--exit-at-end"])?, "kept\n");
    dev.stop()
}

/// Three brokers, one of which is killed by a person who wants to see it; the next start finds all of them again.
#[test]
fn a_cluster_starts_again_with_everything_that_was_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data").display().to_string();
    let dev = Dev::start(&["--brokers", "3", "--data-dir", &data], directory.path())?;
    let described: Value =
        serde_json::from_str(&quipu(&dev.address, &["cluster", "describe", "-o", "json"])?)?;
    assert_eq!(described["brokers"].as_array().map(Vec::len), Some(3));
    let bootstrap = dev.bootstrap.clone();
    quipu(&bootstrap, &["topic", "create", "t", "--partitions", "3"])?;
    let lines: String = (0..300).map(|n| format!("{n}:kept\n")).collect();
    let produce = ["produce", "t", "--key-separator", ":"];
    quipu_with_input(&bootstrap, &produce, lines.as_bytes())?;
    signal(dev.broker_pid, rustix::process::Signal::KILL)?;
    quipu_with_input(&bootstrap, &produce, b"x:after\n")?;
    dev.stop()?;

    // As many as there were, without being told.
    let dev = Dev::start(&["--data-dir", &data], directory.path())?;
    let read = quipu(&dev.bootstrap, &["consume", "t", "--exit-at-end"])?;
    assert_eq!(read.lines().filter(|line| *line == "kept").count(), 300);
    assert_eq!(read.lines().filter(|line| *line == "after").count(), 1);
    dev.stop()
}

#[test]
fn without_a_directory_nothing_is_left() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let dev = Dev::start(&[], temporary.path())?;
    quipu(&dev.address, &["topic", "create", "t"])?;
    dev.stop()?;
    assert_eq!(std::fs::read_dir(temporary.path())?.count(), 0);
    Ok(())
}

#[test]
fn a_broker_does_not_outlive_a_killed_owner() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let mut dev = Dev::start(&[], temporary.path())?;
    dev.child.kill()?;
    dev.broker_is_gone()
}
