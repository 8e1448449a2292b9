//! Threads that read what is no longer in memory. A read that waits for the disk holds up neither an append nor a
//! network thread.
//!
//! The line in front of them is bounded: who does not get a place in it waits, in order, holding nothing.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait for each thread.
const PLACES_PER_THREAD: usize = 4;

/// The threads and the line in front of them. Dropping it lets them finish what they have and waits for it.
#[derive(Debug)]
pub(crate) struct ReadPool {
    jobs: Option<crossbeam_channel::Sender<Job>>,
    /// A job keeps its place until it has run, even if its caller has gone: the channel is never full.
    places: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

/// The broker is going down: the read was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolClosed;

impl ReadPool {
    /// Starts `threads` threads.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (sender, receiver) = crossbeam_channel::bounded::<Job>(threads * (PLACES_PER_THREAD + 1));
        let handles = (0..threads)
            .map(|n| {
                let jobs = receiver.clone();
                std::thread::Builder::new()
                    .name(format!("read-{n}"))
                    .spawn(move || jobs.iter().for_each(|job| job()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            jobs: Some(sender),
            places: Arc::new(Semaphore::new(threads * (PLACES_PER_THREAD + 1))),
            threads: handles,
        })
    }

    /// Runs `read` on one of the threads. If the caller goes away while it stands in line, it is not run.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolClosed> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| PoolClosed)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !answer.is_closed() {
                // The caller may have gone meanwhile; then nobody wants it.
                let _ = answer.send(read());
            }
            drop(place);
        });
        let jobs = self.jobs.as_ref().ok_or(PoolClosed)?;
        jobs.try_send(job).map_err(|_| PoolClosed)?;
        answered.await.map_err(|_| PoolClosed)
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A read that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn runs_and_answers() {
        let pool = ReadPool::start(2).expect("threads");
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn more_jobs_than_places_all_run() {
        let pool = Arc::new(ReadPool::start(1).expect("a thread"));
        let done = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
                tokio::spawn(async move { pool.run(move || done.fetch_add(1, Ordering::Relaxed)).await })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no panic").expect("the pool is open");
        }
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn a_read_nobody_waits_for_is_not_run() {
        let pool = ReadPool::start(1).expect("a thread");
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let ran = Arc::new(AtomicUsize::new(0));
        {
            let mut blocker = std::pin::pin!(pool.run(move || gate.recv().is_ok()));
            let abandoned = pool.run({
                let ran = Arc::clone(&ran);
                move || ran.fetch_add(1, Ordering::Relaxed)
            });
            tokio::select! {
                biased;
                _ = &mut blocker => panic!("the gate is shut"),
                _ = abandoned => panic!("the thread is blocked"),
                () = tokio::task::yield_now() => {}
            }
            release.send(()).expect("the blocker waits");
            assert_eq!(blocker.await, Ok(true));
        }
        drop(pool);
        assert_eq!(ran.load(Ordering::Relaxed), 0);
    }
}
