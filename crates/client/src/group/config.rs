//! How a member of a group consumes.

use crate::config::ConfigError;
use crate::consumer::{Reset, Start};
use std::time::Duration;

/// Who says how far a member has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CommitMode {
    /// The consumer: what [`GroupConsumer::next`](crate::GroupConsumer::next) handed out counts as processed with the
    /// next call, and is committed every [`GroupConfig::auto_commit_interval`], before a partition is given up and at the
    /// close. What was only delivered is never committed.
    #[default]
    Auto,
    /// The application, by [`GroupConsumer::commit_sync`](crate::GroupConsumer::commit_sync) and its kin.
    Manual,
}

/// How partitions are shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Assignor {
    /// Evenly over all topics, moving as few as can be.
    #[default]
    Uniform,
    /// Topic by topic, in ranges: partitions of one number of topics alike go to one member.
    Range,
}

impl Assignor {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }
}

/// How a member of a group consumes.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub group: String,
    /// Topics by name; those that do not exist yet are taken up when they do.
    pub topics: Vec<String>,
    /// A regular expression that whole names of topics match.
    pub topic_pattern: Option<String>,
    /// Static membership: an id that outlives the process. A member that closes and comes back with the same id within the
    /// session timeout finds its partitions as it left them.
    pub instance_id: Option<String>,
    /// Where this client is; partitions with a replica there are preferred.
    pub rack: Option<String>,
    /// How partitions are shared out.
    pub assignor: Assignor,
    /// Where to begin in a partition of which nothing was committed.
    pub start: Start,
    /// What to do when what was to be read is gone.
    pub reset: Reset,
    /// Who commits.
    pub commit: CommitMode,
    /// How often ([`CommitMode::Auto`]).
    pub auto_commit_interval: Duration,
    /// Without a sign of life for so long a member is gone.
    pub session_timeout: Duration,
    /// A partition that is to be given up is taken after so long.
    pub revocation_timeout: Duration,
    /// How long a commit may take, repetitions included.
    pub commit_timeout: Duration,
    /// Bytes at most that are sent ahead of what the application was given.
    pub window_bytes: usize,
    /// Bytes of one message at most; a larger batch comes whole.
    pub frame_bytes: usize,
    /// Bytes at most that one batch may decompress to.
    pub decoded_bytes_max: usize,
}

impl GroupConfig {
    /// A member of this group, with the defaults. It needs topics or a pattern besides.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            topics: Vec::new(),
            topic_pattern: None,
            instance_id: None,
            rack: None,
            assignor: Assignor::Uniform,
            start: Start::Earliest,
            reset: Reset::None,
            commit: CommitMode::Auto,
            auto_commit_interval: Duration::from_secs(1),
            session_timeout: Duration::from_secs(45),
            revocation_timeout: Duration::from_secs(60),
            commit_timeout: Duration::from_secs(30),
            window_bytes: 16 * 1024 * 1024,
            frame_bytes: 1024 * 1024,
            decoded_bytes_max: 64 * 1024 * 1024,
        }
    }

    /// The same, consuming these topics.
    #[must_use]
    pub fn with_topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// The same, consuming all topics whose whole name matches.
    #[must_use]
    pub fn with_topic_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.topic_pattern = Some(pattern.into());
        self
    }

    /// The same, with an id that outlives the process.
    #[must_use]
    pub fn with_instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.instance_id = Some(instance_id.into());
        self
    }

    /// The same, in this rack.
    #[must_use]
    pub fn with_rack(mut self, rack: impl Into<String>) -> Self {
        self.rack = Some(rack.into());
        self
    }

    /// The same, beginning there where nothing was committed.
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The same, committed by whom.
    #[must_use]
    pub fn with_commit(mut self, commit: CommitMode) -> Self {
        self.commit = commit;
        self
    }

    /// The same, gone after so long without a sign of life.
    #[must_use]
    pub fn with_session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// The same, with so much time to give a partition up.
    #[must_use]
    pub fn with_revocation_timeout(mut self, timeout: Duration) -> Self {
        self.revocation_timeout = timeout;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem: &str| {
            Err(ConfigError {
                field,
                problem: problem.to_owned(),
            })
        };
        if self.group.is_empty() {
            return wrong("group", "it is empty: give the group a name");
        }
        if self.topics.is_empty() && self.topic_pattern.is_none() {
            return wrong("topics", "nothing to consume: give topics or a topic_pattern");
        }
        if self.session_timeout.is_zero() {
            return wrong("session_timeout", "it is 0: give some seconds");
        }
        Ok(())
    }
}
