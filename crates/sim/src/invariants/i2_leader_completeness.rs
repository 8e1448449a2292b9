//! I2: the leader of the current epoch holds everything that was ever committed, each acknowledged record at its offset.

use super::{Place, Step, i5_log_matching, i7_no_acked_record_lost};
use crate::cluster::ghost::Ghost;
use crate::cluster::shared::Shared;
use crate::report::Violation;
use quipu_record::BrokerId;

const NAME: &str = "I2 leader completeness";

pub(super) fn after_step(
    place: &Place<'_>,
    ghost: &mut Ghost,
    step: &Step<'_>,
    fresh: bool,
) -> Result<(), Violation> {
    let (Some(leading), Some(truth)) = (step.after.leading, &ghost.truth) else {
        return Ok(());
    };
    let me = place.plan.brokers[step.broker];
    if truth.leader_epoch != leading.epoch || truth.leader != Some(me) {
        return Ok(());
    }
    let (end, high) = (step.after.log_end, ghost.true_high_watermark);
    if end < high {
        let what = format_args!(
            "broker {me} leads in epoch {} with a log to {end}, and {high} was committed",
            leading.epoch
        );
        return Err(place.violated(NAME, what));
    }
    if fresh {
        i5_log_matching::up_to(place, ghost, step.broker, high)?;
        i7_no_acked_record_lost::in_log_of(place, ghost, step.broker)?;
    }
    Ok(())
}

/// A replica outside of the in-sync and eligible ones was elected: only where something was destroyed.
pub(super) fn unclean(shared: &Shared, partition: usize, leader: BrokerId) -> Result<(), Violation> {
    let place = Place {
        plan: &shared.plan,
        partition,
    };
    if shared.ghosts[partition].destroyed == 0 {
        let what = format_args!("broker {leader} was elected uncleanly, and nothing was destroyed");
        return Err(place.violated(NAME, what));
    }
    Ok(())
}
