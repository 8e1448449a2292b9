//! The project's own Rust files.

use std::path::{Path, PathBuf};

/// One Rust file of the project.
pub(crate) struct Source {
    /// From the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines before the inline `#[cfg(test)] mod tests`.
    pub(crate) fn production_lines(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let inline_tests = lines.windows(2).position(|pair| {
            pair[0].trim_start().starts_with("#[cfg(test)]")
                && pair[1].trim_start().starts_with("mod ")
                && pair[1].trim_end().ends_with('{')
        });
        inline_tests.unwrap_or(lines.len())
    }

    /// Whether it is code that ships, as against tests, benches and fuzz targets.
    pub(crate) fn is_production(&self) -> bool {
        let path = &self.path;
        let shipped_with_tests = ["/tests/", "/benches/", "/testing/", "/test_util/"];
        (path.starts_with("crates/") || path.starts_with("jepsen/"))
            && !shipped_with_tests.iter().any(|part| path.contains(part))
            && !path.ends_with("/tests.rs")
            && !path.ends_with("_tests.rs")
    }

    /// The crate's folder name, for files below `crates/`.
    pub(crate) fn room(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the root is there")
}

/// Every Rust file below the source folders, in the order of their paths.
pub(crate) fn all() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["crates", "jepsen", "tests", "benches", "fuzz"] {
        collect(&root, &root.join(folder), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.len() > 50,
        "found only {} Rust files: looked in the wrong place?",
        found.len()
    );
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("readable folder").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name == "target") {
                continue;
            }
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("readable source");
            let path = path
                .strip_prefix(root)
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}
