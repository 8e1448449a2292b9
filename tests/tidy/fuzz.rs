//! Every decoder's body (`BODIES` in a crate's `hostile.rs`) has its fuzz target, its seeds and a property test.

use crate::source;
use std::collections::BTreeSet;

/// The names and crates of all bodies: lines such as `("batch", batch),`.
fn bodies() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for source in source::all()
        .iter()
        .filter(|source| source.path.ends_with("/src/hostile.rs"))
    {
        let room = source.room().expect("below crates/").to_owned();
        // The list may stand on one line or on several.
        let list = source.text.split_once("BODIES: &[(&str, Body)] = &[");
        let list = list
            .and_then(|(_, rest)| rest.split_once("];"))
            .map_or("", |(list, _)| list);
        let listed = list.split("(\"").filter_map(|pair| pair.split_once("\", "));
        for (name, function) in listed {
            let function = function.split(')').next().unwrap_or_default();
            assert_eq!(function, name, "{}: one name for target and body", source.path);
            found.push((name.to_owned(), room.clone()));
        }
    }
    found
}

#[test]
fn every_decoder_is_fuzzed_and_tested() {
    let fuzz = source::root().join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    let bodies = bodies();
    for (name, room) in &bodies {
        let target = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs")));
        let calls = target.is_ok_and(|text| text.contains(&format!("quipu_{room}::hostile::{name}(data)")));
        assert!(
            calls,
            "fuzz/fuzz_targets/{name}.rs does not call quipu_{room}::hostile::{name}"
        );
        let listed = manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\""));
        assert!(listed, "fuzz/Cargo.toml does not list {name}");
        let seeds = std::fs::read_dir(fuzz.join("seeds").join(name)).map(Iterator::count);
        assert!(
            seeds.is_ok_and(|count| count > 0),
            "fuzz/seeds/{name} is missing or empty"
        );
    }
    let files = std::fs::read_dir(fuzz.join("fuzz_targets"))
        .expect("targets")
        .count();
    let names: BTreeSet<&String> = bodies.iter().map(|(name, _)| name).collect();
    assert_eq!(
        files,
        names.len(),
        "a fuzz target without a body, or a body listed twice"
    );
    for (_, room) in bodies {
        let test = source::root().join(format!("crates/{room}/tests/hostile.rs"));
        let runs = std::fs::read_to_string(test).is_ok_and(|text| text.contains("BODIES"));
        assert!(runs, "crates/{room}/tests/hostile.rs does not run the bodies");
    }
}
