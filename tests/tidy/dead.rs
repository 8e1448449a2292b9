//! Every source file of a crate is part of it: a file that no `mod` names is compiled by nobody.

use crate::source::{self, Source};
use std::path::Path;

/// What a `mod` would call this file, and the files that may say so; `None` for one that cargo finds by itself.
fn parents(path: &str) -> Option<(String, Vec<String>)> {
    let path = Path::new(path);
    let mut dir = path.parent()?;
    let mut name = path.file_stem()?.to_str()?;
    if ["lib", "main"].contains(&name) || dir.ends_with("bin") {
        return None;
    }
    if name == "mod" {
        name = dir.file_name()?.to_str()?;
        dir = dir.parent()?;
    }
    let within = ["lib.rs", "main.rs", "mod.rs"].map(|file| dir.join(file));
    let beside = dir.with_extension("rs");
    let all = within.iter().chain([&beside]);
    let all = all.map(|parent| parent.to_string_lossy().into_owned());
    Some((name.to_owned(), all.collect()))
}

fn names(source: &Source, name: &str) -> bool {
    let named = format!("mod {name};");
    let mut lines = source.text.lines().map(str::trim);
    lines.any(|line| line == named || line.ends_with(&format!(" {named}")))
}

#[test]
fn no_source_file_is_dead() {
    let mut sources = source::all();
    sources.retain(|source| source.path.contains("/src/"));
    let dead = sources.iter().filter(|source| {
        parents(&source.path).is_some_and(|(name, parents)| {
            let mut parents = sources.iter().filter(|other| parents.contains(&other.path));
            !parents.any(|parent| names(parent, &name))
        })
    });
    let dead: Vec<_> = dead.map(|source| &source.path).collect();
    assert!(dead.is_empty(), "no `mod` names these files: {dead:#?}");
}
