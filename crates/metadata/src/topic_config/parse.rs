//! From Kafka's names and notation to stored values and back; every mistake is named, not only the first.

use super::{CONFIGS, CONFIGS_NOT_HERE, ConfigKey, ConfigKind, ConfigSpec, RATIO_ONE, TopicConfig};
use crate::FeatureLevel;

/// What is wrong with one config of a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigMistake {
    /// Nobody knows this key.
    #[error("unknown config {key:?}; the nearest known is {nearest:?}")]
    Unknown {
        /// As given.
        key: String,
        /// The known name that is most like it.
        nearest: &'static str,
    },
    /// Kafka has this key, Quipu does not.
    #[error("config {key:?} is not supported: {instead}")]
    NotHere {
        /// As given.
        key: String,
        /// Why, and what to do.
        instead: &'static str,
    },
    /// The key needs a newer feature level than the cluster is at.
    #[error(
        "config {key} needs feature level {needs}, and the cluster is at {at}: raise it once every broker is upgraded"
    )]
    TooNew {
        /// The key.
        key: &'static str,
        /// The level it needs.
        needs: FeatureLevel,
        /// The cluster's level.
        at: FeatureLevel,
    },
    /// The value is not of the key's kind or outside its limits.
    #[error("config {key}={value:?} is not allowed: {why}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// What it may be.
        why: String,
    },
    /// The key is named twice.
    #[error("config {key} is given more than once")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// The key is fixed when the topic is created.
    #[error("config {key} is fixed when the topic is created; create a new topic to have another value")]
    Immutable {
        /// The key.
        key: &'static str,
    },
    /// More in-sync replicas asked for than there are replicas.
    #[error("config min.insync.replicas={asked} is above the replication factor {replicas}")]
    MinInsyncAboveReplicas {
        /// What was asked.
        asked: i64,
        /// How many replicas the topic has.
        replicas: usize,
    },
}

/// What to change in a topic's configs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigChange {
    /// Keys and values to set.
    pub set: Vec<(String, String)>,
    /// Keys to put back to their defaults.
    pub unset: Vec<String>,
}

/// More than half: `min.insync.replicas` when not given.
pub(crate) fn majority(replicas: usize) -> i64 {
    i64::try_from(replicas / 2 + 1).unwrap_or(i64::MAX)
}

