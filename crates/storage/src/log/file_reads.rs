//! Whether a log's files are being read: then what is appended goes through the page cache, where who reads them finds it.
//! Who reads the tail reads it in memory and no file. Who is behind, a consumer or a replica, reads files; what he will read
//! next is being appended now, and should not come from the disk.

use super::Log;
use crate::Disk;
use std::sync::atomic::{AtomicU64, Ordering};

/// A read of the files is about what is appended in the next so many bytes.
const WINDOW: u64 = 64 << 20;

/// Counted in bytes appended, since a log has no clock. Changes are hints, in whatever order they are seen.
#[derive(Debug, Default)]
pub(crate) struct FileReads {
    appended: AtomicU64,
    /// As long as less was appended.
    until: AtomicU64,
}

impl FileReads {
    /// A file is read.
    pub(crate) fn read(&self) {
        let until = self.appended.load(Ordering::Relaxed).saturating_add(WINDOW);
        self.until.store(until, Ordering::Relaxed);
    }

    /// So many bytes are appended: whether files were read lately.
    fn append(&self, bytes: u64) -> bool {
        let before = self.appended.fetch_add(bytes, Ordering::Relaxed);
        before < self.until.load(Ordering::Relaxed)
    }
}

impl<D: Disk> Log<D> {
    /// Whether an append of so many bytes goes past the page cache.
    pub(super) fn goes_past_cache(&self, bytes: u64) -> bool {
        let are_read = self.shared.file_reads.append(bytes);
        self.config.direct_bytes.is_some_and(|from| bytes >= from) && !are_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_counts_until_so_much_was_appended() {
        let reads = FileReads::default();
        assert!(!reads.append(10), "nobody reads");
        reads.read();
        assert!(reads.append(WINDOW - 1));
        assert!(reads.append(1), "up to there");
        assert!(!reads.append(1));
        reads.read();
        assert!(reads.append(1), "read again");
    }
}
