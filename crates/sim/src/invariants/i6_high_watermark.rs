//! I6: log start ≤ high watermark ≤ log end; a leader's high watermark only grows within its epoch; no follower's passes
//! the greatest that any leader had.

use super::{Place, Step};
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "I6 high watermark monotonic";

/// Says whether the greatest high watermark rose.
pub(super) fn after_step(place: &Place<'_>, ghost: &mut Ghost, step: &Step<'_>) -> Result<bool, Violation> {
    let view = step.after;
    let (start, high, end) = (view.log_start, view.high_watermark, view.log_end);
    let me = place.plan.brokers[step.broker];
    if start > high || high > end {
        let what = format_args!("broker {me}: log start {start}, high watermark {high}, log end {end}");
        return Err(place.violated(NAME, what));
    }
    let Some(leading) = view.leading else {
        if high > ghost.true_high_watermark {
            let what = format_args!(
                "broker {me} follows and believes {high} committed, where no leader had more than {}",
                ghost.true_high_watermark
            );
            return Err(place.violated(NAME, what));
        }
        return Ok(false);
    };
    let known = ghost.of_epoch.entry(leading.epoch).or_insert(high);
    if high < *known {
        let what = format_args!("in epoch {} it fell from {known} to {high}", leading.epoch);
        return Err(place.violated(NAME, what));
    }
    *known = high;
    Ok(high > ghost.true_high_watermark)
}
