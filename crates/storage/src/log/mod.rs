//! One partition's log.
//!
//! - `open`: how a log begins, and what a start finds.
//! - `clean`: what of it is compacted.
//! - `append`, `truncate`, `retain`: how it changes. Each is undone as a whole if the disk has no room.
//! - `flushing`: what must be synced, and what a sync proves.
//! - `room`: what of the disk is taken ahead.
//! - `shared`: what readers see.

mod append;
mod clean;
pub(crate) mod epoch_file;
mod file_reads;
mod flushing;
mod lay_out;
mod open;
mod rebuild;
mod report;
mod retain;
mod room;
mod shared;
mod snapshots;
#[cfg(test)]
mod tests;
mod truncate;

use crate::files::{Files, OpenFile};
use crate::marks::SlotId;
use crate::segment::Segment;
use crate::{Corruption, Disk, EpochCache, EpochEntry, IoFailure, LogConfig, LogReader};
use flushing::Unsynced;
use quipu_record::{LeaderEpoch, Offset, PlantedBug, TopicPartition};
use room::Room;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use epoch_file::EpochFile;
pub(crate) use flushing::UnsyncedFile;
pub(crate) use open::open;
pub use report::{Appended, Cut, OpenReport, Repair, Retained};
pub(crate) use shared::Shared;
pub(crate) use snapshots::decode as decode_snapshot;

/// One partition's log: one owner, synchronous. Opened by [`crate::DataDir::open_log`].
#[derive(Debug)]
pub struct Log<D: Disk> {
    shared: Arc<Shared<D>>,
    config: LogConfig,
    epochs: Arc<EpochCache>,
    /// There once something was appended.
    files: Option<Box<OnDisk<D>>>,
    flushed: Offset,
    durable_log_start: Offset,
    /// Another number after each truncation, and in each log: a flush that was under way before proves nothing then.
    generation: u64,
    damage: Option<Box<Corruption>>,
    failed: Option<Box<(&'static str, PathBuf, String)>>,
    /// Where it was copied from lacks tombstones, and its own file does not say so yet.
    purged_unsaved: bool,
}

/// What a log has on disk.
#[derive(Debug)]
struct OnDisk<D: Disk> {
    slot: SlotId,
    incarnation: u64,
    /// Entries of the epochs' journal, and the last one.
    epochs_written: (usize, Option<EpochEntry>),
    unsynced: Unsynced<D>,
    room: Room,
    /// Segments below the log start; their files go once that is durable.
    leaving: Vec<Arc<Segment<D>>>,
    /// Offsets of producer snapshots, oldest first.
    snapshots: Vec<Offset>,
}

impl<D: Disk> Log<D> {
    /// Which partition's.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.shared.partition()
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.log_start()
    }

    /// The log start that a crash cannot take back; reaches [`Log::log_start`] with the next flush.
    #[must_use]
    pub const fn durable_log_start(&self) -> Offset {
        self.durable_log_start
    }

    /// The offset of the next record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.log_end()
    }

    /// Everything below is durable.
    #[must_use]
    pub const fn flushed(&self) -> Offset {
        self.flushed
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.reader().size_bytes()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.shared.view(|view| view.segments.len())
    }

    /// The epoch of the last batch; `None` while there is none.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        let first = self.first_base()?;
        let last = self.log_end().get().checked_sub(1).map(Offset::new)?;
        (last >= first).then(|| self.epochs.at(last)).flatten()
    }

    /// The leader epochs of the log.
    #[must_use]
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// The bad bytes on account of which the log takes no appends.
    #[must_use]
    pub fn damage(&self) -> Option<&Corruption> {
        self.damage.as_deref()
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the configuration, from the next operation on. Without [`LogConfig::direct_bytes`] a kill loses nothing that
    /// was appended, before this call too.
    pub fn set_config(&mut self, config: LogConfig) {
        let written_behind = std::mem::replace(&mut self.config, config).direct_bytes.is_some();
        if written_behind && self.config.direct_bytes.is_none() {
            self.shared.dir().disk().settle();
        }
    }

    /// Notes that `epoch` begins at the log end: a leader's first act. Written with the first batch of the epoch; an
    /// epoch not newer than the newest is already there and changes nothing.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.latest().is_none_or(|latest| latest.epoch < epoch) {
            let start = self.log_end();
            self.change_epochs(|epochs| epochs.begin(EpochEntry { epoch, start }));
        }
    }

    /// Files that readers found wrong since the last call, and made anew.
    #[must_use]
    pub fn take_repairs(&self) -> Vec<Repair> {
        self.shared.take_repairs()
    }

    /// A reader for other threads, cheap to clone.
    #[must_use]
    pub fn reader(&self) -> LogReader<D> {
        LogReader::new(Arc::clone(&self.shared))
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared<D>> {
        &self.shared
    }

    fn first_base(&self) -> Option<Offset> {
        self.shared
            .view(|view| view.segments.first().map(|segment| segment.base()))
    }

    fn change_epochs(&mut self, change: impl FnOnce(&mut EpochCache)) {
        change(Arc::make_mut(&mut self.epochs));
        self.publish_epochs();
    }

    fn publish_epochs(&self) {
        let epochs = Arc::clone(&self.epochs);
        self.shared.change_view(|view| view.epochs = epochs);
    }

    /// The disk failed: from now on the log takes nothing.
    fn fail(&mut self, failure: IoFailure) -> IoFailure {
        let what = failure.source.to_string();
        self.failed = Some(Box::new((failure.doing, failure.file.clone(), what)));
        failure
    }

    /// The failure before, if there was one.
    fn failure(&self) -> Option<IoFailure> {
        let (doing, file, what) = self.failed.as_deref()?;
        Some(IoFailure {
            doing,
            file: file.clone(),
            source: io::Error::other(format!("{what} (earlier: nothing is accepted since)")),
        })
    }
}

impl<D: Disk> OnDisk<D> {
    /// The file was written, and stays open until it is synced.
    fn note_unsynced(&mut self, files: &Files<D>, file: Arc<OpenFile<D>>) {
        if PlantedBug::DirtyDescriptorClosed.planted() {
            self.unsynced.add_found(file.path().to_owned());
            files.forget(&file);
            return;
        }
        self.unsynced.add(file);
    }
}
