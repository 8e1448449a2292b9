//! Takes values by key, typed, and remembers every mistake on the way. A component reads its own keys with it and never
//! learns where they came from.

use super::mistake::{ConfigError, Mistake, Origin};
use super::parse;
use super::sources::{Entry, Sources, Written, read_file};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What begins every variable of ours.
const PREFIX: &str = "QUIPU_";
/// Variables that belong to the command line or to tests, not to a broker's configuration.
const NOT_OURS: &[&str] = &["QUIPU_BOOTSTRAP", "QUIPU_CONFIG"];
const NOT_OURS_PREFIX: &[&str] = &["QUIPU_TEST_", "QUIPU_BENCH_"];

/// Reads typed values out of [`Sources`].
#[derive(Debug)]
pub struct Reader {
    entries: BTreeMap<String, Entry>,
    environment: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    known: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// Reads the file; the rest is looked up as it is asked for.
    #[must_use]
    pub fn new(sources: &Sources) -> Self {
        let mut mistakes = Vec::new();
        let mut entries = match &sources.file {
            Some(path) => read_file(path, &mut mistakes),
            None => BTreeMap::new(),
        };
        let environment: BTreeMap<_, _> = sources.environment.iter().cloned().collect();
        dynamic_keys(&environment, &mut entries);
        for (key, value) in &sources.overrides {
            let origin = Origin::Flag(key.clone());
            let written = Written::One(value.clone());
            entries.insert(key.clone(), Entry { origin, written });
        }
        Self {
            entries,
            environment,
            seen: BTreeSet::new(),
            known: BTreeSet::new(),
            mistakes,
        }
    }

    /// The value of `key`, or `default` if nobody set it. A value that `parse` refuses is a mistake.
    pub fn value<T>(&mut self, key: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    /// The value of `key` if somebody set it.
    pub fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let Entry { origin, written } = self.entry(key)?;
        let parsed = match &written {
            Written::One(text) => parse(text).map_err(|wanted| format!("{text:?} is not {wanted}")),
            Written::List(_) => Err("one value is wanted here, not a list".to_owned()),
        };
        parsed.map_err(|problem| self.add(origin, key, problem)).ok()
    }

    /// The items of `key`: a list in the file, separated by commas elsewhere. All or none of them.
    pub fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let Entry { origin, written } = self.entry(key)?;
        let texts: Vec<String> = match written {
            Written::One(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Written::List(texts) => texts,
        };
        let item = |text: String| {
            let parsed = parse(&text).map_err(|wanted| format!("{text:?} is not {wanted}"));
            parsed
                .map_err(|problem| self.add(origin.clone(), key, problem))
                .ok()
        };
        let items: Vec<_> = texts.into_iter().map(item).collect();
        items.into_iter().collect()
    }

