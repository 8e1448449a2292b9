//! Wrong configuration is refused, and named.

use crate::support::{Broker, Result, run};
use std::process::{Command, Stdio};

/// Starts a broker that shall refuse to start: what it says.
fn refused(args: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let mut command = Command::new(crate::support::QUIPU);
    crate::support::without_configuration(&mut command);
    let defaults = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--internal",
        "127.0.0.1:0",
        "--data-dir",
    ];
    command
        .args(defaults)
        .arg(&data)
        .args(args)
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{args:?} {environment:?} were accepted");
    assert!(!data.exists(), "a broker that does not start touches nothing");
    Ok(said)
}

#[test]
fn every_mistake_is_named_at_once() -> Result<()> {
    let said = refused(
        &[
            "--set",
            "storage.flush.metod=auto",
            "--set",
            "limits.connections=-1",
        ],
        &[("QUIPU_THREADS_READ", "many"), ("QUIPU_NOT_A_KEY", "1")],
    )?;
    for part in [
        "storage.flush.metod",
        "limits.connections",
        "QUIPU_THREADS_READ",
        "QUIPU_NOT_A_KEY",
    ] {
        assert!(said.contains(part), "{part} is not named in:\n{said}");
    }
    Ok(())
}

#[test]
fn a_file_is_named_with_its_line() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("quipu.toml");
    std::fs::write(&file, "[broker]\nid = 1\nracks = \"a\"\n")?;
    let path = file.display().to_string();
    let said = refused(&["--config", &path], &[])?;
    assert!(
        said.contains("quipu.toml") && said.contains("racks") && said.contains('3'),
        "{said}"
    );
    let absent = refused(&["--config", "no-such-file.toml"], &[])?;
    assert!(absent.contains("no-such-file.toml"), "{absent}");
    Ok(())
}

#[test]
fn a_listener_for_everyone_must_say_how_it_is_reached() -> Result<()> {
    let said = refused(&["--set", "listeners.client.bind=0.0.0.0:0"], &[])?;
    assert!(said.contains("listeners.client.advertised"), "{said}");
    Ok(())
}

#[test]
fn one_data_directory_one_broker() -> Result<()> {
    let broker = Broker::start()?;
    let data = broker.data_dir().display().to_string();
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--internal",
        "127.0.0.1:0",
        "--data-dir",
        &data,
    ];
    let second = run("", &args, b"")?;
    assert_eq!(second.code, Some(1));
    assert!(
        second.stderr.contains(&data) && second.stderr.contains("next:"),
        "{}",
        second.stderr
    );
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let broker = Broker::start()?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data").display().to_string();
    let args = [
        "serve",
        "--listen",
        broker.address(),
        "--http",
        "127.0.0.1:0",
        "--internal",
        "127.0.0.1:0",
        "--data-dir",
        &data,
    ];
    let second = run("", &args, b"")?;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains(broker.address()), "{}", second.stderr);
    Ok(())
}

#[test]
fn another_brokers_directory_is_refused() -> Result<()> {
    let broker = Broker::start()?;
    let (status, home) = broker.terminate()?;
    assert!(status.success());
    let data = home.data_dir().display().to_string();
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--internal",
        "127.0.0.1:0",
        "--data-dir",
        &data,
        "--broker-id",
        "7",
    ];
    let other = run("", &args, b"")?;
    assert_eq!(other.code, Some(1));
    assert!(
        other.stderr.contains("broker.id") || other.stderr.contains("broker 7"),
        "{}",
        other.stderr
    );
    Ok(())
}

/// The shipped binary has no bugs to plant. (Built with `test-util` it has; this test is of the other.)
#[test]
#[cfg(not(feature = "test-util"))]
fn the_shipped_binary_refuses_planted_bugs() -> Result<()> {
    let ran = run("", &["serve", "--planted-bug", "ack-before-flush"], b"")?;
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--planted-bug"), "{}", ran.stderr);
    Ok(())
}
