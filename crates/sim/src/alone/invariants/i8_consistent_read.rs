//! I8: what a reader may have seen at an offset below the high watermark stays what it is until it is deleted.

use super::{Opened, violated};
use crate::alone::ghost::{Ghost, GhostBatch};
use crate::report::Violation;
use quipu_record::StoredBatch;
use quipu_replication::View;

const NAME: &str = "I8 consistent read";

pub(super) fn after_open(ghost: &Ghost, opened: &Opened<'_>) -> Result<(), Violation> {
    let committed = ghost
        .log
        .iter()
        .filter(|(_, batch)| batch.next <= ghost.true_high_watermark && batch.next > opened.view.log_start);
    for (offset, before) in committed {
        let now = opened.found.get(offset);
        if now != Some(before) {
            let what = format_args!("the batch at {offset} was {before:?} before the restart and is {now:?}");
            return Err(violated(NAME, opened.plan, what));
        }
    }
    Ok(())
}

pub(super) fn on_read(ghost: &Ghost, view: &View, batch: &StoredBatch) -> Result<(), Violation> {
    let read = GhostBatch::of(batch.header());
    let offset = batch.base_offset();
    let told = if read.next > view.high_watermark {
        format!(
            "a read returned {offset} to {}, past the high watermark {}",
            read.next, view.high_watermark
        )
    } else if ghost.log.get(&offset) != Some(&read) {
        format!(
            "a read returned {read:?} at {offset}, where {:?} was appended",
            ghost.log.get(&offset)
        )
    } else {
        return Ok(());
    };
    Err(Violation {
        invariant: NAME,
        what: told,
    })
}
