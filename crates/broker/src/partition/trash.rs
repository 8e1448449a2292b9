//! The thread that removes the files that nobody needs any more: of segments that retention, a deletion of records, a
//! truncation or a cleaning left behind, and of replicas that went. Removing a large file takes a while, so nobody else waits
//! for it.

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use quipu_storage::{DataDir, RealDisk};
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks: a file keeps its bytes for so long at most, and as long as it takes.
const EVERY: Duration = Duration::from_millis(500);
/// Files between two looks at whether to stop.
const AT_ONCE: usize = 16;

/// The thread. It has the data directory open until it is stopped.
#[derive(Debug)]
pub(crate) struct TrashThread {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl TrashThread {
    pub(crate) fn start(dir: DataDir<RealDisk>) -> io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || {
                let mut pause = EVERY;
                while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    pause = match dir.empty_trash(AT_ONCE) {
                        Ok(AT_ONCE) => Duration::ZERO,
                        Ok(_) => EVERY,
                        Err(error) => {
                            tracing::warn!(%error, "a file that is not needed any more stays until the next start");
                            EVERY
                        }
                    };
                }
            })?;
        Ok(Self { stop, thread })
    }

    /// Stops it; what it has not removed is removed at the next start.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // A panic has said so itself.
        let _ = self.thread.join();
    }
}
