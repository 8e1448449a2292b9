//! The plain program: writes 1 MiB and calls fdatasync, with two writes in flight. What a disk gives to whoever wants
//! every megabyte to be durable before the next but one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) const WRITE_BYTES: usize = 1 << 20;
const IN_FLIGHT: usize = 2;

/// Writes `count` MiB to a new file in `dir`: how long that took.
pub(crate) fn write(dir: &Path, count: u64) -> io::Result<Duration> {
    let path = dir.join("plain");
    let file = File::create_new(&path)?;
    let block: Vec<u8> = (0..WRITE_BYTES)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let writer = || -> io::Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return Ok(());
            }
            file.write_all_at(&block, at * WRITE_BYTES as u64)?;
            file.sync_data()?;
        }
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(writer)).collect();
        writers.into_iter().try_for_each(|w| {
            w.join()
                .unwrap_or_else(|_| Err(io::Error::other("a writer panicked")))
        })
    })?;
    let took = started.elapsed();
    std::fs::remove_file(&path)?;
    Ok(took)
}
