//! I13: a batch of an idempotent producer is committed once; an answer that says "duplicate" names its first place; what
//! is known of producers is what a replay of the log would say.

use super::{Opened, Place, Step};
use crate::cluster::ghost::Ghost;
use crate::report::Violation;

const NAME: &str = "I13 idempotence";

/// The high watermark rises: what it passes must not have been committed before.
pub(super) fn on_commit(place: &Place<'_>, ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let (from, to) = (ghost.true_high_watermark, step.after.high_watermark);
    for (offset, batch) in ghost.replicas[step.broker].log.range(from..to) {
        let Some(identity) = batch.identity else { continue };
        if let Some(before) = ghost.identities.insert(identity, *offset)
            && before != *offset
        {
            let what = format_args!("{identity:?} was committed at {before} and again at {offset}");
            return Err(place.violated(NAME, what));
        }
    }
    Ok(())
}

pub(super) fn on_answers(place: &Place<'_>, ghost: &Ghost, step: &Step<'_>) -> Result<(), Violation> {
    for answer in &step.effects.answers {
        let (Ok(appended), Some(asked)) = (&answer.result, step.asked.get(&answer.token)) else {
            continue;
        };
        let Some(stamp) = asked.header.producer() else {
            continue;
        };
        let identity = (stamp.id, stamp.epoch, stamp.base_sequence);
        if let Some(stands) = ghost.identities.get(&identity)
            && *stands != appended.base_offset
        {
            let what = format_args!(
                "{identity:?} stands at {stands} and was answered with {}",
                appended.base_offset
            );
            return Err(place.violated(NAME, what));
        }
    }
    Ok(())
}

pub(super) fn after_open(place: &Place<'_>, opened: &Opened<'_>) -> Result<(), Violation> {
    if !opened.producers.agree_with(opened.replayed) {
        let what = format_args!(
            "broker {} knows producers {:?}, and its log alone says {:?}",
            place.plan.brokers[opened.broker], opened.producers, opened.replayed
        );
        return Err(place.violated(NAME, what));
    }
    Ok(())
}
