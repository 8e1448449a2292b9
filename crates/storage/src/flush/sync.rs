//! The syncs of a round.

use super::helpers::Helpers;
use super::job::Part;
use crate::data_dir::DataDir;
use crate::files::failed;
use crate::log::UnsyncedFile;
use crate::segment::is_gone;
use crate::{Access, Disk, DiskFile, IoFailure};
use quipu_record::PlantedBug;
use std::path::PathBuf;

/// One call makes all durable, names too, once it is written.
pub(super) fn whole_filesystem<D: Disk>(dir: &DataDir<D>) -> Result<(), IoFailure> {
    let synced = dir.disk().sync_filesystem();
    synced.map_err(failed("syncing the file system of", dir.root()))
}

/// What one thread syncs, in order.
#[derive(Debug)]
pub(super) enum Task<D: Disk> {
    Chain(Vec<Part<D>>),
    Dir(PathBuf),
    Marks,
}

/// Each log's files oldest first, the logs beside each other; then the directories that name them.
pub(super) fn one_by_one<D: Disk>(
    helpers: &mut Helpers<D>,
    dir: &DataDir<D>,
    chains: Vec<Vec<Part<D>>>,
    dirs: Vec<PathBuf>,
    marks: bool,
) -> Result<(), IoFailure> {
    let mut tasks: Vec<_> = chains.into_iter().map(Task::Chain).collect();
    if marks {
        tasks.push(Task::Marks);
    }
    helpers.run(dir, tasks)?;
    if PlantedBug::NoDirectorySync.planted() {
        return Ok(());
    }
    helpers.run(dir, dirs.into_iter().map(Task::Dir).collect())
}

impl<D: Disk> Task<D> {
    pub(super) fn run(&self, dir: &DataDir<D>) -> Result<(), IoFailure> {
        match self {
            Self::Chain(parts) => parts.iter().try_for_each(|part| sync_part(dir, part)),
            Self::Dir(path) => match dir.disk().sync_dir(path) {
                // A deletion took it away meanwhile, and with it all that it named.
                Err(error) if is_gone(&error) => Ok(()),
                synced => synced.map_err(failed("syncing", path)),
            },
            Self::Marks => dir.marks().sync(),
        }
    }
}

fn sync_part<D: Disk>(dir: &DataDir<D>, part: &Part<D>) -> Result<(), IoFailure> {
    match &part.file {
        UnsyncedFile::Open(file) => file.sync_taken(part.taken),
        UnsyncedFile::Found(path) => match dir.disk().open(path, Access::Read) {
            // Retention or truncation took it away meanwhile.
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(failed("opening", path)(error)),
            Ok(file) => file.sync_data().map_err(failed("syncing", path)),
        },
    }
}
