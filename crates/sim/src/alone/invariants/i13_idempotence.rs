//! I13: a batch of an idempotent producer is in the log once; an answer that says "duplicate" names its first place;
//! what is known of producers is what a replay of the log would say.

use super::{Opened, Step, violated};
use crate::alone::ghost::{Ghost, Identity};
use crate::report::Violation;
use quipu_record::Offset;
use std::collections::HashMap;

const NAME: &str = "I13 idempotence";

pub(super) fn after_step(ghost: &Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let mut added: HashMap<Identity, Offset> = HashMap::new();
    for batch in &step.effects.appended {
        let Some(stamp) = batch.header().producer() else {
            continue;
        };
        let identity = (stamp.id, stamp.epoch, stamp.base_sequence);
        let before = ghost.identities.get(&identity).or_else(|| added.get(&identity));
        if let Some(before) = before {
            let what = format_args!(
                "{identity:?} was appended at {before} and again at {}",
                batch.base_offset()
            );
            return Err(violated(NAME, step.plan, what));
        }
        added.insert(identity, batch.base_offset());
    }
    for answer in &step.effects.answers {
        let (Ok(appended), Some(asked)) = (&answer.result, step.asked.get(&answer.token)) else {
            continue;
        };
        let Some(stamp) = asked.header.producer() else {
            continue;
        };
        let identity = (stamp.id, stamp.epoch, stamp.base_sequence);
        let stands = ghost.identities.get(&identity).or_else(|| added.get(&identity));
        // One that was deleted since is remembered by the producers' state alone.
        if let Some(stands) = stands
            && *stands != appended.base_offset
        {
            let what = format_args!(
                "{identity:?} stands at {stands} and was answered with {}",
                appended.base_offset
            );
            return Err(violated(NAME, step.plan, what));
        }
    }
    Ok(())
}

pub(super) fn after_open(opened: &Opened<'_>) -> Result<(), Violation> {
    let mut seen: HashMap<Identity, Offset> = HashMap::new();
    for (offset, batch) in opened.found {
        let Some(identity) = batch.identity else { continue };
        if let Some(before) = seen.insert(identity, *offset) {
            let what = format_args!("{identity:?} stands at {before} and at {offset}");
            return Err(violated(NAME, opened.plan, what));
        }
    }
    if !opened.producers.agree_with(opened.replayed) {
        let what = format_args!(
            "after a restart the producers are {:?}, and the log alone says {:?}",
            opened.producers, opened.replayed
        );
        return Err(violated(NAME, opened.plan, what));
    }
    Ok(())
}
