//! A call that any broker can answer: one deadline, retries under it, and honesty about what cannot be known.

use super::{Cluster, lock};
use crate::backoff::Backoff;
use crate::connection::{Connection, describe, never_sent};
use crate::error::CallError;
use crate::moment::Moment;
use quipu_proto::Failure;
use quipu_record::ErrorCode;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Code, Request, Response, Status};

/// A call that can be repeated does not wait longer than this for one broker.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
/// A look needs no quorum and no disk: a broker that is silent for longer is passed over for another.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Doing it twice is as doing it once.
    repeatable: bool,
    timeout: Duration,
    /// How long one broker may take.
    attempt: Duration,
}

impl Operation {
    /// A change that may be made twice, or a question that takes its time.
    pub(crate) const fn repeatable(name: &'static str, timeout: Duration) -> Self {
        Self {
            name,
            repeatable: true,
            timeout,
            attempt: ATTEMPT_MAX,
        }
    }

    /// A look at what any broker holds in memory.
    pub(crate) const fn look(name: &'static str, timeout: Duration) -> Self {
        Self {
            attempt: LOOK_MAX,
            ..Self::repeatable(name, timeout)
        }
    }

    /// A change that must not be made twice unknowingly.
    pub(crate) const fn once(name: &'static str, timeout: Duration) -> Self {
        Self {
            name,
            repeatable: false,
            timeout,
            attempt: Duration::MAX,
        }
    }
}

/// A request that tells the broker how much time is left.
pub(crate) fn timed<M>(message: M, left: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

/// What one attempt came to, if it is not the end.
enum Again {
    /// The broker did not do it.
    NotDone { why: String, pause: Option<Duration> },
    /// The broker may have done it.
    Unknown { why: String },
}

impl Cluster {
    /// Asks one broker after the other until one answers, or refuses for good, or time is up.
    pub(crate) async fn call<T, F>(
        &self,
        operation: Operation,
        attempt: impl Fn(Connection, Duration) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.ask(operation, || self.candidates(), attempt).await
    }

    /// Asks the broker at one address.
    pub(crate) async fn call_at<T, F>(
        &self,
        operation: Operation,
        address: &str,
        attempt: impl Fn(Connection, Duration) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.ask(operation, || vec![address.to_owned()], attempt).await
    }

    async fn ask<T, F>(
        &self,
        operation: Operation,
        addresses: impl Fn() -> Vec<String>,
        attempt: impl Fn(Connection, Duration) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let deadline = Moment::new(operation.timeout).on_clock(begun.into()).into();
        let mut backoff = Backoff::default();
        let mut candidates = addresses();
        let mut round = 0;
        loop {
            let address = &candidates[round % candidates.len()];
            let (why, asked_pause) = match self.attempt(operation, deadline, address, &attempt).await {
                Ok(answer) => {
                    lock(&self.preference).answered(address);
                    return Ok(answer);
                }
                Err(Ok(error)) => return Err(error),
                Err(Err(Again::Unknown { why })) if !operation.repeatable => {
                    let (operation, last) = (operation.name, why);
                    return Err(CallError::OutcomeUnknown { operation, last });
                }
                Err(Err(Again::Unknown { why })) => (why, None),
                Err(Err(Again::NotDone { why, pause })) => (why, pause),
            };
            tracing::debug!(operation = operation.name, address, why, "will try again");
            lock(&self.preference).failed(address);
            round += 1;
            let mut wait = Duration::ZERO;
            if round % candidates.len() == 0 {
                // All were asked: only now is it worth waiting, and looking whether there are others.
                wait = backoff.next(self.backoff_limits(), &mut lock(&self.jitter));
                candidates = addresses();
                round = 0;
            }
            let again_at = Instant::now() + wait.max(asked_pause.unwrap_or_default());
            if again_at >= deadline {
                let (operation, last) = (operation.name, why);
                return Err(CallError::Unreachable { operation, last });
            }
            sleep_until(again_at).await;
        }
    }

    /// One attempt at one broker. `Err(Ok(_))` is final.
    async fn attempt<T, F>(
        &self,
        operation: Operation,
        deadline: Instant,
        address: &str,
        attempt: &impl Fn(Connection, Duration) -> F,
    ) -> Result<T, Result<CallError, Again>>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let lease = self
            .pool
            .lease(address)
            .await
            .map_err(|why| Err(Again::NotDone { why, pause: None }))?;
        let now = Instant::now();
        let until = now
            .checked_add(operation.attempt)
            .map_or(deadline, |until| until.min(deadline));
        let left = until.saturating_duration_since(now);
        let Ok(answer) = timeout_at(until, attempt(lease.connection.clone(), left)).await else {
            self.pool.give_up(address, &lease);
            let why = format!("{address}: no answer within {left:?}");
            return Err(Err(Again::Unknown { why }));
        };
        let status = match answer {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        let Some(failure) = Failure::from_status(&status) else {
            self.pool.give_up(address, &lease);
            return Err(of_the_transport(operation, address, &status));
        };
        Err(refusal(operation, address, failure))
    }

    /// Addresses to ask, the best first: the known brokers', and the bootstrap list's.
    pub(super) fn candidates(&self) -> Vec<String> {
        let table = self.table();
        let bootstrap = self.config.bootstrap.iter().map(String::as_str);
        lock(&self.preference).order(table.addresses().chain(bootstrap))
    }
}

/// A broker's refusal.
fn refusal(operation: Operation, address: &str, failure: Failure) -> Result<CallError, Again> {
    let why = format!("{address}: {failure}");
    if failure.code == ErrorCode::RequestTimedOut {
        return Err(Again::Unknown { why });
    }
    if failure.retryable {
        let pause = failure.retry_after;
        return Err(Again::NotDone { why, pause });
    }
    tracing::debug!(operation = operation.name, address, %failure, "refused");
    Ok(CallError::Rejected(failure))
}

/// A status that no broker's code made.
fn of_the_transport(operation: Operation, address: &str, status: &Status) -> Result<CallError, Again> {
    let why = format!("{address}: {}", describe(status));
    if never_sent(status) {
        return Err(Again::NotDone { why, pause: None });
    }
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded => {
            Err(Again::Unknown { why })
        }
        Code::Unimplemented => Ok(CallError::BadAnswer {
            operation: operation.name,
            problem: format!("{address} does not know this call: is it a Quipu broker of this version?"),
        }),
        _ => Ok(CallError::BadAnswer {
            operation: operation.name,
            problem: why,
        }),
    }
}
