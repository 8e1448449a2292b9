//! Where values come from, the weakest first: the file, `QUIPU_*` in the environment, flags.

use super::mistake::{Mistake, Origin};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration file larger than this is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What to read.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    /// The TOML file; absent: none.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `QUIPU_` are not looked at, but for `POD_NAME` and
    /// `HOSTNAME` when the broker's id comes from them.
    pub environment: Vec<(String, String)>,
    /// Dotted keys and their values, as flags gave them.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The file and this process's environment.
    #[must_use]
    pub fn of_process(file: Option<&Path>) -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Self {
            file: file.map(Path::to_owned),
            environment: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            overrides: Vec::new(),
        }
    }

    /// The same with one more flag.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.overrides.push((key.to_owned(), value.into()));
        self
    }
}

/// A value as it was written: numbers and booleans as text, a list as its items.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Written {
    One(String),
    List(Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) origin: Origin,
    pub(super) written: Written,
}

/// Reads the file, flattened to dotted keys. Everything that can still be read after a mistake is.
pub(super) fn read_file(path: &Path, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Entry> {
    let name = path.display().to_string();
    let whole_file = |problem: String| Mistake {
        origin: Origin::File {
            path: name.clone(),
            line: 1,
        },
        key: String::new(),
        problem,
    };
    let size = std::fs::metadata(path).map(|meta| meta.len());
    let text = match size {
        Ok(size) if size > FILE_BYTES_MAX => {
            mistakes.push(whole_file(format!(
                "is {size} bytes long; a configuration is at most 1 MiB"
            )));
            return BTreeMap::new();
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => File {
            name: &name,
            text: &text,
        }
        .flatten(mistakes),
        Err(error) => {
            mistakes.push(whole_file(format!(
                "cannot be read ({error}); name a file that can, or none"
            )));
            BTreeMap::new()
        }
    }
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn flatten(&self, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Entry> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            mistakes.push(Mistake {
                origin: self.at(error.span().map_or(0, |span| span.start)),
                key: String::new(),
                problem: format!("is not TOML: {}", error.message().replace('\n', ", ")),
            });
        }
        let mut entries = BTreeMap::new();
        self.walk("", table.get_ref(), &mut entries, mistakes);
        entries
    }

    fn walk(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        entries: &mut BTreeMap<String, Entry>,
        mistakes: &mut Vec<Mistake>,
    ) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            let origin = self.at(name.span().start);
            let written = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.walk(&key, inner, entries, mistakes);
                    continue;
                }
                DeValue::Array(items) => {
                    let texts: Vec<_> = items.iter().map(scalar).collect();
                    let Some(texts) = texts.into_iter().collect() else {
                        let problem = "a list holds plain values here, not lists or tables".to_owned();
                        mistakes.push(Mistake { origin, key, problem });
                        continue;
                    };
                    Written::List(texts)
                }
                _ => Written::One(scalar(value).unwrap_or_default()),
            };
            entries.insert(key, Entry { origin, written });
        }
    }

    fn at(&self, byte: usize) -> Origin {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        Origin::File {
            path: self.name.to_owned(),
            line,
        }
    }
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    Some(match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(int) => match i64::from_str_radix(int.as_str(), int.radix()) {
            Ok(number) => number.to_string(),
            // Too large: the text goes on, and is refused where its limits are known.
            Err(_) => int.to_string(),
        },
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(is) => is.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}
