//! L1: once faults have stopped, each partition has a leader, if anybody may be elected.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "L1 a leader for each partition";

pub(super) fn at_rest(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    match &ghost.truth {
        Some(truth) if truth.leader.is_none() => {
            Err(place.violated(NAME, format_args!("nobody leads: {truth:?}")))
        }
        Some(_) => Ok(()),
        None => Err(place.violated(NAME, format_args!("it was never created"))),
    }
}

/// Nobody may be elected without loss, and something was destroyed: only an operator can help.
pub(crate) fn is_given_up(ghost: &Ghost) -> bool {
    let nobody = ghost.truth.as_ref().is_some_and(|truth| truth.leader.is_none());
    nobody && ghost.candidates().next().is_none() && ghost.destroyed > 0
}
