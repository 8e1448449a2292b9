//! Every error that can reach a client: a stable number, a name, whether a retry helps, and its class of gRPC status.

use std::fmt;

/// How an error is said as a gRPC status when it ends a whole call (`docs/format.md`, errors).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusClass {
    /// `INVALID_ARGUMENT`: the request is wrong and stays wrong.
    InvalidArgument,
    /// `NOT_FOUND`.
    NotFound,
    /// `ALREADY_EXISTS`.
    AlreadyExists,
    /// `FAILED_PRECONDITION`: right request, wrong place or state; look at the details and go elsewhere.
    FailedPrecondition,
    /// `OUT_OF_RANGE`.
    OutOfRange,
    /// `ABORTED`: fenced by a newer epoch.
    Aborted,
    /// `UNAVAILABLE`: try again, here or elsewhere.
    Unavailable,
    /// `RESOURCE_EXHAUSTED`: slow down, or the disk is full.
    ResourceExhausted,
    /// `DEADLINE_EXCEEDED`: the outcome is unknown.
    DeadlineExceeded,
    /// `DATA_LOSS`: stored bytes are bad.
    DataLoss,
    /// `PERMISSION_DENIED`.
    PermissionDenied,
    /// `INTERNAL`: a bug of ours.
    Internal,
}

macro_rules! error_codes {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $wire:literal, $class:ident, $retry:literal; )*) => {
        /// What went wrong, as clients see it. The numbers are stable: never reused, equal to `quipu.v1.ErrorReason`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum ErrorCode { $( $(#[$doc])* $name = $code, )* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The name on the wire, as `ErrorInfo.reason` carries it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $wire, )* }
            }

            /// The class of gRPC status that says it.
            #[must_use]
            pub const fn status_class(self) -> StatusClass {
                match self { $( Self::$name => StatusClass::$class, )* }
            }

            /// Whether the same request may succeed later, with the same sequence if it has one.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $( Self::$name => $retry, )* }
            }

            /// From the number on the wire.
            #[must_use]
            pub const fn from_number(code: u16) -> Option<Self> {
                match code { $( $code => Some(Self::$name), )* _ => None }
            }
        }
    };
}

