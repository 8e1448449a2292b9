//! The runtimes that the group can run on: tokio's, and tokio's with all chance taken out.

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use std::future::Future;
use std::time::Duration;

type Inner = TokioRuntime;

/// A runtime, and whether it may have threads of its own.
pub(crate) trait Runtime: AsyncRuntime {
    /// Whether the log is written by a thread. A simulation has none.
    const THREADS: bool;
}

/// Both runtimes are tokio's, but for where random numbers come from.
macro_rules! runtime {
    ($(#[$doc:meta])* $vis:vis $name:ident, threads: $threads:literal, spawn: $spawn:path, rng: $rng:ty, $make:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name;

        impl Runtime for $name {
            const THREADS: bool = $threads;
        }

        impl AsyncRuntime for $name {
            type JoinError = <Inner as AsyncRuntime>::JoinError;
            type JoinHandle<T: OptionalSend + 'static> = <Inner as AsyncRuntime>::JoinHandle<T>;
            type Sleep = <Inner as AsyncRuntime>::Sleep;
            type Instant = <Inner as AsyncRuntime>::Instant;
            type TimeoutError = <Inner as AsyncRuntime>::TimeoutError;
            type Timeout<R, T: Future<Output = R> + OptionalSend> = <Inner as AsyncRuntime>::Timeout<R, T>;
            type ThreadLocalRng = $rng;
            type OneshotSender<T: OptionalSend> = <Inner as AsyncRuntime>::OneshotSender<T>;
            type OneshotReceiver<T: OptionalSend> = <Inner as AsyncRuntime>::OneshotReceiver<T>;
            type OneshotReceiverError = <Inner as AsyncRuntime>::OneshotReceiverError;

            fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
            where
                T: Future + OptionalSend + 'static,
                T::Output: OptionalSend + 'static,
            {
                $spawn(future)
            }

            fn sleep(duration: Duration) -> Self::Sleep {
                Inner::sleep(duration)
            }

            fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
                Inner::sleep_until(deadline)
            }

            fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
                Inner::timeout(duration, future)
            }

            fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
                deadline: Self::Instant,
                future: F,
            ) -> Self::Timeout<R, F> {
                Inner::timeout_at(deadline, future)
            }

            fn is_panic(join_error: &Self::JoinError) -> bool {
                Inner::is_panic(join_error)
            }

            fn thread_rng() -> Self::ThreadLocalRng {
                $make
            }

            fn oneshot<T: OptionalSend>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
                Inner::oneshot()
            }
        }
    };
}

runtime! {
    /// Production.
    pub(crate) Tokio, threads: true, spawn: Inner::spawn, rng: <Inner as AsyncRuntime>::ThreadLocalRng, Inner::thread_rng()
}

#[cfg(any(test, feature = "test-util"))]
pub(crate) use seeded::Process;
#[cfg(any(test, feature = "test-util"))]
pub use seeded::Seeded;

#[cfg(any(test, feature = "test-util"))]
mod seeded {
    use super::{AsyncRuntime, Duration, Future, Inner, OptionalSend, Runtime};
    use rand_08::rngs::SmallRng;
    use rand_08::{Error, RngCore, SeedableRng};
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex, PoisonError};
    use tokio::task::AbortHandle;

    thread_local!(static RNG: RefCell<SmallRng> = RefCell::new(SmallRng::seed_from_u64(0)));

    runtime! {
        /// No threads, and random numbers from a seed.
        pub Seeded, threads: false, spawn: spawn, rng: SeededRng, SeededRng
    }

    impl Seeded {
        /// Begins the random numbers of this thread anew.
        pub fn seed(seed: u64) {
            RNG.with_borrow_mut(|rng| *rng = SmallRng::seed_from_u64(seed));
        }
    }

    tokio::task_local!(static PROCESS: Process);

    /// The tasks of one controller, so that it can end as a process does: at once, whatever they were about. Cheap to
    /// clone; the clones are one process.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Process(Arc<Mutex<Vec<AbortHandle>>>);

    impl Process {
        /// Runs this in the process, and with it all tasks that come of it.
        pub(crate) async fn run<T>(&self, future: impl Future<Output = T>) -> T {
            PROCESS.scope(self.clone(), future).await
        }

        /// The end: no task does anything from here on.
        pub(crate) fn end(&self) {
            let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.drain(..).for_each(|task| task.abort());
        }

        fn add(&self, task: AbortHandle) {
            let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if tasks.len() == tasks.capacity() {
                tasks.retain(|task| !task.is_finished());
            }
            tasks.push(task);
        }
    }

    fn spawn<T>(future: T) -> <Inner as AsyncRuntime>::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let Ok(process) = PROCESS.try_with(Process::clone) else {
            return Inner::spawn(future);
        };
        let task = Inner::spawn(PROCESS.scope(process.clone(), future));
        process.add(task.abort_handle());
        task
    }

    /// This thread's seeded numbers.
    #[derive(Clone, Copy, Debug)]
    pub struct SeededRng;

    impl RngCore for SeededRng {
        fn next_u32(&mut self) -> u32 {
            RNG.with_borrow_mut(RngCore::next_u32)
        }

        fn next_u64(&mut self) -> u64 {
            RNG.with_borrow_mut(RngCore::next_u64)
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            RNG.with_borrow_mut(|rng| rng.fill_bytes(bytes));
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
            self.fill_bytes(bytes);
            Ok(())
        }
    }
}