impl ConfigChange {
    /// The configs after this change; `before` is `None` for a topic that is being created.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn apply(
        &self,
        before: Option<&TopicConfig>,
        replicas: usize,
        level: FeatureLevel,
    ) -> Result<TopicConfig, Vec<ConfigMistake>> {
        let mut mistakes = Vec::new();
        let mut seen: Vec<ConfigKey> = Vec::new();
        let mut pairs = before.map_or_else(Vec::new, |config| config.raw().to_vec());
        let changes = self.set.iter().map(|(key, value)| (key, Some(value)));
        for (key, value) in changes.chain(self.unset.iter().map(|key| (key, None))) {
            match one_change(key, value, before, &mut seen, level) {
                Ok((key, value)) => {
                    pairs.retain(|(k, _)| *k != key);
                    pairs.extend(value.map(|value| (key, value)));
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        match pairs.iter().find(|(key, _)| *key == ConfigKey::MinInsyncReplicas) {
            None => pairs.push((ConfigKey::MinInsyncReplicas, majority(replicas))),
            Some((key, asked)) => {
                if seen.contains(key) && usize::try_from(*asked).is_ok_and(|asked| asked > replicas) {
                    mistakes.push(ConfigMistake::MinInsyncAboveReplicas {
                        asked: *asked,
                        replicas,
                    });
                }
            }
        }
        if mistakes.is_empty() {
            Ok(TopicConfig::from_raw(pairs))
        } else {
            Err(mistakes)
        }
    }
}

fn one_change(
    key: &str,
    value: Option<&String>,
    before: Option<&TopicConfig>,
    seen: &mut Vec<ConfigKey>,
    level: FeatureLevel,
) -> Result<(ConfigKey, Option<i64>), ConfigMistake> {
    let spec = find(key)?;
    if spec.since > level {
        return Err(ConfigMistake::TooNew {
            key: spec.name,
            needs: spec.since,
            at: level,
        });
    }
    if seen.contains(&spec.key) {
        return Err(ConfigMistake::Twice { key: spec.name });
    }
    seen.push(spec.key);
    let parsed = value.map(|value| parse(spec, value)).transpose()?;
    if let (true, Some(before)) = (spec.immutable, before) {
        // Saying what already holds is no change.
        let after = parsed.or_else(|| spec.default_raw());
        if after != Some(before.value(spec.key)) {
            return Err(ConfigMistake::Immutable { key: spec.name });
        }
    }
    Ok((spec.key, parsed))
}

fn find(name: &str) -> Result<&'static ConfigSpec, ConfigMistake> {
    if let Some(key) = ConfigKey::from_name(name) {
        return Ok(key.spec());
    }
    // A key of any length may come in: the message holds no more than a name's worth of it.
    let key: String = name.chars().take(100).collect();
    if let Some((_, instead)) = CONFIGS_NOT_HERE.iter().find(|(known, _)| *known == name) {
        return Err(ConfigMistake::NotHere { key, instead });
    }
    let nearest = CONFIGS
        .iter()
        .min_by_key(|spec| distance(&key, spec.name))
        .map_or("", |spec| spec.name);
    Err(ConfigMistake::Unknown { key, nearest })
}

fn parse(spec: &'static ConfigSpec, text: &str) -> Result<i64, ConfigMistake> {
    let bad = |why: String| ConfigMistake::BadValue {
        key: spec.name,
        value: text.chars().take(100).collect(),
        why,
    };
    match spec.kind {
        ConfigKind::Integer { min, max, .. } => match text.trim().parse::<i64>() {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            Ok(_) => Err(bad(format!("it must lie between {min} and {max}"))),
            Err(_) => Err(bad(format!("it must be a whole number between {min} and {max}"))),
        },
        ConfigKind::Boolean { .. } => match text.trim() {
            "true" => Ok(1),
            "false" => Ok(0),
            _ => Err(bad("it must be true or false".to_owned())),
        },
        ConfigKind::Ratio { .. } => {
            parse_ratio(text.trim()).ok_or_else(|| bad("it must be a decimal number from 0 to 1".to_owned()))
        }
        ConfigKind::Word { words, refused, .. } => {
            let text = text.trim();
            if let Some(index) = words.iter().position(|word| same_list(word, text)) {
                return i64::try_from(index).map_err(|_| bad(String::new()));
            }
            match refused.iter().find(|(word, _)| *word == text) {
                Some((_, why)) => Err(bad((*why).to_owned())),
                None => Err(bad(format!("it must be {}", words.join(" or ")))),
            }
        }
    }
}

/// Whether two words, or lists of words, have the same parts.
fn same_list(word: &str, text: &str) -> bool {
    let parts = |list: &str| {
        let mut parts: Vec<String> = list.split(',').map(|part| part.trim().to_owned()).collect();
        parts.sort_unstable();
        parts
    };
    parts(word) == parts(text)
}

/// A decimal from 0 to 1, with at most six digits after the point.
fn parse_ratio(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.len() > 1 || part.len() > 6 {
        return None;
    }
    let raw = whole.parse::<i64>().ok()? * RATIO_ONE + format!("{part:0<6}").parse::<i64>().ok()?;
    (raw <= RATIO_ONE).then_some(raw)
}

fn show_ratio(raw: i64) -> String {
    let text = format!("{}.{:06}", raw / RATIO_ONE, raw % RATIO_ONE);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') {
        format!("{short}0")
    } else {
        short.to_owned()
    }
}

/// A stored value in Kafka's notation.
pub(super) fn display(spec: &ConfigSpec, raw: i64) -> String {
    match spec.kind {
        ConfigKind::Integer { .. } => raw.to_string(),
        ConfigKind::Boolean { .. } => (raw != 0).to_string(),
        ConfigKind::Ratio { .. } => show_ratio(raw),
        ConfigKind::Word { words, .. } => {
            let word = usize::try_from(raw).ok().and_then(|index| words.get(index));
            word.map_or_else(|| raw.to_string(), |word| (*word).to_owned())
        }
    }
}

/// How many letters must be added, dropped or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
