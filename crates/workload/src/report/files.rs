//! A report's directory.

use super::Report;
use super::markdown::PICTURE;
use quipu_checker::{FORMAT_LINE, History, to_edn, to_line};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// For people.
const MARKDOWN: &str = "report.md";
/// For scripts.
const JSON: &str = "report.json";
/// For the checker, any time later.
const HISTORY: &str = "history.jsonl";
/// For Jepsen's own checker.
const EDN: &str = "history.edn";

impl Report {
    /// Writes everything into a directory, which is made if it is not there.
    ///
    /// # Errors
    /// What the file system says, with the file's name.
    pub fn write(&self, directory: &Path, history: &History) -> io::Result<()> {
        let named = |name: &str, result: io::Result<()>| {
            result.map_err(|error| {
                let path = directory.join(name);
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })
        };
        named("", std::fs::create_dir_all(directory))?;
        let write = |name: &str, bytes: &[u8]| named(name, std::fs::write(directory.join(name), bytes));
        write(MARKDOWN, self.markdown().as_bytes())?;
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        write(JSON, &json)?;
        write(PICTURE, self.latency_svg().as_bytes())?;
        let lines = std::iter::once(FORMAT_LINE.to_owned()).chain(history.events().iter().map(to_line));
        named(HISTORY, write_lines(&directory.join(HISTORY), lines))?;
        named(EDN, write_lines(&directory.join(EDN), to_edn(history)))
    }
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
