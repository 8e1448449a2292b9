//! From an [`ErrorCode`] to what a client sees: a gRPC status with details, or an error in a reply's body.

use quipu_proto::v1;
use quipu_record::{ErrorCode, StatusClass};
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `google.rpc.ErrorInfo` of ours.
pub const ERROR_DOMAIN: &str = "quipu";
/// How long a client is told to wait before it tries again what may succeed soon.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The gRPC code of a class.
#[must_use]
pub const fn grpc_code(class: StatusClass) -> Code {
    match class {
        StatusClass::InvalidArgument => Code::InvalidArgument,
        StatusClass::NotFound => Code::NotFound,
        StatusClass::AlreadyExists => Code::AlreadyExists,
        StatusClass::FailedPrecondition => Code::FailedPrecondition,
        StatusClass::OutOfRange => Code::OutOfRange,
        StatusClass::Aborted => Code::Aborted,
        StatusClass::Unavailable => Code::Unavailable,
        StatusClass::ResourceExhausted => Code::ResourceExhausted,
        StatusClass::DeadlineExceeded => Code::DeadlineExceeded,
        StatusClass::DataLoss => Code::DataLoss,
        StatusClass::PermissionDenied => Code::PermissionDenied,
        StatusClass::Internal => Code::Internal,
    }
}

/// The number of a code in `quipu.v1.ErrorReason`.
#[must_use]
pub const fn reason(code: ErrorCode) -> i32 {
    code as i32
}

/// A status that ends a whole call. The message is for a person: what was wrong and what to do.
pub fn status(code: ErrorCode, message: impl Into<String>) -> Status {
    status_with(code, message, HashMap::new())
}

/// As [`status`], with facts for a program: the leader's endpoint and epoch, a topic's id.
pub fn status_with(code: ErrorCode, message: impl Into<String>, facts: HashMap<String, String>) -> Status {
    let mut details = ErrorDetails::with_error_info(code.name(), ERROR_DOMAIN, facts);
    if code.retryable() {
        details.set_retry_info(Some(RETRY_DELAY));
    }
    Status::with_error_details(grpc_code(code.status_class()), message, details)
}

/// What went wrong with one item of a request, for a reply's body.
pub fn item(code: ErrorCode, message: impl Into<String>) -> v1::ItemError {
    v1::ItemError {
        reason: reason(code),
        message: message.into(),
        retryable: code.retryable(),
        retry_after_ms: 0,
        leader: None,
    }
}

/// As [`item`], with where the leader is.
pub fn item_with_leader(
    code: ErrorCode,
    message: impl Into<String>,
    leader: Option<v1::LeaderHint>,
) -> v1::ItemError {
    v1::ItemError {
        leader,
        ..item(code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_number_and_name_in_the_contract() {
        for code in ErrorCode::ALL {
            let wire = v1::ErrorReason::try_from(reason(*code)).unwrap();
            assert_eq!(wire.as_str_name(), format!("ERROR_REASON_{}", code.name()));
        }
        // Every reason but UNSPECIFIED has a code.
        let reasons = (1..1000)
            .filter(|n| v1::ErrorReason::try_from(*n).is_ok())
            .count();
        assert_eq!(reasons, ErrorCode::ALL.len());
    }

    #[test]
    fn a_status_carries_reason_domain_and_when_to_retry() {
        let status = status(ErrorCode::NotReady, "starting");
        assert_eq!(status.code(), Code::Unavailable);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("NOT_READY", "quipu")
        );
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_DELAY));

        let status = super::status(ErrorCode::InvalidTopic, "no");
        assert!(status.get_error_details().retry_info().is_none());
    }
}
