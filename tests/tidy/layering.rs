//! Who may depend on whom: the table of `ARCHITECTURE.md` against `cargo metadata`.

use crate::source;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};

/// What tests may use beyond that, besides a crate's own `test-util`.
const TESTS_MAY_ADD: &[(&str, &[&str])] = &[("quipu", &["proto"]), ("broker", &["proto", "client"])];

/// Libraries that only the named crates may touch.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("openraft", &["controller"]),
    ("memmap2", &["storage"]),
    (
        "tokio",
        &["controller", "client", "workload", "broker", "quipu", "jepsen"],
    ),
    ("fuser", &["lossyfs"]),
    ("tonic", &["proto", "controller", "client", "broker", "quipu"]),
    ("rand", &["controller", "client", "broker", "sim", "quipu"]),
];

/// Normal dependencies among our crates: the table of `ARCHITECTURE.md`. What stands in backquotes is a crate.
fn may_depend_on(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let quoted = |cell: &str| -> BTreeSet<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let lines = page.lines();
    let table = lines.skip_while(|line| !line.starts_with("| Crate | may depend on |"));
    let mut allowed = BTreeMap::new();
    for line in table.skip(2).take_while(|line| line.starts_with('|')) {
        let mut cells = line.split('|').skip(1);
        let (crates, others) = (cells.next().map(quoted), cells.next().map(quoted));
        for one in crates.unwrap_or_default() {
            allowed.insert(one, others.clone().unwrap_or_default());
        }
    }
    allowed
}

fn architecture() -> String {
    std::fs::read_to_string(source::root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md")
}

fn room(package: &str) -> &str {
    package.strip_prefix("quipu-").unwrap_or(package)
}

fn packages() -> Vec<Package> {
    MetadataCommand::new()
        .manifest_path(source::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs")
        .packages
}

fn dependencies(package: &Package, kind: DependencyKind) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == kind)
        .map(|dependency| dependency.name.to_string())
        .collect()
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let allowed = may_depend_on(&architecture());
    let tests_may_add: BTreeMap<&str, &[&str]> = TESTS_MAY_ADD.iter().copied().collect();
    let packages = packages();
    let ours: BTreeSet<String> = packages
        .iter()
        .map(|package| room(package.name.as_ref()).to_owned())
        .collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = room(package.name.as_ref());
        let Some(normal) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table of ARCHITECTURE.md"));
            continue;
        };
        let is_ours = |dependency: &String| ours.contains(room(dependency));
        for dependency in dependencies(package, DependencyKind::Normal)
            .iter()
            .filter(|d| is_ours(d))
        {
            if !normal.contains(room(dependency)) {
                wrong.push(format!("{name} may not depend on {}", room(dependency)));
            }
        }
        let extra = tests_may_add.get(name).copied().unwrap_or_default();
        for dependency in dependencies(package, DependencyKind::Development)
            .iter()
            .filter(|d| is_ours(d))
        {
            let dependency = room(dependency);
            if dependency != name && !normal.contains(dependency) && !extra.contains(&dependency) {
                wrong.push(format!("tests of {name} may not depend on {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = room(package.name.as_ref()).to_owned();
        let normal = dependencies(&package, DependencyKind::Normal);
        for (library, rooms) in ONLY_IN {
            if normal.contains(*library) && !rooms.contains(&name.as_str()) {
                wrong.push(format!(
                    "{name} may not use {library}: only {} may",
                    rooms.join(", ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn architecture_describes_every_crate() {
    let text = architecture();
    for package in packages() {
        let name = room(package.name.as_ref());
        assert!(
            text.contains(&format!("/{name}`")) || text.contains(&format!("`{name}/`")),
            "ARCHITECTURE.md does not say what the crate {name} is for"
        );
    }
}

#[test]
fn the_table_is_read_as_it_is_written() {
    let page = "text\n| Crate | may depend on |\n|---|---|\n| `a`, `b` | nothing |\n| `c` | `a`, `b`; and so on |\n\n| `d` | `a` |";
    let read = may_depend_on(page);
    assert_eq!(read.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(read["a"].is_empty() && read["b"].is_empty());
    assert_eq!(read["c"].iter().collect::<Vec<_>>(), ["a", "b"]);
}
