//! I14: "appended" is answered only once it is true: `acks=all` below the high watermark, which for `durability=fsync`
//! means flushed; `acks=leader` flushed by the leader.

use super::{Step, violated};
use crate::alone::ghost::{Ghost, GhostBatch};
use crate::report::Violation;
use quipu_replication::{Acks, Durability};

const NAME: &str = "I14 acks";

pub(super) fn after_step(ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let (view, log) = (step.driver.view(), step.driver.log());
    for answer in &step.effects.answers {
        let (Ok(appended), Some(asked)) = (&answer.result, step.asked.get(&answer.token)) else {
            continue;
        };
        if asked.acks == Acks::None {
            continue;
        }
        let base = appended.base_offset;
        let end = base.plus(u64::from(asked.header.records_count()));
        if asked.acks == Acks::All && end > view.high_watermark {
            let what = format_args!(
                "{base} to {end} was acknowledged at high watermark {}",
                view.high_watermark
            );
            return Err(violated(NAME, step.plan, what));
        }
        if step.plan.config.durability == Durability::Fsync && end > log.flushed() {
            let what = format_args!(
                "{base} to {end} was acknowledged and is flushed to {}",
                log.flushed()
            );
            return Err(violated(NAME, step.plan, what));
        }
        if asked.acks == Acks::All {
            let stands = ghost.log.get(&base).copied();
            if base >= view.log_start && stands.is_none_or(|batch| batch.next != end) {
                let what = format_args!("{base} to {end} was acknowledged where {stands:?} stands");
                return Err(violated(NAME, step.plan, what));
            }
            let batch: Option<GhostBatch> = stands;
            ghost.acked.extend(batch.map(|batch| (base, batch)));
        }
    }
    Ok(())
}
