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
    ($(#[$doc:meta])* $name:ident, threads: $threads:literal, rng: $rng:ty, $make:expr) => {
        $(#[$doc])*
        #[derive(Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name;

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
                Inner::spawn(future)
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
    Tokio, threads: true, rng: <Inner as AsyncRuntime>::ThreadLocalRng, Inner::thread_rng()
}
