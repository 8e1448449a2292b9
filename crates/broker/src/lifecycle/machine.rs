//! What the machine tells: whether it restarted since the last time, how many files may be open, room on the disk.

use quipu_storage::{DataDirError, Disk, ReplaceFile};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;

const FILE: &str = "machine-boot";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Connections of other brokers and controllers, both ways.
pub(crate) const INTERNAL_CONNECTIONS: usize = 64;
/// Descriptors for everything that is neither a segment nor a client's connection: the controller, other brokers,
/// directories, the runtime.
const OTHER_FILES: usize = 128 + INTERNAL_CONNECTIONS;
/// What is shared out however low the limit is: below, nothing works, and the errors say so.
const LEAST_FILES: usize = 32;

/// Whether what the broker had written is in the page cache still, flushed or not: so it is if neither the machine nor the
/// file system has changed since a process of this broker registered last. Of topics with `durability=replicated`, whose
/// appends are never written behind the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PageCache {
    /// It is.
    pub(crate) kept: bool,
    now: Option<String>,
}

impl PageCache {
    /// Looks, and changes nothing: until this process has registered, what it found is not known to the controllers.
    pub(crate) fn look<D: Disk>(disk: &D, root: &Path) -> Self {
        let now = boot(root);
        // Damaged is as good as absent: then nothing is known to be kept.
        let before = ReplaceFile::read(disk, &root.join(FILE)).ok().flatten();
        let kept = matches!((&before, &now), (Some(before), Some(now)) if *before == *now.as_bytes());
        Self { kept, now }
    }

    /// This process has registered: from now on what is written is in this machine's page cache.
    pub(crate) fn remember<D: Disk>(&self, disk: &D, root: &Path) -> Result<(), DataDirError> {
        match &self.now {
            Some(now) if !self.kept => ReplaceFile::write(disk, &root.join(FILE), now.as_bytes()),
            _ => Ok(()),
        }
    }

    /// A disk failed: what it did not take is in the page cache for now, and may be gone when it is asked for.
    pub(crate) fn distrust(root: &Path) {
        if let Err(error) = std::fs::remove_file(root.join(FILE)) {
            tracing::debug!(%error, "the machine's start was not remembered");
        }
    }
}

/// This start of the machine and this file system; `None`: not to be known here.
fn boot(root: &Path) -> Option<String> {
    let boot = std::fs::read_to_string(BOOT_ID).ok()?;
    let device = rustix::fs::stat(root).ok()?.st_dev;
    Some(format!("{} {device}", boot.trim()))
}

/// How many descriptors each may take, so that a flood of connections never leaves a log without one: that would look like
/// a disk that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileBudget {
    /// Segments that are kept open.
    pub(crate) segments: usize,
    /// Segments in all, those that wait for a flush included.
    pub(crate) segments_max: usize,
    /// Connections.
    pub(crate) connections: usize,
}

impl FileBudget {
    /// Shares `limit` descriptors out: as configured if they suffice, else segments first, down to a quarter for
    /// connections.
    fn share(limit: u64, segments: usize, connections: usize) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let free = limit.saturating_sub(OTHER_FILES).max(LEAST_FILES);
        let segments_max = segments.saturating_add(segments / 2).min(free - free / 4);
        Self {
            segments: segments.min(segments_max - segments_max / 3),
            segments_max,
            connections: connections.min(free - segments_max),
        }
    }
}

/// Raises the limit of open files as far as the broker may, shares it out, and says if it is less than configured.
pub(crate) fn file_budget(segments: usize, connections: usize) -> FileBudget {
    let wanted = segments
        .saturating_add(segments / 2)
        .saturating_add(connections)
        .saturating_add(OTHER_FILES) as u64;
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
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let budget = FileBudget::share(limit, segments, connections);
    if (budget.segments, budget.connections) != (segments, connections) {
        tracing::warn!(
            limit,
            wanted,
            segments = budget.segments,
            connections = budget.connections,
            "fewer files may be open than storage.open.files and limits.connections ask for: raise the limit (ulimit -n)"
        );
    }
    budget
}

/// Bytes on the file system of `path`: free for us, and all.
pub(crate) fn disk_room(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_life_that_registered_counts_and_a_failed_disk_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let disk = quipu_storage::RealDisk::new(root).unwrap();
        let first = PageCache::look(&disk, root);
        assert!(!first.kept);
        assert!(!PageCache::look(&disk, root).kept, "the first never registered");
        first.remember(&disk, root).unwrap();
        assert!(PageCache::look(&disk, root).kept);
        PageCache::distrust(root);
        assert!(!PageCache::look(&disk, root).kept);
    }

    #[test]
    fn segments_and_connections_never_ask_for_more_than_there_is() {
        let share = |limit| FileBudget::share(limit, 2048, 4096);
        let all = FileBudget {
            segments: 2048,
            segments_max: 3072,
            connections: 4096,
        };
        assert_eq!(share(1 << 20), all);
        for limit in [0, 100, 256, 1024, 4096, 5000, 7000, 10_000] {
            let budget = share(limit);
            let there = usize::try_from(limit).unwrap().max(OTHER_FILES + LEAST_FILES);
            assert!(
                OTHER_FILES + budget.segments_max + budget.connections <= there,
                "{limit}: {budget:?}"
            );
            assert!(
                0 < budget.segments && budget.segments < budget.segments_max,
                "{limit}: {budget:?}"
            );
            assert!(budget.connections > 0, "{limit}: {budget:?}");
        }
        assert_eq!(share(4096).segments, 1952);
    }
}
