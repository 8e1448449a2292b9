//! L4: once faults have stopped, everything that was under way comes to an end.

use crate::report::Violation;

const NAME: &str = "L4 everything resolved";

/// Who still waits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Waiting {
    /// Clients with something under way.
    pub(crate) clients: Vec<usize>,
    /// Brokers that do not run, are not unfenced, or have answers to give.
    pub(crate) brokers: Vec<usize>,
    /// Commands are still to be decided.
    pub(crate) controllers: bool,
}

pub(super) fn at_rest(waiting: &Waiting) -> Result<(), Violation> {
    if *waiting != Waiting::default() {
        return Err(Violation {
            invariant: NAME,
            what: format!("{waiting:?}"),
        });
    }
    Ok(())
}
