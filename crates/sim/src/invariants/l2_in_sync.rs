//! L2: once faults have stopped, every replica is in sync, and what grows has grown.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "L2 every live replica in sync";

pub(super) fn at_rest(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    match &ghost.truth {
        Some(truth) if !truth.isr.same_members(&truth.replicas) => {
            Err(place.violated(NAME, format_args!("{truth:?}")))
        }
        Some(truth)
            if place.plan.topic_of(place.partition).grows
                && (truth.replicas.len(), truth.adding().len(), truth.min_insync) != (3, 0, 2) =>
        {
            Err(place.violated(NAME, format_args!("it has not grown: {truth:?}")))
        }
        _ => Ok(()),
    }
}
