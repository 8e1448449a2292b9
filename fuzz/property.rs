//! The bodies of fuzz targets as property tests on any compiler: random bytes, and the target's seeds with damage.
//! Included by `tests/hostile.rs` of each crate that has a `hostile` module.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::fmt;
use std::path::Path;

/// Inputs of each sort that a body is given.
const CASES: u32 = 1500;

type Body = fn(&[u8]);

/// Runs every body over every seed, over damaged seeds, and over random bytes.
pub(crate) fn run(bodies: &[(&str, Body)]) {
    for (name, body) in bodies {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| body(seed));
        let random = prop::collection::vec(any::<u8>(), 0..300).boxed();
        for inputs in [random, damaged(seeds).boxed()] {
            let inputs = inputs.prop_map(Input);
            let config = Config {
                cases: CASES,
                failure_persistence: None,
                ..Config::default()
            };
            let outcome = TestRunner::new(config).run(&inputs, |Input(data)| {
                body(&data);
                Ok::<(), TestCaseError>(())
            });
            if let Err(failure) = outcome {
                panic!(
                    "{name}: {failure}\nto replay: xxd -r -p <<< HEX > FILE; cargo fuzz run --sanitizer none {name} FILE"
                );
            }
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "test data, in crates that may not touch files otherwise"
)]
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no seeds", folder.display());
    files
        .iter()
        .map(|file| std::fs::read(file).expect("a seed"))
        .collect()
}

/// Bytes that print as a person can paste them.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One way to damage bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(u8),
    Remove,
    Insert(u8),
    Cut,
    /// Bytes from another seed, from this place on.
    Splice(prop::sample::Index),
}

fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![any::<u8>(), prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xff])];
    let damage = prop_oneof![
        8 => value.clone().prop_map(Damage::Set),
        2 => Just(Damage::Remove),
        2 => value.prop_map(Damage::Insert),
        1 => Just(Damage::Cut),
        1 => any::<prop::sample::Index>().prop_map(Damage::Splice),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), damage), 0..6);
    (prop::sample::select(seeds.clone()), changes).prop_map(move |(mut bytes, changes)| {
        for (at, damage) in changes {
            let at = at.index(bytes.len() + 1);
            match damage {
                Damage::Set(value) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
                Damage::Remove => drop(bytes.drain(at..bytes.len().min(at + 1))),
                Damage::Insert(value) => bytes.insert(at, value),
                Damage::Cut => bytes.truncate(at),
                Damage::Splice(seed) => {
                    let seed = &seeds[seed.index(seeds.len())];
                    bytes.truncate(at);
                    bytes.extend_from_slice(&seed[at.min(seed.len())..]);
                }
            }
        }
        bytes
    })
}
