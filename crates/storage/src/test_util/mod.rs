//! A disk for tests that loses what was not synced, and chance from a seed.

mod contents;
mod fake_disk;
mod fake_file;
mod rng;
mod state;
mod tree;

pub use fake_disk::{FakeDisk, FakeLock};
pub use fake_file::FakeFile;
pub use rng::Rng;
pub use state::{Counts, CrashReport, Faults};
