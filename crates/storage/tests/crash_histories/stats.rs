//! What histories did, counted.

use quipu_storage::test_util::{Counts, CrashReport};
use std::collections::BTreeMap;
use std::fmt;

/// Counts of everything that happened.
#[derive(Default)]
pub(crate) struct Stats(BTreeMap<&'static str, u64>);

/// What must have happened in many histories, for them to have meant anything.
const EXPECTED: &[&str] = &[
    "append",
    "append: disk full",
    "append: failed",
    "batches",
    "begin epoch",
    "clean shutdown",
    "compact: cleaned",
    "compact: cleaned in several passes",
    "compact: disk full",
    "compact: failed",
    "compact: left half way",
    "compact: planned",
    "compact: replica caught up",
    "compact: segments merged",
    "compact: segments replaced",
    "compact: stopped",
    "compact: tombstones purged",
    "crash",
    "crash: files dropped",
    "crash: files kept",
    "crash: files torn",
    "crash: names dropped",
    "crash: names kept",
    "cut",
    "delete log",
    "delete records",
    "direct writes",
    "eio",
    "empty trash",
    "flush",
    "flush by syncfs",
    "flush: failed",
    "joined jobs",
    "kill",
    "open",
    "open: failed",
    "read",
    "read by time",
    "restart at",
    "retain",
    "retained segments",
    "rolled",
    "short writes",
    "snapshot",
    "swap: cut off before it",
    "swap: cut off before a name is changed",
    "swap: cut off between two names",
    "swap: cut off after all names are changed",
    "take jobs",
    "truncate",
    "truncate: failed",
    "write-back errors lost",
];

impl Stats {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub(crate) fn add_crash(&mut self, report: &CrashReport) {
        self.add("crash: files kept", report.files_kept);
        self.add("crash: files dropped", report.files_dropped);
        self.add("crash: files torn", report.files_torn);
        self.add("crash: names kept", report.names_kept);
        self.add("crash: names dropped", report.names_dropped);
    }

    pub(crate) fn add_disk(&mut self, counts: &Counts) {
        self.add("eio", counts.eio);
        self.add("disk full", counts.no_space);
        self.add("short writes", counts.short_writes);
        self.add("direct writes", counts.direct_writes);
        self.add("write-back errors lost", counts.errors_lost);
        self.add("syncs of a file", counts.file_syncs);
        self.add("syncs of a directory", counts.dir_syncs);
        self.add("syncs of all", counts.filesystem_syncs);
    }

    pub(crate) fn nothing_is_missing(&self) {
        for what in EXPECTED {
            assert!(
                self.0.get(what).is_some_and(|count| *count > 0),
                "no history had: {what}"
            );
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(f, "{count:>12}  {what}")?;
        }
        Ok(())
    }
}
