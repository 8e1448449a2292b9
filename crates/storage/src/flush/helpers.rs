//! Threads that sync beside the flusher's own. They are kept from round to round: starting one takes as long as a sync.

use super::sync::Task;
use crate::data_dir::DataDir;
use crate::files::{failed, lock};
use crate::{Disk, IoFailure};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How many syncs run at a time.
const PARALLEL: usize = 8;

/// The threads, as many as were needed so far.
#[derive(Debug)]
pub(super) struct Helpers<D: Disk>(Vec<Helper<D>>);

#[derive(Debug)]
struct Helper<D: Disk> {
    work: Sender<Arc<Work<D>>>,
    thread: JoinHandle<()>,
}

/// Tasks in any order, each done by whoever comes to it first.
#[derive(Debug)]
struct Work<D: Disk> {
    dir: DataDir<D>,
    tasks: Vec<Task<D>>,
    next: AtomicUsize,
    ended: Mutex<Ended>,
    all_ended: Condvar,
}

#[derive(Debug, Default)]
struct Ended {
    tasks: usize,
    failure: Option<IoFailure>,
}

impl<D: Disk> Helpers<D> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Runs tasks, in parallel if the disk gains by it. All are run, and the first failure is told.
    pub(super) fn run(&mut self, dir: &DataDir<D>, tasks: Vec<Task<D>>) -> Result<(), IoFailure> {
        if tasks.len() < 2 || !D::PARALLEL {
            return tasks.iter().try_for_each(|task| task.run(dir));
        }
        let helpers = tasks.len().min(PARALLEL) - 1;
        while self.0.len() < helpers {
            // Without it the others have more to do.
            let Ok(helper) = Helper::start() else { break };
            self.0.push(helper);
        }
        let work = Arc::new(Work {
            dir: dir.clone(),
            tasks,
            next: AtomicUsize::new(0),
            ended: Mutex::default(),
            all_ended: Condvar::new(),
        });
        for helper in self.0.iter().take(helpers) {
            // One that panicked takes nothing any more.
            let _ = helper.work.send(Arc::clone(&work));
        }
        work.join_in();
        work.wait()
    }
}

impl<D: Disk> Drop for Helpers<D> {
    /// Waits for them: nobody holds the data directory any more once this is over.
    fn drop(&mut self) {
        for Helper { work, thread } in self.0.drain(..) {
            drop(work);
            let _ = thread.join();
        }
    }
}

impl<D: Disk> Helper<D> {
    fn start() -> io::Result<Self> {
        let (work, works) = channel::<Arc<Work<D>>>();
        let thread = std::thread::Builder::new()
            .name("sync".to_owned())
            .spawn(move || {
                for work in works {
                    work.join_in();
                }
            })?;
        Ok(Self { work, thread })
    }
}

impl<D: Disk> Work<D> {
    /// Does what nobody else has begun.
    fn join_in(&self) {
        while let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            // Counted even if it panics: else nobody would hear of it.
            let mut end = End {
                work: self,
                result: Err(failed("syncing", self.dir.root())(io::Error::other(
                    "a thread that synced panicked",
                ))),
            };
            end.result = task.run(&self.dir);
        }
    }

    fn wait(&self) -> Result<(), IoFailure> {
        let mut ended = lock(&self.ended);
        while ended.tasks < self.tasks.len() {
            ended = self.all_ended.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
        ended.failure.take().map_or(Ok(()), Err)
    }
}

/// What came of a task.
struct End<'w, D: Disk> {
    work: &'w Work<D>,
    result: Result<(), IoFailure>,
}

impl<D: Disk> Drop for End<'_, D> {
    fn drop(&mut self) {
        let mut ended = lock(&self.work.ended);
        ended.tasks += 1;
        if let Err(failure) = std::mem::replace(&mut self.result, Ok(())) {
            ended.failure.get_or_insert(failure);
        }
        if ended.tasks == self.work.tasks.len() {
            self.work.all_ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::job::Part;
    use crate::log::UnsyncedFile;
    use crate::{Access, DataDirOptions, DiskFile as _, RealDisk};
    use std::path::PathBuf;

    #[test]
    fn all_tasks_are_run_the_failure_is_told_and_the_threads_go_on() {
        let root = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(root.path()).unwrap();
        let data = root.path().join("data");
        let (dir, _) = DataDir::open(disk.clone(), data, DataDirOptions::default()).unwrap();
        let found = |name: &str| Task::Chain(vec![Part::new(UnsyncedFile::Found(root.path().join(name)))]);
        let names: Vec<String> = (0..20).map(|n| format!("file-{n}")).collect();
        for name in &names {
            let file = disk.open(&root.path().join(name), Access::CreateNew).unwrap();
            file.write_at(&[io::IoSlice::new(b"bytes")], 0).unwrap();
        }
        let good = || -> Vec<Task<RealDisk>> {
            let files = names.iter().map(|name| found(name));
            files
                .chain([Task::Marks, Task::Dir(PathBuf::from(root.path()))])
                .collect()
        };
        let mut helpers = Helpers::new();
        helpers.run(&dir, good()).unwrap();
        assert_eq!(helpers.0.len(), PARALLEL - 1);

        let mut bad = good();
        bad.insert(7, found("file-0/no-directory"));
        let failure = helpers.run(&dir, bad).unwrap_err();
        assert!(failure.to_string().contains("no-directory"), "{failure}");

        helpers.run(&dir, good()).unwrap();
        assert_eq!(helpers.0.len(), PARALLEL - 1, "threads are kept");
    }

    #[test]
    fn few_tasks_start_few_threads() {
        let root = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(root.path()).unwrap();
        let (dir, _) = DataDir::open(disk, root.path().join("data"), DataDirOptions::default()).unwrap();
        let mut helpers = Helpers::new();
        helpers.run(&dir, vec![Task::Marks]).unwrap();
        assert_eq!(helpers.0.len(), 0);
        helpers.run(&dir, vec![Task::Marks, Task::Marks]).unwrap();
        assert_eq!(helpers.0.len(), 1);
    }
}
