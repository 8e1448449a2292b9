//! `lossyfs`: a file system for tests that loses what was not synced.
//!
//! SIGKILL proves nothing about fsync, since the machine's page cache outlives the process. Here what was synced and
//! what was only written are kept apart, for contents and for names, so that the harness can take the power from a
//! real process on a real mount:
//!
//! - a file's fsync makes its bytes and its length durable, a directory's fsync its names, and nothing else does;
//! - a power cut drops all the rest, or lets a random part of it survive: sector by sector, in no order, and in new
//!   room bytes that nobody wrote ([`Cut`]);
//! - a failed fsync leaves what it was for clean and not durable, as Linux does: the next one says yes.
//!
//! [`State`] is all of that as plain data: no kernel, no threads, a seed for the chance in it; `tests/model.rs` holds it
//! against a simple model. [`Daemon`] mounts it and obeys the control socket, whose words are in [`Command`].
//!
//! `syncfs` on a FUSE mount returns 0 and tells nobody. A program that flushes so is tried on an ext4 image on a loop
//! device whose *backing file* lies here: the guest's flush arrives as that file's fsync. `tests/mounted.rs` shows on
//! both paths that unsynced data goes and synced data stays.

#![warn(clippy::expect_used, clippy::panic)]

mod chance;
mod contents;
mod control;
mod daemon;
mod fuse;
mod medium;
mod names;
mod state;

pub use control::{AskError, Command, Control, Malformed, ask};
pub use daemon::{Daemon, DaemonError, Options};
pub use medium::{BackingFolder, Bytes, Medium, Memory};
pub use state::{About, Cut, Ino, Kind, Limits, State, Stats};
