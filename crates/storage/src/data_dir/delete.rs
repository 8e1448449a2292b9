//! Deleting logs. A log's directory is renamed first, durably; what it held is removed when there is time. A crash leaves
//! the log whole, or a renamed directory that the next start removes.

use super::DataDir;
use crate::files::{failed, lock};
use crate::segment::is_gone;
use crate::{DataDirError, Disk, IoFailure, Log, paths};
use quipu_record::TopicPartition;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// What waits to be removed.
#[derive(Debug)]
pub(super) enum Trash {
    File(PathBuf),
    Dir(PathBuf),
}

impl<D: Disk> DataDir<D> {
    /// Deletes a log and everything of it. A crash in the middle is harmless: the deletion is finished at the next start,
    /// or the log is there whole.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn delete_log(&self, log: Log<D>) -> Result<(), DataDirError> {
        let partition = log.partition();
        self.let_go(log);
        self.delete_partition(partition)
    }

    /// Deletes what a partition has here, though no log is open (a topic that is gone, say).
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn delete_partition(&self, partition: TopicPartition) -> Result<(), DataDirError> {
        self.rename_away(partition, paths::DELETED)
            .and_then(|_| self.marks().release_now(partition))
            .map_err(DataDirError::Io)
    }

    /// Renames a damaged log's directory to `.corrupt` and forgets it, so that the partition can be copied again.
    /// Returns where the bytes are, if there were any.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn set_aside(&self, log: Log<D>) -> Result<Option<PathBuf>, DataDirError> {
        let partition = log.partition();
        self.let_go(log);
        let away = self.rename_away(partition, paths::CORRUPT);
        let away = away.map_err(DataDirError::Io)?;
        let released = self.marks().release_now(partition);
        released.map(|()| away).map_err(DataDirError::Io)
    }

    fn let_go(&self, log: Log<D>) {
        let shared = log.shared();
        // Whoever cleans it is done with its files, or will find it deleted.
        let _cleaning = lock(&shared.cleaning);
        shared.set_deleted();
        shared.change();
        let segments = shared.change_view(|view| std::mem::take(&mut view.segments));
        for segment in segments {
            segment.close(self.files());
        }
    }

    /// Renames a log's directory, durably. `None` if there is none.
    pub(crate) fn rename_away(
        &self,
        partition: TopicPartition,
        suffix: &str,
    ) -> Result<Option<PathBuf>, IoFailure> {
        let dir = paths::log_dir(self.root(), partition);
        let number = self.0.next_name.fetch_add(1, Ordering::Relaxed);
        let topic = paths::topic_dir(self.root(), partition.topic);
        let away = topic.join(format!("{}.{number}{suffix}", partition.partition));
        match self.disk().rename(&dir, &away) {
            Err(error) if is_gone(&error) => return Ok(None),
            renamed => renamed.map_err(failed("renaming", &dir))?,
        }
        self.files().sync_dir(&topic)?;
        if suffix == paths::DELETED {
            self.discard_dir(away.clone());
        }
        Ok(Some(away))
    }

    /// Lets a directory be removed later, which has its name for no other purpose.
    pub(crate) fn discard_dir(&self, dir: PathBuf) {
        lock(&self.0.trash).push(Trash::Dir(dir));
    }

    /// Lets a file be removed later, and gives it another name now: its own may be wanted again before that. If it cannot
    /// be renamed it stays, and the next start knows that it belongs to nothing.
    pub(crate) fn discard_file(&self, path: &Path) {
        let number = self.0.next_name.fetch_add(1, Ordering::Relaxed);
        let mut away = path.to_owned().into_os_string();
        away.push(format!(".{number}{}", paths::DELETED));
        let away = PathBuf::from(away);
        if self.disk().rename(path, &away).is_ok() {
            lock(&self.0.trash).push(Trash::File(away));
        }
    }

    /// How much waits to be removed.
    #[must_use]
    pub fn trash(&self) -> usize {
        lock(&self.0.trash).len()
    }

    /// Removes at most `most` of the files and directories that wait for it. Removing a large file takes a while: this is
    /// for a thread that may wait.
    ///
    /// # Errors
    /// [`DataDirError::Io`]; what could not be removed is removed at the next start.
    pub fn empty_trash(&self, most: usize) -> Result<usize, DataDirError> {
        let mut removed = 0;
        while removed < most {
            let Some(trash) = lock(&self.0.trash).pop() else {
                break;
            };
            match trash {
                Trash::File(path) => self.files().remove(&path),
                Trash::Dir(path) => self.remove_all(&path),
            }
            .map_err(DataDirError::Io)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn remove_all(&self, path: &Path) -> Result<(), IoFailure> {
        let entries = match self.disk().list(path) {
            Err(error) if is_gone(&error) => return Ok(()),
            entries => entries.map_err(failed("listing", path))?,
        };
        for entry in entries {
            self.files().remove(&path.join(entry.name))?;
        }
        match self.disk().remove_dir(path) {
            Err(error) if !is_gone(&error) => Err(failed("removing", path)(error)),
            _ => {
                // The topic's directory goes with its last partition.
                let _others_left = path.parent().map(|topic| self.disk().remove_dir(topic));
                Ok(())
            }
        }
    }
}
