//! What a log's owner and its readers share.

use super::file_reads::FileReads;
use crate::compact::CleanState;
use crate::data_dir::DataDir;
use crate::files::lock;
use crate::segment::{Place, Segment};
use crate::{Disk, EpochCache, Repair};
use quipu_record::{Offset, TopicPartition};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The segments and epochs of a log, at one moment.
#[derive(Debug)]
pub(crate) struct View<D: Disk> {
    /// Oldest first; the last is the active one.
    pub(crate) segments: Vec<Arc<Segment<D>>>,
    pub(crate) epochs: Arc<EpochCache>,
}

/// Shared by a log and its readers. The owner alone changes it.
#[derive(Debug)]
pub(crate) struct Shared<D: Disk> {
    dir: DataDir<D>,
    partition: TopicPartition,
    log_start: AtomicU64,
    log_end: AtomicU64,
    /// Goes up when bytes may have changed that a reader has read: it reads them again.
    changes: AtomicU64,
    deleted: AtomicBool,
    /// Offsets may leave gaps below; goes up before a reader can come by one.
    cleaned_to: AtomicU64,
    /// Tombstones below may be purged, or may have been.
    tombstone_floor: AtomicU64,
    /// Whether the files are being read.
    pub(crate) file_reads: FileReads,
    /// Held while segments are swapped, and while the log is cut.
    pub(crate) cleaning: Mutex<CleanState>,
    view: RwLock<View<D>>,
    repairs: Mutex<Vec<Repair>>,
}

/// Repairs that are kept for the owner to ask for; more are dropped.
const REPAIRS_MAX: usize = 64;

impl<D: Disk> Shared<D> {
    pub(crate) fn new(dir: DataDir<D>, partition: TopicPartition) -> Self {
        let view = View {
            segments: Vec::new(),
            epochs: Arc::default(),
        };
        Self {
            dir,
            partition,
            log_start: AtomicU64::new(0),
            log_end: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
            cleaned_to: AtomicU64::new(0),
            tombstone_floor: AtomicU64::new(0),
            file_reads: FileReads::default(),
            cleaning: Mutex::default(),
            view: RwLock::new(view),
            repairs: Mutex::new(Vec::new()),
        }
    }

    pub(crate) const fn dir(&self) -> &DataDir<D> {
        &self.dir
    }

    pub(crate) const fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// The directory of its files.
    pub(crate) fn path(&self) -> PathBuf {
        crate::paths::log_dir(self.dir.root(), self.partition)
    }

    /// Runs with the place of its files.
    pub(crate) fn at_place<T>(&self, run: impl FnOnce(&Place<'_, D>) -> T) -> T {
        let dir = self.path();
        run(&Place {
            files: self.dir.files(),
            dir: &dir,
        })
    }

    pub(crate) fn log_start(&self) -> Offset {
        Offset::new(self.log_start.load(Ordering::Acquire))
    }

    pub(crate) fn set_log_start(&self, offset: Offset) {
        self.log_start.store(offset.get(), Ordering::Release);
    }

    pub(crate) fn log_end(&self) -> Offset {
        Offset::new(self.log_end.load(Ordering::Acquire))
    }

    pub(crate) fn set_log_end(&self, offset: Offset) {
        self.log_end.store(offset.get(), Ordering::Release);
    }

    pub(crate) fn cleaned_to(&self) -> Offset {
        Offset::new(self.cleaned_to.load(Ordering::SeqCst))
    }

    pub(crate) fn raise_cleaned_to(&self, offset: Offset) {
        self.cleaned_to.fetch_max(offset.get(), Ordering::SeqCst);
    }

    pub(crate) fn tombstone_floor(&self) -> Offset {
        Offset::new(self.tombstone_floor.load(Ordering::SeqCst))
    }

    pub(crate) fn raise_tombstone_floor(&self, offset: Offset) {
        self.tombstone_floor.fetch_max(offset.get(), Ordering::SeqCst);
    }

    /// The log ends at `end`.
    pub(crate) fn cut_tombstone_floor(&self, end: Offset) {
        self.tombstone_floor.fetch_min(end.get(), Ordering::SeqCst);
    }

    pub(crate) fn set_cleaned_to(&self, offset: Offset) {
        self.cleaned_to.store(offset.get(), Ordering::SeqCst);
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Bytes that were readable are going to change. The log end (or start) was moved before.
    pub(crate) fn change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(crate) fn set_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Looks at the view, briefly.
    pub(crate) fn view<T>(&self, look: impl FnOnce(&View<D>) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the view, briefly.
    pub(crate) fn change_view<T>(&self, change: impl FnOnce(&mut View<D>) -> T) -> T {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The active segment.
    pub(crate) fn active(&self) -> Option<Arc<Segment<D>>> {
        self.view(|view| view.segments.last().cloned())
    }

    pub(crate) fn epochs(&self) -> Arc<EpochCache> {
        self.view(|view| Arc::clone(&view.epochs))
    }

    pub(crate) fn note_repair(&self, repair: Repair) {
        let mut repairs = lock(&self.repairs);
        if repairs.len() < REPAIRS_MAX {
            repairs.push(repair);
        }
    }

    pub(crate) fn take_repairs(&self) -> Vec<Repair> {
        std::mem::take(&mut lock(&self.repairs))
    }
}
