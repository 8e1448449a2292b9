//! I12: a replica that may have lost something is neither in sync nor eligible before it has caught up, in the life that
//! registered since.

use super::{Place, Step};
use crate::cluster::ghost::{Ghost, Standing};
use crate::report::Violation;

const NAME: &str = "I12 unclean exclusion";

/// A follower that holds everything committed again has caught up.
pub(super) fn after_step(place: &Place<'_>, ghost: &mut Ghost, standings: &[Standing], step: &Step<'_>) {
    let high = ghost.true_high_watermark;
    let mirror = &mut ghost.replicas[step.broker];
    if mirror.lossy
        && standings[step.broker].is_current()
        && step.after.following.is_some()
        && mirror.held(place.is_fsync()) >= high
    {
        mirror.lossy = false;
    }
}

pub(super) fn committed(place: &Place<'_>, ghost: &Ghost, standings: &[Standing]) -> Result<(), Violation> {
    let Some(truth) = &ghost.truth else { return Ok(()) };
    for candidate in ghost.candidates() {
        let Some(index) = place.plan.broker(candidate) else {
            continue;
        };
        // Until it has registered the controllers cannot know.
        if ghost.replicas[index].lossy && standings[index].is_current() {
            let what =
                format_args!("broker {candidate} may have lost something and may be elected: {truth:?}");
            return Err(place.violated(NAME, what));
        }
    }
    Ok(())
}
