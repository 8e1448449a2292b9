//! I19: what a leader believes to be committed is no less than what anybody had committed up to the moment that its
//! followers vouch for: a linearizable read, asked for before that moment, is answered with no less.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;
use quipu_replication::{Tick, View};

const NAME: &str = "I19 vouched reads";

pub(super) fn on_vouched(
    place: &Place<'_>,
    ghost: &Ghost,
    view: &View,
    vouched: Tick,
) -> Result<(), Violation> {
    let Ok(latest) = view.latest(None) else {
        return Ok(());
    };
    let before = ghost.rises.partition_point(|(at, _)| *at < vouched);
    let known = before.checked_sub(1).and_then(|last| ghost.rises.get(last));
    match known {
        Some((at, committed)) if *committed > latest && ghost.forgiven.is_none() => {
            let what = format_args!(
                "a leader answers {latest}, vouched for until {vouched:?}, where {committed} was committed at {at:?}"
            );
            Err(place.violated(NAME, what))
        }
        _ => Ok(()),
    }
}
