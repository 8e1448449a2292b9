//! Pure crates read no clock, no random numbers and no files: by clippy in each, and by reading the source here, so
//! that a missing `clippy.toml` cannot hide anything.

use crate::source;

/// Crates whose code is a function of its input.
const PURE: &[&str] = &[
    "record",
    "storage",
    "replication",
    "metadata",
    "checker",
    "coordinator",
];

/// The one file of a pure crate that may touch the machine.
const REAL_DISK: &str = "crates/storage/src/disk/real.rs";

const BANNED: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "File::open",
    "File::create",
    "std::env",
    "thread_rng",
    "rand::",
    "Uuid::new_v4",
    "tokio::",
    "std::net",
];

fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn pure_crates_touch_neither_clock_nor_chance_nor_files() {
    let mut wrong = Vec::new();
    for source in source::all() {
        let pure = source.room().is_some_and(|room| PURE.contains(&room));
        if !pure || !source.is_production() || source.path == REAL_DISK {
            continue;
        }
        for (number, line) in source.text.lines().take(source.production_lines()).enumerate() {
            for banned in BANNED {
                if code_of(line).contains(banned) {
                    wrong.push(format!("{}:{}: {banned}", source.path, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_ban_them_by_clippy_too() {
    for room in PURE {
        let folder = source::root().join("crates").join(room);
        if !folder.exists() {
            continue;
        }
        let path = folder.join("clippy.toml");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("crates/{room}/clippy.toml is missing"));
        for banned in [
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "std::fs::",
        ] {
            assert!(
                text.contains(banned),
                "crates/{room}/clippy.toml does not ban {banned}"
            );
        }
    }
}

/// `unwrap` is refused everywhere by `Cargo.toml`; tests may `expect`, so the rest is each crate's own to refuse.
#[test]
fn what_ships_refuses_to_panic() {
    let sources = source::all();
    let roots = sources.iter().filter(|source| {
        let path = &source.path;
        source.is_production() && (path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs"))
    });
    let silent = roots.filter(|root| !root.text.contains("#![warn(clippy::expect_used, clippy::panic)]"));
    let silent: Vec<&str> = silent.map(|root| &*root.path).collect();
    assert!(
        silent.is_empty(),
        "these do not warn of clippy::expect_used and clippy::panic: {silent:?}"
    );
}

#[test]
fn no_test_is_ignored_and_no_path_of_a_machine_is_written_down() {
    let mut wrong = Vec::new();
    for source in source::all() {
        if source.path.starts_with("tests/tidy/") {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            if line.trim_start().starts_with("#[ignore") || line.contains("/home/") || line.contains("/root/")
            {
                wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
