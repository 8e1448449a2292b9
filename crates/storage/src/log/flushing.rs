//! What must be synced before a log is durable, and what a sync proves.

use super::Log;
use crate::Disk;
use crate::files::OpenFile;
use crate::flush::{Claim, FlushDone, FlushJob};
use crate::marks::Mark;
use crate::paths;
use quipu_record::{Offset, PlantedBug};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file with unsynced bytes.
#[derive(Debug)]
pub(crate) enum UnsyncedFile<D: Disk> {
    /// Written by this process: open since then, lest a write error be lost.
    Open(Arc<OpenFile<D>>),
    /// Written by a process before this one.
    Found(PathBuf),
}

impl<D: Disk> UnsyncedFile<D> {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Open(file) => file.path(),
            Self::Found(path) => path,
        }
    }

    /// Whether a sync of one is a sync of the other.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open(one), Self::Open(other)) => Arc::ptr_eq(one, other),
            (Self::Found(one), Self::Found(other)) => one == other,
            _ => false,
        }
    }
}

/// What of a log is not durable.
#[derive(Debug)]
pub(crate) struct Unsynced<D: Disk> {
    /// Oldest first.
    files: Vec<UnsyncedFile<D>>,
    /// Whether names in the log's directory changed.
    pub(super) names: bool,
    /// Whether the directory itself is new, or may be. Others that name it may be another log's doing and not be durable
    /// either, so that all of them are synced.
    pub(super) dir_itself: bool,
    /// Whether the log start moved.
    pub(super) log_start: bool,
}

impl<D: Disk> Unsynced<D> {
    pub(crate) const fn nothing() -> Self {
        Self {
            files: Vec::new(),
            names: false,
            dir_itself: false,
            log_start: false,
        }
    }

    pub(super) fn add(&mut self, file: Arc<OpenFile<D>>) {
        let file = UnsyncedFile::Open(file);
        // The same file is mostly the last one.
        if !self.files.iter().rev().any(|known| known.is(&file)) {
            self.files.push(file);
        }
    }

    pub(super) fn add_found(&mut self, path: PathBuf) {
        if !self.files.iter().any(|file| file.path() == path) {
            self.files.push(UnsyncedFile::Found(path));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Drops what was added after the first `len` files, all but what `keep` says.
    pub(super) fn forget_after(&mut self, len: usize, keep: impl Fn(&Path) -> bool) {
        let mut at = 0;
        self.files.retain(|file| {
            at += 1;
            at <= len || keep(file.path())
        });
    }

    /// Drops files that are gone.
    pub(super) fn retain(&mut self, keep: impl Fn(&Path) -> bool) {
        self.files.retain(|file| keep(file.path()));
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.names && !self.dir_itself && !self.log_start
    }
}

impl<D: Disk> Log<D> {
    /// Whether a flush would do anything.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let unsynced = self.files.as_ref().map(|files| &files.unsynced);
        unsynced.is_some_and(|unsynced| !unsynced.is_empty())
    }

    /// What must be synced to make the log durable as it is now; `None` if it is, or if jobs that were taken before will.
    /// Several jobs of one log may be under way, if rounds run in the order in which the jobs were taken.
    pub fn take_flush(&mut self) -> Option<FlushJob<D>> {
        if !self.is_dirty() || self.failed.is_some() {
            return None;
        }
        let mark = self.mark();
        let (dir, root) = (self.shared.path(), self.shared.dir().root().to_owned());
        let claim = Claim {
            partition: self.partition(),
            up_to: self.log_end(),
            log_start: self.log_start(),
            generation: self.generation,
        };
        let topic = claim.partition.topic;
        let files = self.files.as_mut()?;
        let mut unsynced = std::mem::replace(&mut files.unsynced, Unsynced::nothing());
        if PlantedBug::NewSegmentSyncedFirst.planted() && unsynced.files.len() > 1 {
            unsynced.files.drain(..unsynced.files.len() - 1);
        }
        let mut dirs = Vec::new();
        if unsynced.names || unsynced.dir_itself {
            dirs.push(dir);
        }
        if unsynced.dir_itself {
            dirs.push(paths::topic_dir(&root, topic));
            dirs.push(root.join(paths::LOGS));
        }
        let generation = self.shared.dir().marks().generation(files.slot);
        Some(FlushJob::new(
            claim,
            unsynced.files,
            dirs,
            files.slot,
            generation,
            mark,
        ))
    }

    /// Takes note of a job done, and returns [`Log::flushed`].
    pub fn flush_done(&mut self, done: &FlushDone) -> Offset {
        let claim = done.claim();
        if claim.generation == self.generation && claim.partition == self.partition() {
            self.flushed = self.flushed.max(claim.up_to);
            self.durable_log_start = self.durable_log_start.max(claim.log_start);
            self.remove_left();
        }
        self.flushed
    }

    /// The mark that a flush of all there is completes.
    pub(super) fn mark(&self) -> Option<Mark> {
        let active = self.shared.active()?;
        Some(Mark {
            segment: active.base(),
            end: active.end(),
            epoch: self.last_epoch(),
            created: active.created(),
        })
    }

    /// Removes the files of segments below the durable log start. What a reader has open it goes on reading.
    fn remove_left(&mut self) {
        let durable = self.durable_log_start;
        let Some(files) = self.files.as_mut() else { return };
        let gone: Vec<_> = files
            .leaving
            .extract_if(.., |segment| segment.end().next <= durable)
            .collect();
        if gone.is_empty() {
            return;
        }
        let dir = self.shared.path();
        for segment in &gone {
            segment.close(self.shared.dir().files());
            for kind in paths::Kind::OF_SEGMENT {
                let path = paths::at_offset(&dir, segment.base(), kind);
                self.shared.dir().discard_file(&path);
            }
        }
        // A file that is found without its batches is removed at the next start; so is a segment below the log start.
        files
            .unsynced
            .retain(|path| !gone.iter().any(|segment| is_of(path, segment.base())));
    }
}

/// Whether a path is a file of the segment at `base`.
pub(super) fn is_of(path: &Path, base: Offset) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(paths::parse_at_offset)
        .is_some_and(|(offset, kind)| offset == base && paths::Kind::OF_SEGMENT.contains(&kind))
}
