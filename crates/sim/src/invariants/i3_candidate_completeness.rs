//! I3: every replica that may be elected without loss, in sync or eligible, holds everything that was ever committed; on
//! a topic with `durability=fsync` flushed, even while its broker is down. One that may have lost something and has not
//! registered since is exempt: it is off both lists before it can be elected.

use super::{Place, i5_log_matching};
use crate::cluster::ghost::Ghost;
use crate::cluster::message::BrokerIndex;
use crate::report::Violation;

const NAME: &str = "I3 leader candidate completeness";

pub(super) fn look(place: &Place<'_>, ghost: &mut Ghost) -> Result<(), Violation> {
    let members: Vec<BrokerIndex> = ghost
        .candidates()
        .filter_map(|broker| place.plan.broker(broker))
        .collect();
    members
        .into_iter()
        .try_for_each(|member| member_holds(place, ghost, member))
}

pub(super) fn look_at(place: &Place<'_>, ghost: &mut Ghost, broker: BrokerIndex) -> Result<(), Violation> {
    let id = place.plan.brokers[broker];
    if !ghost.candidates().any(|candidate| candidate == id) {
        return Ok(());
    }
    member_holds(place, ghost, broker)
}

fn member_holds(place: &Place<'_>, ghost: &mut Ghost, broker: BrokerIndex) -> Result<(), Violation> {
    let mirror = &ghost.replicas[broker];
    if mirror.lossy {
        return Ok(());
    }
    let (held, high) = (mirror.held(place.is_fsync()), ghost.true_high_watermark);
    if held < high {
        let id = place.plan.brokers[broker];
        let what = format_args!(
            "broker {id} may be elected and holds the log to {held} ({} to {}), and {high} was committed: {:?}",
            mirror.log_start, mirror.log_end, ghost.truth
        );
        return Err(place.violated(NAME, what));
    }
    i5_log_matching::up_to(place, ghost, broker, high)
}
