//! What may be how large, and what a topic may be called.

use crate::ErrorCode;
use thiserror::Error;

/// Characters of a topic's name at most. Kafka's limit: a directory `<name>-<partition>` had to fit a file name of
/// 255 bytes, leaving 249 (`org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_LEN_MAX: usize = 249;

/// `max.message.bytes` unless configured: a mebibyte. (Kafka's default is 12 bytes more, a log overhead of older formats.)
pub const MESSAGE_BYTES_DEFAULT: usize = 1024 * 1024;

/// Why a name cannot be a topic's.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// Nothing at all.
    #[error("a topic's name is not empty: use 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'")]
    Empty,
    /// `.` or `..`.
    #[error("a topic cannot be called {0:?}: file systems have their own meaning for it")]
    Dots(String),
    /// More than [`TOPIC_NAME_LEN_MAX`].
    #[error("the topic's name has {0} characters, more than the 249 allowed")]
    TooLong(usize),
    /// A character outside the set.
    #[error(
        "the topic's name has a {found:?} at position {position}: use only a-z, A-Z, 0-9, '.', '_' and '-'"
    )]
    BadCharacter {
        /// The character.
        found: char,
        /// Its place, from 0, in characters.
        position: usize,
    },
}

impl TopicNameError {
    /// The code that tells a client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::InvalidTopic
    }
}

/// Checks a topic's name by Kafka's rules (`org.apache.kafka.common.internals.Topic.validate`).
///
/// # Errors
/// [`TopicNameError`] says what is wrong.
pub fn check_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots(name.to_owned()));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((position, found)) = name.chars().enumerate().find(|(_, c)| !legal(*c)) {
        return Err(TopicNameError::BadCharacter { found, position });
    }
    if name.len() > TOPIC_NAME_LEN_MAX {
        return Err(TopicNameError::TooLong(name.len()));
    }
    Ok(())
}
