//! I16: the committed offset is always that of the last acknowledged commit or reset; failover and load never bring back an
//! older one.

use crate::groups::{Committed, Place};
use crate::report::Violation;
use quipu_record::Offset;

const NAME: &str = "I16 committed offsets";

/// A read that began when the log was committed up to `begun`, and saw it up to `end`, found this. `commits` are in the
/// order of the log.
pub(crate) fn committed_offset(
    place: &Place,
    commits: &[Committed],
    begun: usize,
    end: usize,
    found: Option<Offset>,
) -> Result<(), Violation> {
    let at_begin = commits.iter().rfind(|commit| commit.end <= begun);
    let during = commits
        .iter()
        .filter(|commit| commit.end > begun && commit.end <= end);
    let mut possible =
        std::iter::once(at_begin.map(|commit| commit.offset)).chain(during.map(|commit| Some(commit.offset)));
    if possible.any(|possible| possible == found) {
        return Ok(());
    }
    let (group, at) = place;
    let last = at_begin.map(|commit| commit.offset);
    let what = format!(
        "group {group}, {at}: {found:?} was read, and {last:?} had been committed before it was asked"
    );
    Err(Violation {
        invariant: NAME,
        what,
    })
}
