//! What goes around every call that is answered from metadata: the gate before, a deadline on it, its time and its error
//! counted after.

use crate::admit::{Admission, Api, RequestContext};
use crate::metrics::{Metrics, Stage};
use quipu_proto::Failure;
use quipu_record::ErrorCode;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// How long a call about metadata may take whose client named no deadline.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The gate and the counters, for a service.
#[derive(Clone, Debug)]
pub struct Calls {
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
}

impl Calls {
    /// Of a broker.
    #[must_use]
    pub fn new(admission: Arc<Admission>, metrics: Arc<Metrics>) -> Self {
        Self { admission, metrics }
    }

    /// Passes the gate.
    ///
    /// # Errors
    /// As [`Admission::admit`] says.
    pub fn admit<T>(&self, api: Api, request: Request<T>) -> Result<(RequestContext, T), Status> {
        let context = self.admission.admit(api, &request)?;
        Ok((context, request.into_inner()))
    }

    /// Runs what answers the call, for no longer than the client waits.
    ///
    /// # Errors
    /// Its own, or `REQUEST_TIMED_OUT`.
    pub async fn run<R>(
        &self,
        context: &RequestContext,
        answer: impl Future<Output = Result<R, Failure>>,
    ) -> Result<Response<R>, Status> {
        self.run_for(context, TIMEOUT, answer).await
    }

    /// The same, for what may take longer than usual where the client names no deadline.
    ///
    /// # Errors
    /// As [`Calls::run`].
    pub async fn run_for<R>(
        &self,
        context: &RequestContext,
        patience: Duration,
        answer: impl Future<Output = Result<R, Failure>>,
    ) -> Result<Response<R>, Status> {
        let answered = tokio::time::timeout(context.at_most(patience), answer).await;
        let answered = answered.unwrap_or_else(|_| {
            Err(Failure::new(
                ErrorCode::RequestTimedOut,
                "the time ran out; whether a change was made is unknown: look before asking again",
            ))
        });
        self.metrics
            .observe(context.api, Stage::Total, context.admitted.elapsed());
        answered.map(Response::new).map_err(|failure| {
            self.metrics.error(context.api, failure.code);
            failure.into_status()
        })
    }
}
