//! I14: "appended" is answered only once it is true: `acks=all` below the high watermark, held by `min.insync.replicas`
//! replicas as durably as the topic promises; `acks=leader` flushed by the leader, if the topic promises that.

use super::{Place, Step};
use crate::cluster::ghost::Ghost;
use crate::report::Violation;
use quipu_replication::Acks;

const NAME: &str = "I14 acks";

pub(super) fn after_step(place: &Place<'_>, ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    let fsync = place.is_fsync();
    for answer in &step.effects.answers {
        let (Ok(appended), Some(asked)) = (&answer.result, step.asked.get(&answer.token)) else {
            continue;
        };
        if asked.acks == Acks::None {
            continue;
        }
        let base = appended.base_offset;
        let end = base.plus(u64::from(asked.header.records_count()));
        if asked.acks == Acks::All && end > step.after.high_watermark {
            let what = format_args!(
                "{base} to {end} was acknowledged at high watermark {}",
                step.after.high_watermark
            );
            return Err(place.violated(NAME, what));
        }
        if fsync && end > step.after.flushed {
            let what = format_args!(
                "{base} to {end} was acknowledged and is flushed to {}",
                step.after.flushed
            );
            return Err(place.violated(NAME, what));
        }
        if asked.acks != Acks::All || base < step.after.log_start {
            continue;
        }
        let held = |mirror: &&crate::cluster::ghost::Mirror| mirror.lossy || mirror.held(fsync) >= end;
        let copies = ghost.replicas.iter().filter(held).count();
        if copies < usize::try_from(step.min_insync).unwrap_or(usize::MAX) {
            let what = format_args!(
                "{base} to {end} was acknowledged with {copies} copies, and min.insync.replicas is {}",
                step.min_insync
            );
            return Err(place.violated(NAME, what));
        }
        let stands = ghost.committed.get(&base).copied();
        let Some(batch) = stands.filter(|batch| batch.next == end) else {
            let what = format_args!("{base} to {end} was acknowledged where {stands:?} was committed");
            return Err(place.violated(NAME, what));
        };
        ghost.acked.insert(base, batch);
    }
    Ok(())
}
