//! Why a request about a group was refused.

use quipu_record::ErrorCode;

/// Why a request about a group was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Not the name of a group.
    #[error("a group's name has 1 to 249 bytes and no control characters")]
    InvalidGroup,
    /// There is no such group.
    #[error("there is no such group")]
    UnknownGroup,
    /// There is no such member.
    #[error("the group does not know this member: join anew; everything it had is lost")]
    UnknownMember,
    /// The member's epoch is not one that it can be in, or another stream speaks for it.
    #[error(
        "the member is not in this epoch, or speaks by another stream: join anew; everything it had is lost"
    )]
    FencedMemberEpoch,
    /// The partition is not the member's, or not since the epoch that it says.
    #[error("the partition is not this member's, or not since the epoch that it says")]
    StaleAssignment,
    /// Another member holds the instance id, and has not left.
    #[error("another member is there with this instance id and has not left")]
    UnreleasedInstance,
    /// Another member has taken the instance id.
    #[error("another member has taken this instance id")]
    FencedInstance,
    /// The client has opened a later stream for the member.
    #[error("a later stream of this member is there: this one is over for good, do not open it again")]
    SupersededStream,
    /// The stream has made later commits, and this one comes after them.
    #[error("a later commit of this stream was taken before: this one would undo it")]
    SupersededCommit,
    /// No such way of sharing out.
    #[error("there is no assignor {0:?}: use uniform or range")]
    UnsupportedAssignor(String),
    /// The group has as many members as it may.
    #[error("the group has {0} members, which is all that it may have (group.max.size)")]
    GroupFull(usize),
    /// The group has members.
    #[error("the group has members: stop them first")]
    GroupNotEmpty,
    /// The metadata of a commit is too long.
    #[error("the metadata of a commit has {0} bytes, more than 4,096")]
    MetadataTooLarge(usize),
    /// The topic or the partition is not there.
    #[error("there is no such topic or partition")]
    UnknownTopicOrPartition,
    /// A field of the request is wrong.
    #[error("{0}")]
    InvalidRequest(String),
    /// An offset of a request of which another one was refused: all or none are remembered.
    #[error("not remembered, as another offset of the request was refused")]
    WithOthers(ErrorCode),
    /// What the coordinator's host says, where the coordinator itself was not reached.
    #[error("{message}")]
    Host {
        /// Which error.
        code: ErrorCode,
        /// For a person.
        message: String,
    },
}

impl GroupError {
    /// [`GroupError::InvalidRequest`].
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRequest(message.into())
    }

    /// [`GroupError::Host`].
    #[must_use]
    pub fn host(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Host {
            code,
            message: message.into(),
        }
    }

    /// The code that tells a client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidGroup => ErrorCode::InvalidGroup,
            Self::UnknownGroup => ErrorCode::UnknownGroup,
            Self::UnknownMember => ErrorCode::UnknownMember,
            Self::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
            Self::StaleAssignment => ErrorCode::StaleAssignment,
            Self::UnreleasedInstance => ErrorCode::UnreleasedInstance,
            Self::FencedInstance => ErrorCode::FencedInstance,
            Self::SupersededStream | Self::SupersededCommit => ErrorCode::SupersededStream,
            Self::UnsupportedAssignor(_) => ErrorCode::UnsupportedAssignor,
            Self::GroupFull(_) => ErrorCode::GroupFull,
            Self::GroupNotEmpty => ErrorCode::GroupNotEmpty,
            Self::MetadataTooLarge(_) => ErrorCode::MetadataTooLarge,
            Self::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
            Self::InvalidRequest(_) => ErrorCode::InvalidRequest,
            Self::WithOthers(code) | Self::Host { code, .. } => *code,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        self.code().retryable()
    }
}
