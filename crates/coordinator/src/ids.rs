//! Names and counters of groups.

use crate::GroupError;
use std::fmt;
use std::sync::Arc;

/// Bytes of a group's name at most.
pub const GROUP_LEN_MAX: usize = 249;
/// Characters of a member's id at most.
pub const MEMBER_LEN_MAX: usize = 64;
/// Bytes of an instance's id at most.
pub const INSTANCE_LEN_MAX: usize = 249;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

name! {
    /// The name of a group.
    GroupId
}
name! {
    /// A member of a group; made by the client, the same for the life of its process.
    MemberId
}
name! {
    /// A static member: an id that outlives the process.
    InstanceId
}

fn fits(text: &str, bytes: usize) -> bool {
    !text.is_empty() && text.len() <= bytes && !text.chars().any(char::is_control)
}

impl GroupId {
    /// Checks a name: 1 to 249 bytes without control characters.
    ///
    /// # Errors
    /// [`GroupError::InvalidGroup`].
    pub fn new(text: &str) -> Result<Self, GroupError> {
        fits(text, GROUP_LEN_MAX)
            .then(|| Self(text.into()))
            .ok_or(GroupError::InvalidGroup)
    }
}

impl MemberId {
    /// Checks an id: 1 to 64 characters, no control characters.
    ///
    /// # Errors
    /// [`GroupError::InvalidRequest`].
    pub fn new(text: &str) -> Result<Self, GroupError> {
        if fits(text, MEMBER_LEN_MAX * 4) && text.chars().count() <= MEMBER_LEN_MAX {
            return Ok(Self(text.into()));
        }
        Err(GroupError::invalid(
            "member_id: 1 to 64 characters, no control characters",
        ))
    }
}

impl InstanceId {
    /// Checks an id: 1 to 249 bytes without control characters.
    ///
    /// # Errors
    /// [`GroupError::InvalidRequest`].
    pub fn new(text: &str) -> Result<Self, GroupError> {
        if fits(text, INSTANCE_LEN_MAX) {
            return Ok(Self(text.into()));
        }
        Err(GroupError::invalid(
            "instance_id: 1 to 249 bytes, no control characters",
        ))
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// Wraps a value that the caller has checked.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The bare integer, for encoding.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

counter! {
    /// Grows whenever a group needs a new target assignment.
    GroupEpoch(u32)
}
counter! {
    /// The group epoch that a member's assignment was made for, as the member was told. Grows before anything is taken
    /// from it, so that an answer in an epoch proves that its assignment was seen.
    MemberEpoch(u32)
}
counter! {
    /// The member epoch in which its present owner got a partition (KIP-1251).
    AssignmentEpoch(u32)
}
counter! {
    /// Names one stream that speaks for a member; random.
    StreamId(u64)
}
counter! {
    /// Counts the streams that a client opens for one member: of two the greater speaks for it.
    StreamNumber(u64)
}
counter! {
    /// Counts the commits of one stream: one that is tried again keeps its number.
    CommitNumber(u64)
}
counter! {
    /// The caller's name for a request; comes back with its answer.
    RequestToken(u64)
}

impl GroupEpoch {
    /// Before anything: no member ever was.
    pub const ZERO: Self = Self(0);

    /// The next epoch; stops at the last.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl From<GroupEpoch> for MemberEpoch {
    fn from(epoch: GroupEpoch) -> Self {
        Self(epoch.0)
    }
}

impl From<MemberEpoch> for AssignmentEpoch {
    fn from(epoch: MemberEpoch) -> Self {
        Self(epoch.0)
    }
}
