//! I1: at most one leader for each (partition, leader epoch); leader epoch and partition epoch only rise in the metadata.

use super::{Place, Step};
use crate::cluster::ghost::Ghost;
use crate::report::Violation;
use quipu_metadata::Partition;

const NAME: &str = "I1 one leader an epoch";

pub(super) fn after_step(place: &Place<'_>, ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let Some(leading) = step.after.leading else {
        return Ok(());
    };
    let me = place.plan.brokers[step.broker];
    let leader = *ghost.leaders.entry(leading.epoch).or_insert(me);
    if leader != me {
        let what = format_args!(
            "broker {me} leads in epoch {}, and so did {leader}",
            leading.epoch
        );
        return Err(place.violated(NAME, what));
    }
    Ok(())
}

pub(super) fn committed(
    place: &Place<'_>,
    before: Option<&Partition>,
    state: &Partition,
) -> Result<(), Violation> {
    let Some(before) = before else { return Ok(()) };
    let same_leader = before.leader == state.leader;
    let leader_epoch = if same_leader {
        state.leader_epoch >= before.leader_epoch
    } else {
        state.leader_epoch > before.leader_epoch
    };
    if !leader_epoch || state.partition_epoch <= before.partition_epoch {
        let what = format_args!("{before:?} became {state:?}");
        return Err(place.violated(NAME, what));
    }
    Ok(())
}
