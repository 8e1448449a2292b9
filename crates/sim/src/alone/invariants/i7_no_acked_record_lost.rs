//! I7: what was acknowledged under `acks=all` is in the log, at its offset, with its bytes, unless it was deleted.

use super::{Opened, Step, violated};
use crate::alone::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "I7 no acknowledged record lost";

/// Between restarts the log only grows at its end and shrinks at its start: its ends tell.
pub(super) fn after_step(ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let view = step.driver.view();
    let last = ghost.acked.last_key_value().map(|(_, batch)| batch.next);
    if let Some(last) = last
        && view.log_end < last
    {
        let what = format_args!("acknowledged up to {last}, and the log ends at {}", view.log_end);
        return Err(violated(NAME, step.plan, what));
    }
    started_too_late(ghost, step.plan, view)
}

pub(super) fn after_open(ghost: &Ghost, opened: &Opened<'_>) -> Result<(), Violation> {
    for (offset, acked) in &ghost.acked {
        if acked.next <= opened.view.log_start || opened.found.get(offset) == Some(acked) {
            continue;
        }
        let what = format_args!(
            "the batch acknowledged at {offset} is {} after a restart (log {} to {})",
            opened
                .found
                .get(offset)
                .map_or("gone".to_owned(), |other| format!("now {other:?}, was {acked:?}")),
            opened.view.log_start,
            opened.view.log_end
        );
        return Err(violated(NAME, opened.plan, what));
    }
    started_too_late(ghost, opened.plan, opened.view)
}

fn started_too_late(
    ghost: &Ghost,
    plan: &crate::alone::plan::PartitionPlan,
    view: quipu_replication::View,
) -> Result<(), Violation> {
    if view.log_start > ghost.may_start {
        let what = format_args!(
            "the log starts at {}, and nothing was deleted above {}",
            view.log_start, ghost.may_start
        );
        return Err(violated(NAME, plan, what));
    }
    Ok(())
}
