//! Events about consumers: what they are to read, what they own, how far they are.

use super::log::is_false;
use super::names::{Group, Key, Member, Topic};
use super::numbers::offset;
use quipu_record::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Counts the targets that a group has needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupEpoch(pub u32);

impl fmt::Display for GroupEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a member has followed its group. An assignment epoch is the member epoch in which it got a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberEpoch(pub u32);

impl fmt::Display for MemberEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A commit's name, unique in its history: it stands in the metadata that is committed with the offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub u64);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A consumer takes these partitions and no others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assign {
    /// Which.
    pub keys: Vec<Key>,
    /// Whether it goes to their beginning; else it goes on where it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub from_beginning: bool,
}

/// A consumer leaves to its group which partitions it reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    /// Its group.
    pub group: Group,
    /// Of which topics.
    pub topics: Vec<Topic>,
}

/// A commit of an offset, by a member or, without one, by hand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// For which group.
    pub group: Group,
    /// For which partition.
    pub key: Key,
    /// The offset.
    #[serde(with = "offset")]
    pub offset: Offset,
    /// The commit's name.
    pub id: CommitId,
    /// Who commits, and in which epoch it believes itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Committer>,
    /// In a `fail`: it was refused because the partition is not the member's, or not in that epoch.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fenced: bool,
}

/// A member that commits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Committer {
    /// Who.
    pub member: Member,
    /// The epoch it believes itself in.
    pub member_epoch: MemberEpoch,
}

/// A read of what was committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// For which group.
    pub group: Group,
    /// For which partition.
    pub key: Key,
    /// The answer: the offset, and which commit it was; absent in an `ok`: nothing is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundCommit>,
}

/// What a read of a committed offset found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FoundCommit {
    /// The offset.
    #[serde(with = "offset")]
    pub offset: Offset,
    /// The name in its metadata; `None`: it has none that a commit of this history has.
    pub id: Option<CommitId>,
}

/// A member learns that a partition is its own. A mark: it may fall into an operation of the same process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owned {
    /// In which group.
    pub group: Group,
    /// Who.
    pub member: Member,
    /// Which partition.
    pub key: Key,
    /// The member epoch in which it got the partition.
    pub assignment_epoch: MemberEpoch,
    /// The epoch it is in now.
    pub member_epoch: MemberEpoch,
    /// The group's epoch, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_epoch: Option<GroupEpoch>,
}

/// A member has a partition no more: told before it gives it up, or after it learned that it lost it. A client that is
/// dropped tells it of all it had. A mark, like [`Owned`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Released {
    /// In which group.
    pub group: Group,
    /// Who.
    pub member: Member,
    /// Which partition.
    pub key: Key,
    /// Whether it was taken from it: it may have been somebody else's for a while.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lost: bool,
}

/// A member learns the epoch it is in now (what it owns stays): commits up to it are rightful. A mark, like [`Owned`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Advanced {
    /// In which group.
    pub group: Group,
    /// Who.
    pub member: Member,
    /// The epoch it is in now.
    pub member_epoch: MemberEpoch,
    /// The group's epoch, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_epoch: Option<GroupEpoch>,
}
