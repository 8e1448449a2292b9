//! The gate: one function that every request passes before it is served.
//!
//! Today it looks at the broker's phase and the request's deadline, and allows everybody everything. Authentication
//! (who is [`Principal`]), authorization (may they call this [`Api`]) and quotas (`throttle_ms`) will stand here.

mod api;
mod traceparent;

pub use api::Api;
pub use traceparent::TraceParent;

use crate::service::error;
use quipu_record::ErrorCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

/// The metadata key by which a client says who it is: for logs and quotas, not for trust.
pub const CLIENT_ID: &str = "quipu-client-id";
/// A client id longer than this is cut.
const CLIENT_ID_MAX: usize = 128;
/// gRPC allows eight digits; of hours that is more than an `Instant` can hold.
const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// Not authenticated: everybody, today.
    Anonymous,
}

/// What a listener knows about a connection; put into each of its requests' extensions.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The name of the listener that the client came in by.
    pub listener: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
}

/// Where the broker is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Not registered, or logs are still being opened: nothing is served.
    Starting,
    /// Serving.
    Running,
    /// Going down: what is in flight ends, nothing new begins.
    Draining,
}

/// What is known about a request once it was admitted.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Who asks.
    pub principal: Principal,
    /// What the client calls itself; empty if it does not.
    pub client_id: Arc<str>,
    /// The listener it came in by; its advertised addresses are the ones to answer with.
    pub listener: Arc<str>,
    /// When the client stops waiting; absent: it said nothing.
    pub deadline: Option<Instant>,
    /// Where it belongs in a distributed trace.
    pub traceparent: Option<TraceParent>,
    /// What is asked.
    pub api: Api,
    /// When it was admitted.
    pub admitted: Instant,
    throttle: Duration,
    phase: watch::Receiver<Phase>,
}

impl RequestContext {
    /// How long the client should hold back, for `throttle_ms` in the reply.
    #[must_use]
    pub fn throttle_ms(&self) -> u32 {
        u32::try_from(self.throttle.as_millis()).unwrap_or(u32::MAX)
    }

    /// What is left of `wanted`, which the client's deadline may shorten.
    #[must_use]
    pub fn at_most(&self, wanted: Duration) -> Duration {
        match self.deadline {
            Some(deadline) => wanted.min(deadline.saturating_duration_since(Instant::now())),
            None => wanted,
        }
    }

    /// Completes when the broker begins to drain: streams then end with [`RequestContext::draining_status`].
    pub async fn drained(&self) {
        let mut phase = self.phase.clone();
        // A closed channel means that the broker is gone, which is more than draining.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// How a stream ends when the broker drains.
    #[must_use]
    pub fn draining_status() -> Status {
        error::status(
            ErrorCode::ShuttingDown,
            "this broker is shutting down; connect to another, or again in a moment",
        )
    }
}

/// The gate itself. One per broker.
#[derive(Debug)]
pub struct Admission {
    phase: watch::Sender<Phase>,
    nobody: Arc<str>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
            nobody: Arc::from(""),
        }
    }
}

impl Admission {
    /// Moves on to a later phase; never back.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            *current = (*current).max(phase);
            later
        });
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Completes when the broker begins to drain.
    pub async fn drained(&self) {
        let mut phase = self.phase.subscribe();
        // The sender is in `self`: it cannot be closed.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Completes when no admitted request is left: all their contexts are gone.
    pub async fn idle(&self) {
        self.phase.closed().await;
    }

    /// Admits a request, or says why not. Every handler calls it first.
    ///
    /// # Errors
    /// `NOT_READY` and `SHUTTING_DOWN` by phase, `REQUEST_TIMED_OUT` for a deadline that has passed,
    /// `INVALID_REQUEST` for one that cannot be read.
    pub fn admit<T>(&self, api: Api, request: &Request<T>) -> Result<RequestContext, Status> {
        let connection = request.extensions().get::<ConnectionInfo>();
        let listener = connection.map_or_else(|| self.nobody.clone(), |c| c.listener.clone());
        self.admit_parts(api, request.metadata(), listener)
    }

    fn admit_parts(
        &self,
        api: Api,
        metadata: &MetadataMap,
        listener: Arc<str>,
    ) -> Result<RequestContext, Status> {
        let admitted = Instant::now();
        match self.phase() {
            Phase::Starting => {
                return Err(error::status(
                    ErrorCode::NotReady,
                    "this broker is starting; try again in a moment, or another broker",
                ));
            }
            Phase::Draining => return Err(RequestContext::draining_status()),
            Phase::Running => {}
        }
        let deadline = deadline(metadata, admitted)?;
        let context = RequestContext {
            principal: Principal::Anonymous,
            client_id: self.client_id(metadata),
            listener,
            deadline,
            traceparent: text(metadata, "traceparent").and_then(TraceParent::parse),
            api,
            admitted,
            throttle: Duration::ZERO,
            phase: self.phase.subscribe(),
        };
        self.authorize(&context)?;
        Ok(context)
    }

    /// Allows everybody everything, until there are principals to tell apart.
    #[expect(clippy::unused_self, reason = "the rules will be in self")]
    #[expect(clippy::unnecessary_wraps, reason = "will answer UNAUTHORIZED")]
    fn authorize(&self, context: &RequestContext) -> Result<(), Status> {
        match context.principal {
            Principal::Anonymous => Ok(()),
        }
    }

    fn client_id(&self, metadata: &MetadataMap) -> Arc<str> {
        match text(metadata, CLIENT_ID) {
            None | Some("") => self.nobody.clone(),
            // Metadata text is ASCII: any place is a character's end.
            Some(id) => Arc::from(&id[..id.len().min(CLIENT_ID_MAX)]),
        }
    }
}

fn text<'m>(metadata: &'m MetadataMap, key: &str) -> Option<&'m str> {
    metadata.get(key)?.to_str().ok()
}

/// From `grpc-timeout`: up to eight digits and a unit.
fn deadline(metadata: &MetadataMap, now: Instant) -> Result<Option<Instant>, Status> {
    let Some(value) = metadata.get("grpc-timeout") else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(timeout).ok_or_else(|| {
        error::status(
            ErrorCode::InvalidRequest,
            "grpc-timeout must be 1 to 8 digits and one of H M S m u n",
        )
    })?;
    if timeout.is_zero() {
        return Err(error::status(
            ErrorCode::RequestTimedOut,
            "the deadline had passed before the request arrived; nothing was done",
        ));
    }
    Ok(Some(now + timeout.min(DEADLINE_MAX)))
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
