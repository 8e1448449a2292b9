//! Where a node keeps its data.

use crate::Result;
use crate::disk::LossyDisk;
use std::path::{Path, PathBuf};

/// A node's disk.
pub(crate) enum Volume {
    /// A plain directory: it loses nothing.
    Plain(PathBuf),
    /// One whose power can be cut, and more.
    Lossy(LossyDisk),
}

impl Volume {
    /// A directory in `home`.
    pub(crate) fn plain(home: &Path) -> Result<Self> {
        let path = home.join("data");
        std::fs::create_dir_all(&path)?;
        Ok(Self::Plain(path))
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        match self {
            Self::Plain(path) => path,
            Self::Lossy(disk) => disk.data_dir(),
        }
    }

    /// What the node is told of `storage.flush.method`.
    pub(crate) const fn flush_method(&self) -> &'static str {
        match self {
            Self::Plain(_) => "fdatasync",
            Self::Lossy(disk) => disk.flush().method(),
        }
    }

    /// The disk, if it is one that can lose something.
    pub(crate) fn lossy(&mut self) -> Result<&mut LossyDisk> {
        match self {
            Self::Plain(_) => Err("this run has no disks that lose anything".into()),
            Self::Lossy(disk) => Ok(disk),
        }
    }

    /// A new disk, with nothing on it. The node must be down.
    pub(crate) fn wipe(&mut self) -> Result<()> {
        match self {
            Self::Plain(path) => {
                for entry in std::fs::read_dir(&*path)? {
                    let path = entry?.path();
                    if path.is_dir() {
                        std::fs::remove_dir_all(path)?;
                    } else {
                        std::fs::remove_file(path)?;
                    }
                }
                Ok(())
            }
            Self::Lossy(disk) => disk.replace(),
        }
    }
}
