//! L2: once faults have stopped, every replica is in sync.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "L2 every live replica in sync";

pub(super) fn at_rest(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    match &ghost.truth {
        Some(truth) if !truth.isr.same_members(&truth.replicas) => {
            Err(place.violated(NAME, format_args!("{truth:?}")))
        }
        _ => Ok(()),
    }
}
