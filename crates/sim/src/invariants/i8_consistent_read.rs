//! I8: what a reader sees at an offset is what was committed there, and stays it until it is deleted.

use super::Place;
use crate::cluster::ghost::{Ghost, GhostBatch};
use crate::report::Violation;
use quipu_record::StoredBatch;
use quipu_replication::View;

const NAME: &str = "I8 consistent read";

pub(super) fn on_read(
    place: &Place<'_>,
    ghost: &Ghost,
    view: &View,
    batch: &StoredBatch,
) -> Result<(), Violation> {
    if ghost.forgiven.is_some() {
        return Ok(());
    }
    let read = GhostBatch::of(batch.header());
    let offset = batch.base_offset();
    if read.next > view.high_watermark {
        let what = format_args!(
            "a read returned {offset} to {}, past the high watermark {}",
            read.next, view.high_watermark
        );
        return Err(place.violated(NAME, what));
    }
    let committed = ghost.committed.get(&offset);
    if committed != Some(&read) {
        let what = format_args!("a read returned {read:?} at {offset}, where {committed:?} was committed");
        return Err(place.violated(NAME, what));
    }
    Ok(())
}