    /// A whole number within limits.
    pub fn int<T>(&mut self, key: &str, default: T, range: std::ops::RangeInclusive<T>) -> T
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        self.value(key, default, |text| parse::int(text, &range))
    }

    /// A number of bytes within limits: `65536` or `64KiB`, `MiB`, `GiB`.
    pub fn bytes(&mut self, key: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.value(key, default, |text| parse::bytes(text, &range))
    }

    /// A path.
    pub fn path(&mut self, key: &str, default: &str) -> PathBuf {
        self.value(key, PathBuf::from(default), |text| match text {
            "" => Err("a path".to_owned()),
            path => Ok(PathBuf::from(path)),
        })
    }

    /// The names `x` of all keys `prefix.x.…` that somebody set.
    #[must_use]
    pub fn names_below(&self, prefix: &str) -> BTreeSet<String> {
        let below = self.keys_below(prefix);
        let first = |key: String| key.split('.').next().map(str::to_owned);
        below.into_iter().filter_map(first).collect()
    }

    /// What follows `prefix.` in all keys that somebody set.
    #[must_use]
    pub fn keys_below(&self, prefix: &str) -> Vec<String> {
        let rest = |key: &String| Some(key.strip_prefix(prefix)?.strip_prefix('.')?.to_owned());
        self.entries.keys().filter_map(rest).collect()
    }

    /// A variable of the environment that is not a key of ours.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Lets the variable `name` stand for `key`, unless the key's own variable is set.
    pub fn alias<'k>(&mut self, key: &'k str, name: &str) -> &'k str {
        self.seen.insert(name.to_owned());
        let flag = matches!(
            self.entries.get(key),
            Some(Entry {
                origin: Origin::Flag(_),
                ..
            })
        );
        if let (false, Some(value)) = (flag, self.environment.get(name)) {
            let origin = Origin::Environment(name.to_owned());
            let written = Written::One(value.clone());
            self.entries.insert(key.to_owned(), Entry { origin, written });
        }
        key
    }

    /// Notes a mistake that only several values together show: at the first of `keys` that somebody set.
    pub fn mistake(&mut self, keys: &[&str], problem: impl Into<String>) {
        let set = keys.iter().find(|key| self.is_set(key)).or(keys.first());
        let key = set.copied().unwrap_or_default();
        let origin = self.entry(key).map_or(Origin::Default, |entry| entry.origin);
        self.add(origin, key, problem.into());
    }

    /// Every key that was asked for, whether somebody set it or not.
    #[must_use]
    pub fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// Whether somebody set `key`.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.entries.contains_key(key) || self.environment.contains_key(&variable_of(key))
    }

    /// Refuses what nobody asked for, and reports all mistakes.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn finish(mut self) -> Result<(), ConfigError> {
        self.refuse_unknown_keys();
        self.refuse_unknown_variables();
        self.mistakes.sort();
        self.mistakes.dedup();
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => Err(ConfigError {
                mistakes: self.mistakes,
            }),
        }
    }

    fn add(&mut self, origin: Origin, key: &str, problem: String) {
        let key = key.to_owned();
        self.mistakes.push(Mistake { origin, key, problem });
    }

    /// The strongest of what was set: flag, then environment, then file.
    fn entry(&mut self, key: &str) -> Option<Entry> {
        self.known.insert(key.to_owned());
        let in_file_or_flag = self.entries.get(key).cloned();
        if let Some(Entry {
            origin: Origin::Flag(_),
            ..
        }) = in_file_or_flag
        {
            return in_file_or_flag;
        }
        let name = variable_of(key);
        match self.environment.get(&name) {
            Some(value) => {
                let written = Written::One(value.clone());
                self.seen.insert(name.clone());
                Some(Entry {
                    origin: Origin::Environment(name),
                    written,
                })
            }
            None => in_file_or_flag,
        }
    }

    fn refuse_unknown_keys(&mut self) {
        let unknown: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, _)| !self.known.contains(*key))
            .map(|(key, entry)| (key.clone(), entry.origin.clone()))
            .collect();
        for (key, origin) in unknown {
            let problem = match nearest(&key, self.known.iter()) {
                Some(known) => format!("there is no such key; did you mean {known}?"),
                None => "there is no such key; docs/quipu.toml lists all".to_owned(),
            };
            self.add(origin, &key, problem);
        }
    }

    fn refuse_unknown_variables(&mut self) {
        for key in &self.known {
            self.seen.insert(variable_of(key));
        }
        let unknown: Vec<_> = self
            .environment
            .keys()
            .filter(|name| name.starts_with(PREFIX) && !self.seen.contains(*name) && !is_foreign(name))
            .cloned()
            .collect();
        for name in unknown {
            let problem = match nearest(&name, self.seen.iter()) {
                Some(known) => format!("nothing reads this variable; did you mean {known}?"),
                None => "nothing reads this variable; unset it".to_owned(),
            };
            self.add(Origin::Environment(name), "", problem);
        }
    }
}

/// `storage.flush.method` is `QUIPU_STORAGE_FLUSH_METHOD`.
fn variable_of(key: &str) -> String {
    let upper = key.to_ascii_uppercase();
    format!("{PREFIX}{}", upper.replace(['.', '-'], "_"))
}

/// Keys with a name of the user's in them cannot be asked for before they are known: they are made from variables.
fn dynamic_keys(environment: &BTreeMap<String, String>, entries: &mut BTreeMap<String, Entry>) {
    for (name, value) in environment {
        let listener = name.strip_prefix("QUIPU_LISTENERS_").and_then(|rest| {
            let (listener, field) = rest.rsplit_once('_')?;
            let known = ["BIND", "ADVERTISED", "PROTOCOL"].contains(&field);
            let listener = listener.replace('_', "-");
            known.then(|| format!("listeners.{listener}.{field}").to_ascii_lowercase())
        });
        let default = name.strip_prefix("QUIPU_TOPIC_DEFAULTS_").map(|rest| {
            let config = rest.to_ascii_lowercase().replace('_', ".");
            format!("topic.defaults.{config}")
        });
        let Some(key) = listener.or(default) else { continue };
        let origin = Origin::Environment(name.clone());
        let written = Written::One(value.clone());
        entries.insert(key, Entry { origin, written });
    }
}

/// Whether a variable is another's: the command line's, a test's, or one that Kubernetes makes for a service that is
/// called quipu (`QUIPU_PORT_4600_TCP_ADDR`).
fn is_foreign(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let of_a_service = rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest == "PORT"
        || rest.ends_with("_PORT")
        || rest.contains("PORT_");
    NOT_OURS.contains(&name) || NOT_OURS_PREFIX.iter().any(|prefix| name.starts_with(prefix)) || of_a_service
}

/// The known name that goes on where this one ends, or that differs least, if few letters differ.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k String>) -> Option<&'k str> {
    let letters = |candidate: &str| match candidate.strip_prefix(name) {
        Some(rest) if rest.starts_with(['.', '_']) => 0,
        _ => distance(name, candidate),
    };
    let (letters, candidate) = known
        .map(|candidate| (letters(candidate), candidate.as_str()))
        .min()?;
    (letters <= 1 + name.len() / 5).then_some(candidate)
}

/// Levenshtein's: letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
