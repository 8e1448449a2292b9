//! At least once: an offset that a member commits lies behind nothing that no member has processed.

use crate::groups::Place;
use crate::report::Violation;
use quipu_record::Offset;

const NAME: &str = "I18 nothing is skipped";

/// A member's commit is acknowledged; everything below `processed` was processed by one member or another.
pub(crate) fn no_record_skipped(
    place: &Place,
    committed: Offset,
    processed: Offset,
) -> Result<(), Violation> {
    if committed <= processed {
        return Ok(());
    }
    let (group, at) = place;
    let what = format!("group {group}, {at}: {committed} is committed, and nobody has processed {processed}");
    Err(Violation {
        invariant: NAME,
        what,
    })
}
