//! I4: while enough replicas are in sync, the leader counts every replica that the controllers would elect.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "I4 replication quorum superset";

pub(super) fn look(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    let Some(truth) = &ghost.truth else { return Ok(()) };
    let Some((leader, index)) = truth.leader.and_then(|id| Some((id, place.plan.broker(id)?))) else {
        return Ok(());
    };
    let mirror = &ghost.replicas[index];
    if mirror.leading != Some(truth.leader_epoch) || truth.isr.len() < usize::from(truth.min_insync) {
        return Ok(());
    }
    let missing = ghost
        .candidates()
        .find(|candidate| *candidate != leader && !mirror.counted.contains(candidate));
    if let Some(missing) = missing {
        let what = format_args!(
            "leader {leader} counts {:?} and not {missing}, which may be elected: {truth:?}",
            mirror.counted
        );
        return Err(place.violated(NAME, what));
    }
    Ok(())
}
