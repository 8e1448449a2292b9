//! `quipu log`: segment files read without a broker.

use crate::support::{Broker, Result, quipu, quipu_with_input, run};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The segment files below a directory, in order.
fn segments(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(segments(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn a_log_is_dumped_and_verified_and_damage_is_named() -> Result<()> {
    let broker = Broker::start()?;
    quipu(broker.address(), &["topic", "create", "t"])?;
    for batch in [&b"k:a\nk:b\n"[..], b"k:c\n"] {
        quipu_with_input(broker.address(), &["produce", "t", "--key-separator", ":"], batch)?;
    }
    let (status, home) = broker.terminate()?;
    assert!(status.success());
    let data = home.data_dir();
    let logs = data.join("logs").display().to_string();

    let headers = quipu("", &["log", "dump", &logs, "--headers", "-o", "json"])?;
    let headers: Vec<Value> = headers
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()?;
    let offsets: Vec<_> = headers
        .iter()
        .map(|h| (h["base_offset"].as_u64(), h["last_offset"].as_u64()))
        .collect();
    assert_eq!(offsets, [(Some(0), Some(1)), (Some(2), Some(2))]);
    assert!(
        headers
            .iter()
            .all(|h| h["crc"].is_string() && h["content"].is_null()),
        "{headers:?}"
    );
    assert_eq!(headers[0]["base_sequence"], 0);
    let full = quipu("", &["log", "dump", &logs, "-o", "json"])?;
    assert!(full.contains(r#""key":"k","value":"c""#), "{full}");
    assert!(quipu("", &["log", "dump", &logs])?.contains("baseOffset: 2 lastOffset: 2 count: 1"));

    let verified: Value = serde_json::from_str(&quipu(
        "",
        &["log", "verify", &data.display().to_string(), "-o", "json"],
    )?)?;
    assert_eq!(
        (&verified["records"], &verified["corrupt"]),
        (&Value::from(3), &Value::from(0))
    );

    // One bit, in a value of the first batch: below the flush mark, so it is corruption and not a torn tail.
    let segment = segments(&data.join("logs"))?.remove(0);
    let mut bytes = std::fs::read(&segment)?;
    bytes[70] ^= 1;
    std::fs::write(&segment, bytes)?;
    let damaged = run("", &["log", "verify", &data.display().to_string()], b"")?;
    assert_eq!(damaged.code, Some(1), "{}", damaged.stdout);
    assert!(damaged.stdout.contains("corrupt: ") && damaged.stdout.contains(&segment.display().to_string()));
    let dumped = run("", &["log", "dump", &segment.display().to_string()], b"")?;
    assert_eq!(dumped.code, Some(1));
    assert!(
        dumped.stderr.contains(&segment.display().to_string()),
        "{}",
        dumped.stderr
    );
    Ok(())
}

#[test]
fn what_is_not_there_is_said() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().display().to_string();
    let empty = run("", &["log", "dump", &path], b"")?;
    assert!(
        empty.code == Some(1) && empty.stderr.contains("no segment"),
        "{}",
        empty.stderr
    );
    let absent = run("", &["log", "verify", "/no/such/place"], b"")?;
    assert!(
        absent.code == Some(1) && absent.stderr.contains("/no/such/place"),
        "{}",
        absent.stderr
    );
    Ok(())
}
