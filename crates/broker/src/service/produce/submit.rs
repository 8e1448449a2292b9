//! The way of one batch from a request to its partition's thread, the same for calls and streams.

use super::intake::Intake;
use super::outcome;
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::partition::budget::Charge;
use crate::partition::inbox::Refused;
use crate::partition::reply::{Answered, Reply, Tag};
use crate::partition::thread::Produce;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use quipu_replication::{Acks, Tick};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a batch is waited for that does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a batch waits for memory before it is refused.
const HOLD_BACK_MAX: Duration = Duration::from_secs(5);
/// When a client that was refused for want of memory should try again.
const THROTTLE: Duration = Duration::from_millis(200);

/// When to answer, from the wire.
pub(super) fn acks(number: i32) -> Result<Acks, Failure> {
    Ok(match v1::Acks::from_wire(number)? {
        v1::Acks::All | v1::Acks::Unspecified => Acks::All,
        v1::Acks::Leader => Acks::Leader,
        v1::Acks::None => Acks::None,
    })
}

/// How long a batch may take: what it says, and at most until the call's own deadline.
pub(super) fn patience(context: &RequestContext, timeout_ms: u32) -> Duration {
    context.at_most(match timeout_ms {
        0 => TIMEOUT_DEFAULT,
        given => Duration::from_millis(given.into()),
    })
}

/// Takes memory for `bytes`, waiting in line while others have it.
pub(super) async fn charge(plane: &DataPlane, bytes: usize, patience: Duration) -> Result<Charge, Failure> {
    let hold_back = patience.min(HOLD_BACK_MAX);
    plane.budget.take(bytes, hold_back).await.map_err(|_| throttled())
}

/// Hands a batch to its partition's thread, which answers to `to`; or says at once what became of it.
pub(super) fn submit(
    intake: Intake,
    tag: Tag,
    deadline: Tick,
    to: mpsc::UnboundedSender<Answered>,
    charge: Option<Charge>,
) -> Result<(), (Box<v1::BatchResult>, Option<Charge>)> {
    let replica = Arc::clone(&intake.replica);
    let work = Produce {
        batch: intake.batch,
        summary: intake.summary,
        acks: tag.acks,
        deadline,
        reply: Reply {
            to,
            tag,
            replica: intake.replica,
            charge,
            chain: None,
        },
    };
    let Err((why, charge)) = replica.thread.produce(work) else {
        return Ok(());
    };
    let failure = match why {
        Refused::Full => throttled(),
        Refused::Closed => Failure::new(
            ErrorCode::ShuttingDown,
            "this broker is shutting down; nothing was appended, ask another or again in a moment",
        ),
    };
    Err((Box::new(outcome::failed_at(&replica, failure)), charge))
}

fn throttled() -> Failure {
    Failure::new(
        ErrorCode::Throttled,
        "the broker has as many bytes waiting for its disk as it may: nothing was appended, try again in a moment",
    )
    .with_retry_after(THROTTLE)
}
