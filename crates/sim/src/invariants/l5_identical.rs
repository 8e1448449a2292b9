//! L5: once faults have stopped, all replicas of a partition hold the same.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "L5 identical replicas";

pub(super) fn at_rest(place: &Place<'_>, ghost: &Ghost) -> Result<(), Violation> {
    let Some(truth) = &ghost.truth else { return Ok(()) };
    let Some(leader) = truth.leader.and_then(|leader| place.plan.broker(leader)) else {
        return Ok(());
    };
    let led = &ghost.replicas[leader];
    for (index, id) in place.plan.brokers.iter().enumerate() {
        let mirror = &ghost.replicas[index];
        if !truth.replicas.contains(*id) || mirror.flipped || led.flipped {
            continue;
        }
        let start = led.log_start.max(mirror.log_start);
        let here = mirror.log.range(start..);
        if !led.log.range(start..).eq(here) {
            let what = format_args!("broker {id} and the leader differ from {start} on");
            return Err(place.violated(NAME, what));
        }
    }
    Ok(())
}
