//! openraft's own suite for storage, over a real directory.

use super::{LogStore, StateMachine, Tokio, Types};
use crate::log::Log;
use crate::publish::{Failing, Published};
use crate::snapshot::{Contents, SnapshotStore};
use crate::wal::Wal;
use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use quipu_metadata::Image;
use quipu_storage::RealDisk;
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<Types<Tokio>, LogStore<RealDisk>, StateMachine<RealDisk>, TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(TempDir, LogStore<RealDisk>, StateMachine<RealDisk>), StorageError<u64>> {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        // Small files, so that the suite goes over their edges.
        let (wal, recovered) = Wal::open(disk.clone(), dir.path(), 1024, 1).expect("a new log");
        let failing = Failing::new();
        let log = Log::new(wal, &recovered, true, failing.clone()).expect("a log");
        let snapshots = SnapshotStore::open(disk, dir.path()).expect("no snapshots");
        let published = Published::new(Image::default());
        let machine = StateMachine::new(Contents::default(), published, snapshots, failing);
        Ok((dir, LogStore::new(log), machine))
    }
}

#[test]
fn the_conformance_suite_of_openraft_passes() {
    Suite::test_all(Builder).expect("conforms");
}
