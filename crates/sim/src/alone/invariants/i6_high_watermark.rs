//! I6: a leader's high watermark only grows within its epoch, and log start ≤ high watermark ≤ log end. The greatest
//! one that any leader had is kept: no leader's log may end below it.

use super::{Step, violated};
use crate::alone::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "I6 high watermark monotonic";

pub(super) fn after_step(ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let view = step.driver.view();
    let (start, high, end) = (view.log_start, view.high_watermark, view.log_end);
    if start > high || high > end {
        let what = format_args!("log start {start}, high watermark {high}, log end {end}");
        return Err(violated(NAME, step.plan, what));
    }
    let Some(leading) = view.leading else {
        return Ok(());
    };
    if let Some((epoch, before)) = ghost.of_epoch
        && epoch == leading.epoch
        && high < before
    {
        let what = format_args!("in epoch {epoch} it fell from {before} to {high}");
        return Err(violated(NAME, step.plan, what));
    }
    ghost.of_epoch = Some((leading.epoch, high));
    ghost.true_high_watermark = ghost.true_high_watermark.max(high);
    if end < ghost.true_high_watermark {
        let what = format_args!(
            "the leader's log ends at {end}, below the high watermark {} that once was",
            ghost.true_high_watermark
        );
        return Err(violated(NAME, step.plan, what));
    }
    Ok(())
}
