//! When a log goes into a flush round: one job of a log at a time. What is appended while a round runs goes into the next
//! one as a whole; several jobs would only sync the same file again.

use quipu_replication::Driver;
use quipu_storage::{FlushJob, RealDisk};

/// Where one log stands between appending and flushing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flush {
    /// A job of it is with the flusher.
    under_way: bool,
    /// There is more to flush than that job covers.
    wanted: bool,
}

impl Flush {
    /// A flush is wanted. True if it can begin now.
    pub(super) fn want(&mut self) -> bool {
        self.wanted = true;
        !self.under_way
    }

    /// Takes the job that covers everything up to now.
    pub(super) fn begin(&mut self, driver: &mut Driver<RealDisk>) -> Option<FlushJob<RealDisk>> {
        let job = driver.take_flush();
        self.begun(job.is_some());
        job
    }

    fn begun(&mut self, under_way: bool) {
        self.under_way = under_way;
        self.wanted = false;
    }

    /// The job is done. True if there is more.
    pub(super) fn end(&mut self) -> bool {
        self.under_way = false;
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_at_a_time_and_none_is_forgotten() {
        let mut flush = Flush::default();
        assert!(flush.want());
        flush.begun(true);
        assert!(!flush.want(), "a round is running");
        assert!(!flush.want());
        assert!(flush.end(), "what came meanwhile");
        assert!(flush.want());
        flush.begun(true);
        assert!(!flush.end(), "nothing came meanwhile");
    }

    #[test]
    fn nothing_to_flush_is_not_under_way() {
        let mut flush = Flush::default();
        assert!(flush.want());
        flush.begun(false);
        assert!(flush.want());
    }
}
