//! L3: once faults have stopped, everything in the leader's log is committed, and every replica knows it.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "L3 everything committed";

pub(super) fn at_rest(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    let Some(truth) = &ghost.truth else { return Ok(()) };
    let Some(leader) = truth.leader.and_then(|leader| place.plan.broker(leader)) else {
        return Ok(());
    };
    let end = ghost.replicas[leader].log_end;
    for (index, id) in place.plan.brokers.iter().enumerate() {
        let mirror = &ghost.replicas[index];
        if truth.replicas.contains(*id) && (mirror.log_end, mirror.high_watermark) != (end, end) {
            let what = format_args!(
                "the leader's log ends at {end}; broker {id} holds {} to {} and knows {} committed",
                mirror.log_start, mirror.log_end, mirror.high_watermark
            );
            return Err(place.violated(NAME, what));
        }
    }
    Ok(())
}
