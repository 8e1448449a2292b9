//! Files and functions stay short. What is too long stands in `ratchet.txt` with its length, and that list only shrinks.

use crate::source::{self, Source};
use std::collections::BTreeMap;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const LIB_LINES: usize = 100;

/// Lengths over the limit, by `file` or `file::function`.
fn too_long(sources: &[Source]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_production()) {
        let lines = source.production_lines();
        let limit = if source.path.ends_with("/src/lib.rs") {
            LIB_LINES
        } else {
            FILE_LINES
        };
        if lines > limit {
            found.insert(source.path.clone(), lines);
        }
        for (name, lines) in functions(source) {
            if lines > FUNCTION_LINES {
                let longest = found.entry(format!("{}::{name}", source.path)).or_default();
                *longest = lines.max(*longest);
            }
        }
    }
    found
}

#[derive(Default)]
struct Functions {
    found: Vec<(String, usize)>,
}

impl Functions {
    fn add(&mut self, name: &syn::Ident, body: &syn::Block) {
        let span = body.span();
        self.found
            .push((name.to_string(), span.end().line + 1 - span.start().line));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

fn functions(source: &Source) -> Vec<(String, usize)> {
    let file = syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
    let mut functions = Functions::default();
    functions.visit_file(&file);
    functions.found
}

/// `ratchet.txt`: a line `LENGTH NAME` for each thing that was too long when it was written down.
fn ratchet() -> BTreeMap<String, usize> {
    include_str!("ratchet.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (length, name) = line.split_once(' ').expect("LENGTH NAME");
            (name.to_owned(), length.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn files_and_functions_are_short() {
    let known = ratchet();
    let now = too_long(&source::all());
    let mut wrong = Vec::new();
    for (name, lines) in &now {
        match known.get(name) {
            None => wrong.push(format!("{name}: {lines} lines is too long (files {FILE_LINES}, functions {FUNCTION_LINES}, lib.rs {LIB_LINES}): split it")),
            Some(before) if lines > before => wrong.push(format!("{name}: grew from {before} to {lines} lines: split it")),
            Some(before) if lines < before => wrong.push(format!("{name}: shrank from {before} to {lines}: lower its line in tests/tidy/ratchet.txt")),
            Some(_) => {}
        }
    }
    for name in known.keys().filter(|name| !now.contains_key(*name)) {
        wrong.push(format!(
            "{name}: no longer too long: delete its line in tests/tidy/ratchet.txt"
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_library_page_says_why() {
    for source in source::all()
        .iter()
        .filter(|source| source.path.ends_with("/src/lib.rs"))
    {
        assert!(
            source.text.starts_with("//! "),
            "{} does not begin with what it is for",
            source.path
        );
        let functions = functions(source);
        assert!(
            functions.is_empty(),
            "{}: {} belongs in a module",
            source.path,
            functions[0].0
        );
    }
}

#[test]
fn a_long_function_is_found() {
    let body = "let x = 1;\n".repeat(80);
    let source = Source {
        path: "crates/x/src/y.rs".into(),
        text: format!("fn long() {{\n{body}}}\n"),
    };
    assert_eq!(
        too_long(&[source]).keys().collect::<Vec<_>>(),
        ["crates/x/src/y.rs::long"]
    );
}
