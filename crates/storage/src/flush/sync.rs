//! The syncs of a round.

use crate::data_dir::DataDir;
use crate::files::{failed, lock};
use crate::log::UnsyncedFile;
use crate::segment::is_gone;
use crate::{Access, Disk, DiskFile, IoFailure};
use quipu_record::PlantedBug;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// How many syncs run at a time.
const PARALLEL: usize = 8;

/// One call makes all durable, names too.
pub(super) fn whole_filesystem<D: Disk>(dir: &DataDir<D>) -> Result<(), IoFailure> {
    let synced = dir.disk().sync_filesystem();
    synced.map_err(failed("syncing the file system of", dir.root()))
}

/// What one thread syncs, in order.
enum Task<'j, D: Disk> {
    Chain(&'j [UnsyncedFile<D>]),
    Dir(&'j Path),
    Marks,
}

/// Each log's files oldest first, the logs beside each other; then the directories that name them.
pub(super) fn one_by_one<D: Disk>(
    dir: &DataDir<D>,
    chains: &[Vec<UnsyncedFile<D>>],
    dirs: &[PathBuf],
    marks: bool,
) -> Result<(), IoFailure> {
    let mut tasks: Vec<_> = chains.iter().map(|chain| Task::Chain(chain)).collect();
    if marks {
        tasks.push(Task::Marks);
    }
    run(dir, tasks)?;
    if PlantedBug::NoDirectorySync.planted() {
        return Ok(());
    }
    run(dir, dirs.iter().map(|path| Task::Dir(path)).collect())
}

/// Runs tasks, in parallel if the disk gains by it. All are run, and the first failure is told.
fn run<D: Disk>(dir: &DataDir<D>, tasks: Vec<Task<'_, D>>) -> Result<(), IoFailure> {
    if tasks.len() < 2 || !D::PARALLEL {
        return tasks.iter().try_for_each(|task| task.run(dir));
    }
    let threads = tasks.len().min(PARALLEL);
    let left = Mutex::new(tasks);
    let failure = Mutex::new(None);
    let work = || {
        loop {
            let Some(task) = lock(&left).pop() else { break };
            if let Err(error) = task.run(dir) {
                lock(&failure).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(failure)) => Err(failure),
        Err(_) => Err(failed("syncing", dir.root())(std::io::Error::other(
            "a thread that synced panicked",
        ))),
    }
}

impl<D: Disk> Task<'_, D> {
    fn run(&self, dir: &DataDir<D>) -> Result<(), IoFailure> {
        match self {
            Self::Chain(files) => files.iter().try_for_each(|file| sync_file(dir, file)),
            Self::Dir(path) => match dir.disk().sync_dir(path) {
                // A deletion took it away meanwhile, and with it all that it named.
                Err(error) if is_gone(&error) => Ok(()),
                synced => synced.map_err(failed("syncing", path)),
            },
            Self::Marks => dir.marks().sync(),
        }
    }
}

fn sync_file<D: Disk>(dir: &DataDir<D>, file: &UnsyncedFile<D>) -> Result<(), IoFailure> {
    match file {
        UnsyncedFile::Open(file) => file.sync(),
        UnsyncedFile::Found(path) => match dir.disk().open(path, Access::Read) {
            // Retention or truncation took it away meanwhile.
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(failed("opening", path)(error)),
            Ok(file) => file.sync_data().map_err(failed("syncing", path)),
        },
    }
}
