//! Each library earns a line in `docs/dependencies.md`.

use crate::source;
use std::collections::BTreeSet;

/// Names in a table of `Cargo.toml` that come from outside.
fn from_outside(manifest: &str, table: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != table)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#') && !line.contains("path ="))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim().to_owned()))
        .collect()
}

#[test]
fn every_dependency_has_its_line() {
    let root = source::root();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let document = std::fs::read_to_string(root.join("docs/dependencies.md")).expect("docs/dependencies.md");
    let used = from_outside(&manifest, "[workspace.dependencies]");
    assert!(used.len() > 10, "read only {} dependencies", used.len());
    let described: BTreeSet<String> = document
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once('`')
                .map(|(name, _)| name.to_owned())
        })
        .collect();
    let missing: Vec<_> = used.difference(&described).collect();
    let stale: Vec<_> = described.difference(&used).collect();
    assert!(
        missing.is_empty(),
        "without a line in docs/dependencies.md: {missing:?}"
    );
    assert!(
        stale.is_empty(),
        "described in docs/dependencies.md but not used: {stale:?}"
    );
}

#[test]
fn crates_take_dependencies_from_the_workspace() {
    let root = source::root();
    let crates = std::fs::read_dir(root.join("crates")).expect("crates");
    let crates = crates.map(|entry| entry.expect("entry").path());
    for folder in crates.chain(["jepsen", "jepsen/lossyfs"].map(|folder| root.join(folder))) {
        let path = folder.join("Cargo.toml");
        let Ok(manifest) = std::fs::read_to_string(&path) else {
            continue;
        };
        for line in manifest.lines() {
            let names_a_version = line.contains("version = \"") || line.contains("git = \"");
            assert!(!names_a_version, "{}: {line}", path.display());
        }
    }
}
