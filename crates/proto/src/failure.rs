//! What went wrong, between the broker's errors and the wire: one item of a request ([`v1::ItemError`]) or a whole
//! call ([`tonic::Status`] with `google.rpc.ErrorInfo` and `RetryInfo`).

use crate::v1;
use quipu_record::{BrokerId, ErrorCode, LeaderEpoch, StatusClass};
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` that a broker sends.
pub const ERROR_DOMAIN: &str = "quipu";

/// A status travels in header fields, which are bounded: a longer message is cut.
const STATUS_MESSAGE_MAX: usize = 1500;

/// Nobody is believed who asks for more patience: what comes over a network may be any number, and clocks have an end.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

const LEADER_BROKER: &str = "leader_broker_id";
const LEADER_ENDPOINT: &str = "leader_endpoint";
const LEADER_EPOCH: &str = "leader_epoch";
const RETRYABLE: &str = "retryable";

/// Where the leader of a partition is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// The broker.
    pub broker: BrokerId,
    /// Its host:port, on the listener that the client came in by.
    pub endpoint: String,
    /// The leader epoch that this is true for: to be taken only if no newer one is known.
    pub epoch: LeaderEpoch,
}

/// What went wrong, as both sides of the wire know it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// Which error; [`ErrorCode::Internal`] for a number that a newer broker sent.
    pub code: ErrorCode,
    /// For a person: what was wrong and what to do.
    pub message: String,
    /// Whether the same request may succeed later, with the same sequence if it has one. Follows from the code,
    /// except that a broker may know better, and knows codes that we do not.
    pub retryable: bool,
    /// How long to wait before a retry; `None`: the client's own backoff.
    pub retry_after: Option<Duration>,
    /// Where the leader is, where the broker knows.
    pub leader: Option<LeaderHint>,
}

impl Failure {
    /// A failure of this code, retryable as the code is.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: code.retryable(),
            retry_after: None,
            leader: None,
        }
    }

    /// The same, said to be retryable or not whatever the code says.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// The same, asking for a pause before a retry.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The same, naming the leader.
    #[must_use]
    pub fn with_leader(mut self, leader: Option<LeaderHint>) -> Self {
        self.leader = leader;
        self
    }

    /// As the status that ends a call.
    #[must_use]
    pub fn into_status(self) -> Status {
        let mut metadata = HashMap::new();
        if self.retryable != self.code.retryable() {
            metadata.insert(RETRYABLE.to_owned(), self.retryable.to_string());
        }
        if let Some(leader) = &self.leader {
            metadata.insert(LEADER_BROKER.to_owned(), leader.broker.to_string());
            metadata.insert(LEADER_ENDPOINT.to_owned(), leader.endpoint.clone());
            metadata.insert(LEADER_EPOCH.to_owned(), leader.epoch.to_string());
        }
        let mut details = ErrorDetails::with_error_info(self.code.name(), ERROR_DOMAIN, metadata);
        if self.retryable {
            details.set_retry_info(self.retry_after);
        }
        let message = cut(self.message, STATUS_MESSAGE_MAX);
        Status::with_error_details(grpc_code(self.code.status_class()), message, details)
    }

    /// What a broker said with a status; `None` if the status is not a broker's (the transport made it).
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == ERROR_DOMAIN)?;
        let known = ErrorCode::ALL
            .iter()
            .copied()
            .find(|code| code.name() == info.reason);
        let retry = status.get_details_retry_info();
        let retryable = match (info.metadata.get(RETRYABLE), known) {
            (Some(said), _) => said == "true",
            (None, Some(code)) => code.retryable(),
            (None, None) => retry.is_some(),
        };
        Some(Self {
            code: known.unwrap_or(ErrorCode::Internal),
            message: status.message().to_owned(),
            retryable,
            retry_after: retry
                .and_then(|retry| retry.retry_delay)
                .map(|pause| pause.min(RETRY_AFTER_MAX)),
            leader: leader_of(&info.metadata),
        })
    }
}

fn leader_of(metadata: &HashMap<String, String>) -> Option<LeaderHint> {
    Some(LeaderHint {
        broker: BrokerId::new(metadata.get(LEADER_BROKER)?.parse().ok()?),
        endpoint: metadata.get(LEADER_ENDPOINT)?.clone(),
        epoch: LeaderEpoch::new(metadata.get(LEADER_EPOCH)?.parse().ok()?),
    })
}

fn cut(mut message: String, max: usize) -> String {
    if message.len() > max {
        let end = (0..=max)
            .rev()
            .find(|&at| message.is_char_boundary(at))
            .unwrap_or(0);
        message.truncate(end);
        message.push_str(" ...");
    }
    message
}

const fn grpc_code(class: StatusClass) -> Code {
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

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.into_status()
    }
}

impl From<ErrorCode> for v1::ErrorReason {
    fn from(code: ErrorCode) -> Self {
        // The numbers are equal (a test goes through them all).
        Self::try_from(i32::from(code as u16)).unwrap_or(Self::Unspecified)
    }
}

impl From<Failure> for v1::ItemError {
    fn from(failure: Failure) -> Self {
        let retry_after = failure.retry_after.map_or(0, |pause| pause.as_millis());
        Self {
            reason: v1::ErrorReason::from(failure.code).into(),
            message: failure.message,
            retryable: failure.retryable,
            retry_after_ms: u32::try_from(retry_after).unwrap_or(u32::MAX),
            leader: failure.leader.map(Into::into),
        }
    }
}

impl From<v1::ItemError> for Failure {
    fn from(error: v1::ItemError) -> Self {
        let known = u16::try_from(error.reason).ok().and_then(ErrorCode::from_number);
        Self {
            code: known.unwrap_or(ErrorCode::Internal),
            message: error.message,
            retryable: error.retryable,
            retry_after: (error.retry_after_ms > 0)
                .then(|| Duration::from_millis(error.retry_after_ms.into()).min(RETRY_AFTER_MAX)),
            leader: error.leader.map(Into::into),
        }
    }
}

impl v1::ItemError {
    /// An error of this code, retryable as the code is. More by [`Failure`].
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Failure::new(code, message).into()
    }
}

impl From<LeaderHint> for v1::LeaderHint {
    fn from(hint: LeaderHint) -> Self {
        Self {
            broker_id: hint.broker.get(),
            endpoint: hint.endpoint,
            leader_epoch: hint.epoch.get(),
        }
    }
}

impl From<v1::LeaderHint> for LeaderHint {
    fn from(hint: v1::LeaderHint) -> Self {
        Self {
            broker: BrokerId::new(hint.broker_id),
            endpoint: hint.endpoint,
            epoch: LeaderEpoch::new(hint.leader_epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn full(code: ErrorCode) -> Failure {
        Failure::new(code, format!("what {code} means, and what to do")).with_leader(Some(LeaderHint {
            broker: BrokerId::new(3),
            endpoint: "broker-3.example:4600".into(),
            epoch: LeaderEpoch::new(17),
        }))
    }

    #[test]
    fn error_codes_are_the_contracts_reasons() {
        for &code in ErrorCode::ALL {
            let reason = v1::ErrorReason::try_from(i32::from(code as u16)).unwrap();
            assert_eq!(reason.as_str_name(), format!("ERROR_REASON_{}", code.name()));
            assert_eq!(v1::ErrorReason::from(code), reason);
        }
        // And the other way: every reason but the zero is a code.
        let reasons = (1..=1000)
            .filter(|&n| v1::ErrorReason::try_from(n).is_ok())
            .count();
        assert_eq!(reasons, ErrorCode::ALL.len());
    }

    #[test]
    fn a_failure_comes_back_from_a_status() {
        for &code in ErrorCode::ALL {
            let mut failure = full(code);
            if code.retryable() {
                failure = failure.with_retry_after(Duration::from_millis(250));
            }
            assert_eq!(
                Failure::from_status(&failure.clone().into_status()),
                Some(failure.clone())
            );
            let flipped = failure.with_retryable(!code.retryable());
            let back = Failure::from_status(&flipped.into_status()).unwrap();
            assert_eq!((back.code, back.retryable), (code, !code.retryable()));
        }
    }

    #[test]
    fn a_failure_comes_back_from_an_item_error() {
        for &code in ErrorCode::ALL {
            let failure = full(code).with_retry_after(Duration::from_millis(40));
            assert_eq!(Failure::from(v1::ItemError::from(failure.clone())), failure);
        }
    }

    /// A status that asks for this many seconds of patience, as no broker of ours would write it.
    fn asking_for(seconds: i64) -> Status {
        let any = |name: &str, value: Vec<u8>| prost_types::Any {
            type_url: format!("type.googleapis.com/google.rpc.{name}"),
            value,
        };
        let info = tonic_types::pb::ErrorInfo {
            reason: ErrorCode::Throttled.name().to_owned(),
            domain: ERROR_DOMAIN.to_owned(),
            metadata: HashMap::new(),
        };
        let retry = tonic_types::pb::RetryInfo {
            retry_delay: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        let details = tonic_types::pb::Status {
            details: vec![
                any("ErrorInfo", info.encode_to_vec()),
                any("RetryInfo", retry.encode_to_vec()),
            ],
            ..Default::default()
        };
        Status::with_details(Code::ResourceExhausted, "", details.encode_to_vec().into())
    }

    #[test]
    fn a_pause_beyond_all_clocks_is_not_believed() {
        let pause =
            |seconds| Failure::from_status(&asking_for(seconds)).and_then(|failure| failure.retry_after);
        assert_eq!(pause(2), Some(Duration::from_secs(2)));
        assert_eq!(pause(i64::MAX), Some(RETRY_AFTER_MAX));
        let mut item = v1::ItemError::new(ErrorCode::Throttled, "?");
        item.retry_after_ms = u32::MAX;
        assert_eq!(Failure::from(item).retry_after, Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn a_reason_of_the_future_keeps_what_it_says_about_retries() {
        let mut item = v1::ItemError::new(ErrorCode::Throttled, "?");
        item.reason = 9999;
        let failure = Failure::from(item);
        assert_eq!((failure.code, failure.retryable), (ErrorCode::Internal, true));
    }

    #[test]
    fn the_transports_own_statuses_are_not_failures() {
        assert_eq!(
            Failure::from_status(&Status::unavailable("connection reset")),
            None
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = Failure::new(ErrorCode::InvalidTopic, "é".repeat(5000));
        let status = failure.into_status();
        assert!(status.message().len() <= STATUS_MESSAGE_MAX + 4);
        assert!(status.message().ends_with("é ..."));
    }
}
