//! A disk for tests that loses what was not synced.

mod fake_disk;

pub use fake_disk::{Counts, FakeDisk, FakeFile, FakeLock, Faults};
