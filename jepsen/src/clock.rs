//! A node's wall clock, by libfaketime: set off from the machine's, and moved while the node runs. The monotonic clock
//! stays the machine's.

use crate::Result;
use std::path::{Path, PathBuf};

/// Where distributions put the library.
const PLACES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];

/// The clock of one node.
pub(crate) struct Clock {
    library: &'static str,
    file: PathBuf,
}

impl Clock {
    /// A clock that goes right; its offset is kept in `home`.
    pub(crate) fn new(home: &Path) -> Result<Self> {
        let library = PLACES.iter().find(|place| Path::new(place).exists());
        let clock = Self {
            library: library.ok_or("libfaketime is not installed: clock faults need the package faketime")?,
            file: home.join("clock"),
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it off by so many milliseconds, at once.
    pub(crate) fn set(&self, offset_ms: i64) -> Result<()> {
        let (sign, by) = (if offset_ms < 0 { '-' } else { '+' }, offset_ms.unsigned_abs());
        // The node reads it all the time: it is replaced, never half written.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{sign}{}.{:03}\n", by / 1000, by % 1000))?;
        std::fs::rename(new, &self.file)?;
        Ok(())
    }

    /// What makes a process go by it, as `NAME=value`.
    pub(crate) fn environment(&self) -> Vec<String> {
        vec![
            format!("LD_PRELOAD={}", self.library),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "FAKETIME_DISABLE_SHM=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ]
    }
}
