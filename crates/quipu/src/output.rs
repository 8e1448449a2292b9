//! What commands print, and how they end.
//!
//! Standard output carries results and nothing else: tables for a person, JSON with `-o json`. Everything said on the
//! way (progress, errors, hints) goes to standard error. Exit codes are stable: 0 done, 1 failed, 2 wrong usage;
//! `cluster check` follows Nagios instead (0 fine, 1 warning, 2 critical).

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables and sentences, for a person
    #[default]
    Table,
    /// JSON, for a script
    Json,
}

/// How a command ended, other than by failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is well: 0.
    Done,
    /// A check found something to worry about: 1.
    Warning,
    /// A check found something broken: 2.
    Critical,
    /// It ran, said what it had to say, and what it had to show does not hold: 1.
    Unproven,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::SUCCESS,
            Ending::Warning | Ending::Unproven => Self::from(1),
            Ending::Critical => Self::from(2),
        }
    }
}

/// Why a command failed, and what the user can do next.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: Option<String>,
    code: u8,
}

impl Failure {
    /// It did not work: exit code 1.
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            next: None,
            code: 1,
        }
    }

    /// It was asked wrongly: exit code 2.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            next: None,
            code: 2,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// Adds a circumstance.
    #[must_use]
    pub(crate) fn note(mut self, note: impl fmt::Display) -> Self {
        self.what = format!("{} ({note})", self.what);
        self
    }

    /// The same, as what Nagios calls critical: exit code 2.
    #[must_use]
    pub(crate) fn critical(mut self) -> Self {
        self.code = 2;
        self
    }

    /// Tells it on standard error, and is the exit code. A reader of standard output that had enough (`| head`) is no
    /// failure of ours.
    pub(crate) fn tell(&self) -> ExitCode {
        if self.code == 0 {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("error: {}\n", self.what);
        if let Some(next) = &self.next {
            text.push_str(&format!("  next: {next}\n"));
        }
        // Nothing is left to do if even this cannot be written.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Writing to standard output failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                what: "nobody reads the output any more".into(),
                next: None,
                code: 0,
            };
        }
        Self::new(format_args!("cannot write the output: {error}"))
    }
}

/// What a command comes to.
pub(crate) type Outcome = Result<Ending, Failure>;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: OutputFormat,
}

impl Output {
    /// Results in `format`.
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Prints a result: as one line of JSON, or as `text` puts it.
    pub(crate) fn result<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.is_json() {
            json_line(value)
        } else {
            print(&text(value))
        }
    }
}

/// Prints a value as one line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(Failure::new)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// Prints text to standard output, ended by a line feed.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Says something on standard error, by the way.
pub(crate) fn say(text: impl fmt::Display) {
    // Whoever closed standard error does not want to hear it.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A table without lines, columns set apart by two spaces; `right` names the columns of numbers.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    let last = header.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { 2 }));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Whether a person watches standard error.
pub(crate) fn watched() -> bool {
    io::stderr().is_terminal()
}

/// A count that grows on a terminal, nothing elsewhere. Of how many is known with [`progress_of`].
pub(crate) fn progress_bar(unit: &str) -> ProgressBar {
    with_style(
        ProgressBar::new_spinner(),
        &format!("  {{spinner}} {{human_pos}} {unit}, {{per_sec}}  {{msg}}"),
    )
}

/// A bar that fills on a terminal, nothing elsewhere.
pub(crate) fn progress_of(total: u64, unit: &str) -> ProgressBar {
    let template = format!("  [{{bar:30}}] {{human_pos}}/{{human_len}} {unit}  {{msg}}");
    with_style(ProgressBar::new(total), &template)
}

fn with_style(bar: ProgressBar, template: &str) -> ProgressBar {
    if !watched() {
        return ProgressBar::hidden();
    }
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain_text_with_numbers_to_the_right() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "1000".to_owned()],
        ];
        let text = table(&["NAME", "COUNT"], &rows, &[1]);
        assert_eq!(text, "NAME  COUNT\na         1\nlong   1000\n");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let left = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(left.code, 0);
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.code, 1);
    }
}
