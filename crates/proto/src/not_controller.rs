//! The answer of a controller that is not the active one: it names the active one, where it knows it.

use crate::ERROR_DOMAIN;
use quipu_record::ErrorCode;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const ENDPOINT: &str = "controller_endpoint";

/// Says that another controller is the active one: the one at `endpoint` (host:port of its internal listener), if that is
/// known.
#[must_use]
pub fn not_controller(message: impl Into<String>, endpoint: Option<&str>) -> Status {
    let said = endpoint.map(|endpoint| (ENDPOINT.to_owned(), endpoint.to_owned()));
    let metadata: HashMap<_, _> = said.into_iter().collect();
    let mut details = ErrorDetails::with_error_info(ErrorCode::NotController.name(), ERROR_DOMAIN, metadata);
    details.set_retry_info(None::<Duration>);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// Where the active controller is, as one that is not says; `None`: it does not say, or says something else.
#[must_use]
pub fn active_controller(status: &Status) -> Option<String> {
    let info = status
        .get_details_error_info()
        .filter(|info| info.domain == ERROR_DOMAIN && info.reason == ErrorCode::NotController.name())?;
    info.metadata.get(ENDPOINT).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;

    #[test]
    fn the_active_one_is_named_where_it_is_known() {
        let status = not_controller("ask another", Some("quipu-1:4601"));
        assert_eq!(active_controller(&status).as_deref(), Some("quipu-1:4601"));
        let failure = Failure::from_status(&status).unwrap();
        assert_eq!(
            (failure.code, failure.retryable),
            (ErrorCode::NotController, true)
        );
        assert_eq!(active_controller(&not_controller("ask another", None)), None);
        assert_eq!(active_controller(&Status::unavailable("gone")), None);
    }
}
