//! Tasks that stop when they are asked to.

use crate::error::WorkloadError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

/// Whether to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Whether it was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for.
    pub async fn wait(&mut self) {
        // If nobody can ask any more, it is over too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Waits for so long, or until it is asked for. Whether to go on.
    pub async fn pause(&mut self, time: Duration) -> bool {
        timeout(time, self.wait()).await.is_err()
    }
}

/// Tasks that stop when they are asked to. Dropped, they are aborted.
#[derive(Debug)]
pub struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<Result<(), WorkloadError>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stop: watch::Sender::new(false),
            running: JoinSet::new(),
        }
    }

    /// Starts one more; it is told when to stop.
    pub fn spawn<F>(&mut self, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = Result<(), WorkloadError>> + Send + 'static,
    {
        self.running.spawn(task(Stop(self.stop.subscribe())));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Why one has ended by itself, if one has: no task ends well before it is asked to.
    pub fn broken(&mut self) -> Option<WorkloadError> {
        loop {
            if let Err(error) = flat(self.running.try_join_next()?) {
                return Some(error);
            }
        }
    }

    /// Asks all to stop, and waits until they have: each ends the operation that it is in. After `within` they are
    /// aborted; their operations stay open.
    ///
    /// # Errors
    /// The first that ended in one, or that tasks had to be aborted.
    pub async fn stop(mut self, within: Duration) -> Result<(), WorkloadError> {
        self.stop.send_replace(true);
        let deadline = Instant::now() + within;
        let mut first = Ok(());
        loop {
            match timeout_at(deadline, self.running.join_next()).await {
                Ok(None) => return first,
                Ok(Some(ended)) => first = first.and(flat(ended)),
                Err(_) => {
                    let tasks = self.running.len();
                    self.running.shutdown().await;
                    let seconds = within.as_secs();
                    return first.and(Err(WorkloadError::Stuck { tasks, seconds }));
                }
            }
        }
    }
}

/// How a task ended.
pub(crate) fn flat(ended: Result<Result<(), WorkloadError>, JoinError>) -> Result<(), WorkloadError> {
    ended.unwrap_or_else(|error| Err(WorkloadError::Panicked(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_end_when_they_are_asked_to() {
        let mut tasks = Tasks::new();
        tasks.spawn(|mut stop| async move {
            while stop.pause(Duration::from_secs(3600)).await {}
            Ok(())
        });
        assert_eq!(tasks.count(), 1);
        assert!(tasks.broken().is_none());
        tasks.stop(Duration::from_secs(60)).await.expect("it stops");
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_told_of() {
        let mut tasks = Tasks::new();
        tasks.spawn(|_| std::future::pending());
        let stuck = tasks.stop(Duration::from_millis(10)).await;
        assert!(
            matches!(stuck, Err(WorkloadError::Stuck { tasks: 1, .. })),
            "{stuck:?}"
        );
    }
}
