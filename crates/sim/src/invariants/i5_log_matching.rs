//! I5: below its own high watermark every replica's log is what was committed: the same offsets, epochs, checksums.

use super::{Place, Step};
use crate::cluster::ghost::Ghost;
use crate::cluster::message::BrokerIndex;
use crate::report::Violation;
use quipu_record::Offset;

const NAME: &str = "I5 log matching";

pub(super) fn after_step(place: &Place<'_>, ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    up_to(place, ghost, step.broker, step.after.high_watermark)
}

/// Compares a replica's log with what is committed, from where it was found equal before.
pub(super) fn up_to(
    place: &Place<'_>,
    ghost: &mut Ghost,
    broker: BrokerIndex,
    to: Offset,
) -> Result<(), Violation> {
    let mirror = &mut ghost.replicas[broker];
    if mirror.matched >= to {
        return Ok(());
    }
    for (offset, committed) in ghost.committed.range(mirror.matched..to) {
        if committed.next <= mirror.log_start {
            continue;
        }
        let held = mirror.log.get(offset);
        // A log that begins within a batch need not have it.
        if held != Some(committed) && (held.is_some() || *offset >= mirror.log_start) {
            let id = place.plan.brokers[broker];
            let what =
                format_args!("broker {id} holds {held:?} at {offset}, where {committed:?} was committed");
            return Err(place.violated(NAME, what));
        }
    }
    mirror.matched = to;
    Ok(())
}
