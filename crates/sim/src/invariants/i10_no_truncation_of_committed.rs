//! I10: no replica that may be elected cuts its log below what was committed.

use super::{Place, Step};
use crate::cluster::ghost::{Ghost, Standing};
use crate::report::Violation;

const NAME: &str = "I10 no truncation of what is committed";

pub(super) fn after_step(
    place: &Place<'_>,
    ghost: &Ghost,
    standings: &[Standing],
    step: &Step<'_>,
) -> Result<(), Violation> {
    let (before, after) = (step.before.log_end, step.after.log_end);
    if after >= before || after >= ghost.true_high_watermark || !standings[step.broker].is_current() {
        return Ok(());
    }
    let me = place.plan.brokers[step.broker];
    if ghost.candidates().any(|candidate| candidate == me) && !ghost.replicas[step.broker].lossy {
        let what = format_args!(
            "broker {me} may be elected and cut its log from {before} to {after}, and {} was committed",
            ghost.true_high_watermark
        );
        return Err(place.violated(NAME, what));
    }
    Ok(())
}
