//! What can be configured.

use std::time::Duration;

/// Settings of groups; the same on every broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// Silence after which a member is gone, unless it says otherwise.
    pub session_timeout: Duration,
    /// The least session timeout that a member may ask for; less is raised to it.
    pub session_timeout_min: Duration,
    /// The greatest; more is lowered to it.
    pub session_timeout_max: Duration,
    /// How often a member is heard at least; a quarter of its session if that is less.
    pub heartbeat_interval: Duration,
    /// How long a member may take to give partitions up, unless it says otherwise.
    pub revocation_timeout: Duration,
    /// The greatest revocation timeout; more is lowered to it.
    pub revocation_timeout_max: Duration,
    /// The longest that a heartbeat waits; more is lowered to it. Never more than a third of the session.
    pub max_wait: Duration,
    /// Members of a group at most.
    pub group_max_size: usize,
    /// Targets of one group are made at most this often; the first change after a pause at once.
    pub assignment_interval: Duration,
    /// How long the offsets of a group are kept after its last member went.
    pub offsets_retention: Duration,
    /// How long before that a group is named by [`crate::Coordinator::expiring`].
    pub expiry_warning: Duration,
    /// How often is looked for what has expired.
    pub expiry_interval: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            session_timeout_min: Duration::from_secs(1),
            session_timeout_max: Duration::from_secs(30 * 60),
            heartbeat_interval: Duration::from_secs(5),
            revocation_timeout: Duration::from_secs(60),
            revocation_timeout_max: Duration::from_secs(60 * 60),
            max_wait: Duration::from_secs(15),
            group_max_size: 2_000,
            assignment_interval: Duration::from_millis(200),
            offsets_retention: DAY * 7,
            expiry_warning: DAY,
            expiry_interval: Duration::from_secs(10 * 60),
        }
    }
}
