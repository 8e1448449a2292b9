//! What the SDK's errors mean to whoever typed the command: what to do next.

use crate::broker_process::SpawnError;
use crate::output::Failure;
use crate::text::InputError;
use quipu_client::{
    CallError, CloseError, CommitError, ConfigError, ConnectError, ConsumeError, DeliveryError, ErrorCode,
    FlushError, GroupError, SendError,
};

const START_A_BROKER: &str =
    "start a broker with `quipu dev`, or say where one is with --bootstrap host:port or QUIPU_BOOTSTRAP";

/// What helps against an error of this code, where something is known to.
fn remedy(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "`quipu topic list` shows what there is, `quipu topic create NAME` makes a topic"
        }
        ErrorCode::TopicAlreadyExists => {
            "`quipu topic describe NAME` shows it; --if-not-exists is content with it"
        }
        ErrorCode::InvalidConfig => "`quipu topic describe NAME` lists every config with its present value",
        ErrorCode::VersionMismatch => {
            "someone else changed it: look at it again with `quipu topic describe NAME`"
        }
        ErrorCode::OffsetOutOfRange => {
            "--from beginning, or --reset earliest, reads from the oldest record there is"
        }
        ErrorCode::CorruptLog => {
            "`quipu cluster check` names file and offset, `quipu log verify` reads it offline"
        }
        ErrorCode::StorageFull => {
            "make room: `quipu topic delete-records`, a shorter retention, or a larger disk"
        }
        ErrorCode::BatchTooLarge => "`quipu topic alter NAME --config max.message.bytes=N` takes larger ones",
        ErrorCode::NotReady
        | ErrorCode::NoQuorum
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoading => "`quipu cluster check` says what is wrong",
        ErrorCode::UnknownGroup => "`quipu group list` shows what there is",
        ErrorCode::GroupNotEmpty => {
            "stop its members first: `quipu group describe NAME --members` shows who and where they are"
        }
        ErrorCode::GroupFull => "`quipu group describe NAME --members` shows who is in it",
        ErrorCode::FencedInstance | ErrorCode::UnreleasedInstance => {
            "give each process an --instance-id of its own, or none"
        }
        _ => return None,
    })
}

fn with_remedy(failure: Failure, code: ErrorCode) -> Failure {
    match remedy(code) {
        Some(next) => failure.next(next),
        None => failure,
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Unreachable { .. } => Self::new(&error).next(START_A_BROKER),
            ConnectError::Config(_) => Self::usage(&error),
            _ => with_remedy(Self::new(&error), error.code()),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Unreachable { .. } => Self::new(&error).next(START_A_BROKER),
            _ => with_remedy(Self::new(&error), error.code()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(&error)
    }
}

macro_rules! with_code {
    ($($error:ty),*) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                with_remedy(Self::new(&error), error.code())
            }
        }
    )* };
}

with_code!(
    SendError,
    DeliveryError,
    FlushError,
    ConsumeError,
    GroupError,
    CommitError,
    CloseError
);

macro_rules! plain {
    ($($error:ty),*) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(&error)
            }
        }
    )* };
}

plain!(SpawnError, InputError, crate::demo::flights::FlightsError);