error_codes! {
    /// A bug in the broker; the message says where.
    Internal = 1, "INTERNAL", Internal, false;
    /// A field of the request is wrong; the message names it.
    InvalidRequest = 2, "INVALID_REQUEST", InvalidArgument, false;
    /// The bytes of a batch are not a batch, or their checksum does not match.
    CorruptBatch = 3, "CORRUPT_BATCH", InvalidArgument, false;
    /// A batch is larger than `max.message.bytes`, compressed or decoded.
    BatchTooLarge = 4, "BATCH_TOO_LARGE", InvalidArgument, false;
    /// A codec that Quipu does not take; the message names it.
    UnsupportedCodec = 5, "UNSUPPORTED_CODEC", InvalidArgument, false;
    /// A record's timestamp lies outside `message.timestamp.before.max.ms` and `.after.max.ms`.
    InvalidTimestamp = 6, "INVALID_TIMESTAMP", InvalidArgument, false;
    /// A topic name, partition count, config key or value is not allowed; the message says why.
    InvalidTopic = 7, "INVALID_TOPIC", InvalidArgument, false;
    /// A config key nobody knows, or a value outside its limits.
    InvalidConfig = 8, "INVALID_CONFIG", InvalidArgument, false;
    /// No topic of this name, or no such partition in it.
    UnknownTopicOrPartition = 9, "UNKNOWN_TOPIC_OR_PARTITION", NotFound, false;
    /// The name is there but its id is another: the topic was deleted and created again.
    UnknownTopicId = 10, "UNKNOWN_TOPIC_ID", NotFound, false;
    /// A topic of this name exists.
    TopicAlreadyExists = 11, "TOPIC_ALREADY_EXISTS", AlreadyExists, false;
    /// This broker does not lead the partition; the leader is named where it is known.
    NotLeader = 12, "NOT_LEADER", FailedPrecondition, true;
    /// The partition has no leader now.
    LeaderNotAvailable = 13, "LEADER_NOT_AVAILABLE", Unavailable, true;
    /// The request's leader epoch is older than the leader's.
    FencedLeaderEpoch = 14, "FENCED_LEADER_EPOCH", Aborted, true;
    /// The request's leader epoch is newer than this broker knows.
    UnknownLeaderEpoch = 15, "UNKNOWN_LEADER_EPOCH", Unavailable, true;
    /// Fewer replicas in sync than `min.insync.replicas`; nothing was appended.
    NotEnoughReplicas = 16, "NOT_ENOUGH_REPLICAS", Unavailable, true;
    /// Appended, but the in-sync replicas fell below `min.insync.replicas` before it was acknowledged.
    NotEnoughReplicasAfterAppend = 17, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Unavailable, true;
    /// The time ran out; whether the write happened is unknown.
    RequestTimedOut = 18, "REQUEST_TIMED_OUT", DeadlineExceeded, true;
    /// The broker is shutting down.
    ShuttingDown = 19, "SHUTTING_DOWN", Unavailable, true;
    /// The broker is starting, or has no metadata yet.
    NotReady = 20, "NOT_READY", Unavailable, true;
    /// The disk is full; reads and deletions go on.
    StorageFull = 21, "STORAGE_FULL", ResourceExhausted, true;
    /// The disk failed; the broker is going down.
    StorageFailed = 22, "STORAGE_FAILED", Unavailable, true;
    /// Stored bytes are bad, and are not served; the message names file and offset.
    CorruptLog = 23, "CORRUPT_LOG", DataLoss, false;
    /// The offset lies below the log start or above the high watermark.
    OffsetOutOfRange = 24, "OFFSET_OUT_OF_RANGE", OutOfRange, false;
    /// A new leader does not yet know its high watermark.
    OffsetNotAvailable = 25, "OFFSET_NOT_AVAILABLE", Unavailable, true;
    /// A newer epoch of this producer id exists.
    InvalidProducerEpoch = 26, "INVALID_PRODUCER_EPOCH", Aborted, false;
    /// The sequence is not the next one.
    OutOfOrderSequence = 27, "OUT_OF_ORDER_SEQUENCE", FailedPrecondition, false;
    /// The partition does not know this producer, and the sequence is not 0.
    UnknownProducer = 28, "UNKNOWN_PRODUCER", FailedPrecondition, false;
    /// An older batch than the last five was repeated: it was appended, at an offset no longer remembered.
    DuplicateSequence = 29, "DUPLICATE_SEQUENCE", AlreadyExists, false;
    /// Too much is waiting; slow down.
    Throttled = 30, "THROTTLED", ResourceExhausted, true;
    /// `expected_version` is not the present version.
    VersionMismatch = 31, "VERSION_MISMATCH", Aborted, false;
    /// The principal may not do this.
    Unauthorized = 32, "UNAUTHORIZED", PermissionDenied, false;
    /// Not enough brokers for the replication factor.
    InvalidReplicationFactor = 33, "INVALID_REPLICATION_FACTOR", InvalidArgument, false;
    /// The controllers have no quorum.
    NoQuorum = 34, "NO_QUORUM", Unavailable, true;
    /// This topic is internal to the cluster.
    InternalTopic = 35, "INTERNAL_TOPIC", FailedPrecondition, false;
    /// This controller is not the active one; the active one is named where it is known.
    NotController = 36, "NOT_CONTROLLER", FailedPrecondition, true;
    /// This broker does not coordinate the group; the coordinator is named where it is known.
    NotCoordinator = 37, "NOT_COORDINATOR", FailedPrecondition, true;
    /// The group's coordinator is not there, or cannot vouch for what it says.
    CoordinatorNotAvailable = 38, "COORDINATOR_NOT_AVAILABLE", Unavailable, true;
    /// The coordinator is still reading what the group has stored.
    CoordinatorLoading = 39, "COORDINATOR_LOADING", Unavailable, true;
    /// There is no such group.
    UnknownGroup = 40, "UNKNOWN_GROUP", NotFound, false;
    /// The name of a group is empty, too long or has a character that it must not have.
    InvalidGroup = 41, "INVALID_GROUP", InvalidArgument, false;
    /// The group does not know this member: it joins anew, and has lost everything it had.
    UnknownMember = 42, "UNKNOWN_MEMBER", Aborted, false;
    /// The member is behind or ahead of what the group knows: it joins anew, and has lost everything it had.
    FencedMemberEpoch = 43, "FENCED_MEMBER_EPOCH", Aborted, false;
    /// The partition is not this member's, or not since the epoch that it says (KIP-1251).
    StaleAssignment = 44, "STALE_ASSIGNMENT", Aborted, false;
    /// Another member is there with this instance id, and has not left.
    UnreleasedInstance = 45, "UNRELEASED_INSTANCE", FailedPrecondition, true;
    /// Another member has taken this instance id.
    FencedInstance = 46, "FENCED_INSTANCE", Aborted, false;
    /// No such way of sharing out partitions.
    UnsupportedAssignor = 47, "UNSUPPORTED_ASSIGNOR", InvalidArgument, false;
    /// The group has as many members as it may.
    GroupFull = 48, "GROUP_FULL", ResourceExhausted, false;
    /// The group has members, and what was asked is for one without.
    GroupNotEmpty = 49, "GROUP_NOT_EMPTY", FailedPrecondition, false;
    /// The metadata of a commit is too long.
    MetadataTooLarge = 50, "METADATA_TOO_LARGE", InvalidArgument, false;
    /// A later stream of this member is there: this one is over for good, and is not to be opened again.
    SupersededStream = 51, "SUPERSEDED_STREAM", Aborted, false;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
