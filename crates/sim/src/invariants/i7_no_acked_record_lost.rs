//! I7: what was acknowledged under `acks=all` is in the log, at its offset, with its bytes, unless it was deleted.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::cluster::message::BrokerIndex;
use crate::report::Violation;

const NAME: &str = "I7 no acknowledged record lost";

pub(super) fn in_log_of(place: &Place<'_>, ghost: &Ghost, broker: BrokerIndex) -> Result<(), Violation> {
    let mirror = &ghost.replicas[broker];
    let id = place.plan.brokers[broker];
    for (offset, acked) in &ghost.acked {
        if acked.next <= mirror.log_start || mirror.log.get(offset) == Some(acked) {
            continue;
        }
        let what = format_args!(
            "the batch acknowledged at {offset} is {:?} in the log of broker {id} ({} to {}), and was {acked:?}",
            mirror.log.get(offset),
            mirror.log_start,
            mirror.log_end
        );
        return Err(place.violated(NAME, what));
    }
    if mirror.log_start > ghost.may_start {
        let what = format_args!(
            "the log of broker {id} starts at {}, and nothing was deleted above {}",
            mirror.log_start, ghost.may_start
        );
        return Err(place.violated(NAME, what));
    }
    Ok(())
}

pub(super) fn at_rest(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    let Some(truth) = ghost.truth.as_ref().filter(|_| ghost.forgiven.is_none()) else {
        return Ok(());
    };
    truth
        .replicas
        .iter()
        .filter_map(|id| place.plan.broker(id))
        .try_for_each(|broker| in_log_of(place, ghost, broker))
}
