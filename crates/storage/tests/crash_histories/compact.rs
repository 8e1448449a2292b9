//! Compaction among the operations of a history.

use crate::history::{Exit, History, Outcome, Process};
use quipu_record::Timestamp;
use quipu_storage::{CleanError, CleanLimits, CleanStep};

/// Calls that change the disk: a cleaning of a few small segments makes fewer, mostly.
const CALLS_OF_A_CLEANING: u64 = 60;

impl History<'_> {
    /// One of the logs that are compacted.
    pub(crate) fn some_table(&mut self) -> Option<usize> {
        let all = self.models.iter().enumerate();
        let tables: Vec<_> = all
            .filter(|(_, it)| it.keyed.is_some())
            .map(|(at, _)| at)
            .collect();
        (!tables.is_empty()).then(|| tables[self.rng.index(tables.len())])
    }

    /// Some steps of the cleaning under way, or of a new one.
    pub(crate) fn compact(&mut self, process: &mut Process, at: usize) -> Outcome {
        let steps = 1 + self.rng.below(4);
        self.plan(process, at);
        for _ in 0..steps {
            let stop = self.rng.one_in(200);
            match self.step(process, stop)? {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(())),
                Err(exit) => return Ok(Err(exit)),
            }
        }
        self.count("compact: left half way");
        Ok(Ok(()))
    }

    /// A cleaning to its end, unless the power goes before.
    pub(crate) fn compact_until_the_power_goes(&mut self, process: &mut Process, at: usize) -> Outcome {
        self.plan(process, at);
        if process.cleaning.is_none() {
            return Ok(Ok(()));
        }
        self.disk
            .power_off_after(Some(self.rng.below(CALLS_OF_A_CLEANING)));
        let done = loop {
            match self.step(process, false) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break Ok(Ok(())),
                ended => break ended.map(|ended| ended.map(|_| ())),
            }
        };
        self.disk.power_off_after(None);
        done
    }

    fn plan(&mut self, process: &mut Process, at: usize) {
        if process.cleaning.is_some() {
            return;
        }
        let model = &mut self.models[at];
        let last_batches = model.written().map(|written| written.last_batches());
        let Some(keyed) = &mut model.keyed else { return };
        let limits = CleanLimits {
            now: Timestamp::new(self.now),
            high_watermark: keyed.high_watermark,
            tombstone_floor: keyed.replica.at,
            last_batches: last_batches.unwrap_or_default().into_values().collect(),
            ..CleanLimits::default()
        };
        if let Some(job) = process.logs[at].plan_cleaning(limits) {
            keyed.cleaned_to = keyed.cleaned_to.max(keyed.high_watermark);
            process.cleaning = Some((at, job));
            self.count("compact: planned");
        }
    }

    /// One step. False: there is nothing more to do.
    fn step(&mut self, process: &mut Process, stop: bool) -> Result<Result<bool, Exit>, String> {
        let Some((at, job)) = &mut process.cleaning else {
            return Ok(Ok(false));
        };
        let at = *at;
        let stepped = job.step(&self.budget, &mut |_| !stop);
        let report = job.report();
        match stepped {
            Ok(CleanStep::More) => return Ok(Ok(true)),
            Ok(CleanStep::Done) => {
                self.stats
                    .add("compact: segments replaced", report.segments_before);
                let merged = report.segments_before - report.segments_after;
                self.stats.add("compact: segments merged", merged);
                self.stats
                    .add("compact: tombstones purged", report.tombstones_purged);
                if report.passes > 1 {
                    self.stats.count("compact: cleaned in several passes");
                }
                self.count("compact: cleaned");
                self.tell(|| format!("{at}: {report:?}"));
            }
            Err(CleanError::Failed(failure)) => {
                self.tell(|| format!("{at}: cleaning failed while {failure}"));
                self.count("compact: failed");
                return Ok(Err(Exit));
            }
            Err(CleanError::Damaged(damage)) => return Err(format!("cleaning found damage: {damage}")),
            Err(CleanError::StorageFull(_)) => self.count("compact: disk full"),
            Err(_) => self.count("compact: stopped"),
        }
        process.cleaning = None;
        Ok(Ok(false))
    }

    /// The replica of a table that was away copies what it lacks.
    pub(crate) fn catch_up(&mut self, process: &Process, at: usize) -> Outcome {
        self.disk.set_faults(Default::default());
        if self.models[at].catch_up(&process.logs[at])? {
            self.count("compact: replica caught up");
        }
        Ok(Ok(()))
    }

    /// Counts where the end of a process came in the swap of a cleaned segment, by the names that are there.
    pub(crate) fn count_interrupted(&mut self) {
        let names = self.disk.files();
        let names: Vec<_> = names.iter().filter_map(|path| path.to_str()).collect();
        let swaps: Vec<_> = names
            .iter()
            .filter_map(|name| name.strip_suffix("/swap"))
            .collect();
        for dir in names.iter().filter_map(|name| name.strip_suffix(".log.clean")) {
            let dir = dir.rsplit_once('/').map_or(dir, |(dir, _)| dir);
            if !swaps.contains(&dir) {
                self.stats.count("swap: cut off before it");
            }
        }
        for dir in swaps {
            let beside = |end: &str| {
                let mut within = names.iter().filter_map(|name| name.strip_prefix(dir));
                within.any(|name| name.ends_with(end))
            };
            let (log, any) = (beside(".log.clean"), beside(".clean"));
            self.stats.count(match (log, any) {
                (true, _) => "swap: cut off before a name is changed",
                (false, true) => "swap: cut off between two names",
                (false, false) => "swap: cut off after all names are changed",
            });
        }
    }
}
