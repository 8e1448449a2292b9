//! What the machine tells: whether it restarted since the last time, how many files may be open, room on the disk.

use quipu_storage::{DataDirError, Disk, ReplaceFile};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;

const FILE: &str = "machine-boot";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Descriptors for everything that is not a segment: connections come on top.
const OTHER_FILES: u64 = 256;

/// Whether the machine, and the file system under `root`, are the same as when this was last asked: if so, whatever the
/// broker had written is in the page cache still, flushed or not. Remembers for the next time.
pub(crate) fn page_cache_kept<D: Disk>(disk: &D, root: &Path) -> Result<bool, DataDirError> {
    let Some(now) = boot(root) else {
        return Ok(false);
    };
    let file = root.join(FILE);
    // Damaged is as good as absent: then nothing is known to be kept.
    let before = ReplaceFile::read(disk, &file).ok().flatten();
    let kept = before.is_some_and(|before| *before == *now.as_bytes());
    if !kept {
        ReplaceFile::write(disk, &file, now.as_bytes())?;
    }
    Ok(kept)
}

/// This start of the machine and this file system; `None`: not to be known here.
fn boot(root: &Path) -> Option<String> {
    let boot = std::fs::read_to_string(BOOT_ID).ok()?;
    let device = rustix::fs::stat(root).ok()?.st_dev;
    Some(format!("{} {device}", boot.trim()))
}

/// Raises the limit of open files as far as the broker may, and says if that is not enough.
pub(crate) fn allow_files(segments: usize, connections: usize) {
    let wanted = (segments as u64)
        .saturating_add(connections as u64)
        .saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|now| now < wanted) {
        let raised = Rlimit {
            current: maximum.map_or(Some(wanted), |most| Some(most.min(wanted))),
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    let now = getrlimit(Resource::Nofile).current;
    if let Some(now) = now.filter(|now| *now < wanted) {
        tracing::warn!(
            limit = now,
            wanted,
            "fewer files may be open than storage.open.files and limits.connections allow: raise the limit (ulimit -n), or \
             lower those"
        );
    }
}

/// Bytes on the file system of `path`: free for us, and all.
pub(crate) fn disk_room(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}
