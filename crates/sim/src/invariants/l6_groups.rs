//! L6: with faults over, a group becomes stable: every partition of its topics is delivered by one of its members, and all
//! that there is gets processed.

use crate::groups::Place;
use crate::report::Violation;

const NAME: &str = "L6 groups become stable";

/// What is left of one partition.
pub(crate) fn consumed(place: &Place, processed: u64, end: u64) -> Result<(), Violation> {
    let (group, at) = place;
    if processed >= end {
        return Ok(());
    }
    let what =
        format!("group {group}, {at}: faults are over, and of {end} records {processed} are processed");
    Err(Violation {
        invariant: NAME,
        what,
    })
}
