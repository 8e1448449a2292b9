//! The bodies of the fuzz targets as property tests: over arbitrary bytes, and over captured batches with damage.

use proptest::prelude::*;
use quipu_record::hostile::BODIES;
use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "test data")]
fn golden() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/batches");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("golden data")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| std::fs::read(path).expect("a file"))
        .collect()
}

fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let seed = prop::sample::select(seeds);
    (
        seed,
        prop::collection::vec(change, 0..6),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut bytes, changes, end, cut)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn arbitrary_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, body) in BODIES {
            body(&data);
        }
    }

    #[test]
    fn damaged_batches(data in damaged(golden())) {
        for (_, body) in BODIES {
            body(&data);
        }
    }

    #[test]
    fn damaged_bodies(data in damaged(golden())) {
        // Past the header: records under `records`, zstd frames under `zstd`.
        let body = data.get(61..).unwrap_or_default();
        for (name, target) in BODIES {
            match *name {
                "records" => target(&[&[0, 2], body].concat()),
                _ => target(body),
            }
        }
    }
}
