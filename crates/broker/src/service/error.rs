//! How a handler says that a call failed: short forms of [`quipu_proto::Failure`].

use quipu_proto::Failure;
use quipu_record::ErrorCode;
use tonic::Status;

/// A status that ends a whole call. The message is for a person: what was wrong and what to do.
pub fn status(code: ErrorCode, message: impl Into<String>) -> Status {
    Failure::new(code, message).into_status()
}
