//! What the harness says, and how it ends.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the one place that prints"
)]

use crate::Error;

/// Nothing was found, and it means something.
pub(crate) const CLEAN: u8 = 0;
/// Something was found.
pub(crate) const FOUND: u8 = 1;
/// The run did not take place.
pub(crate) const NOT_RUN: u8 = 2;
/// Nothing was found, and it means nothing: too little was done. Or a planted bug was not found.
pub(crate) const VACUOUS: u8 = 3;

/// Tells how it goes.
pub(crate) fn say(words: &str) {
    println!("{words}");
}

/// Tells what went wrong with the harness.
pub(crate) fn complain(error: &Error) {
    eprintln!("jepsen: {error}");
}
