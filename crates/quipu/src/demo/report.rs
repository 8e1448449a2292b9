//! What the demo found, in JSON.

use super::outage::Outage;
use super::proof::Proof;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Serialize)]
pub(super) struct Report {
    /// Whether everything holds.
    pub(super) proven: bool,
    pub(super) source: SourceReport,
    pub(super) produced: ProducedReport,
    pub(super) outage: OutageReport,
    pub(super) consumed: ConsumedReport,
    pub(super) checks: Vec<CheckReport>,
    /// Flights read, per carrier.
    pub(super) totals: BTreeMap<String, u64>,
}

#[derive(Serialize)]
pub(super) struct SourceReport {
    pub(super) flights: usize,
    pub(super) aircraft: usize,
    pub(super) bytes: usize,
}

#[derive(Serialize)]
pub(super) struct ProducedReport {
    pub(super) records: u64,
    pub(super) acknowledged: u64,
    pub(super) seconds: f64,
    pub(super) batches: u64,
    pub(super) retries: u64,
    /// Records of batches that the killed broker had stored and never acknowledged: sent again, recognised.
    pub(super) deduplicated: u64,
}

#[derive(Serialize)]
pub(super) struct OutageReport {
    pub(super) kills: u32,
    pub(super) killed_at_seconds: f64,
    pub(super) unacknowledged_batches: u64,
    pub(super) recovery_seconds: f64,
    pub(super) until_acknowledged_seconds: f64,
}

#[derive(Serialize)]
pub(super) struct ConsumedReport {
    pub(super) records: usize,
    pub(super) seconds: f64,
}

#[derive(Serialize)]
pub(super) struct CheckReport {
    pub(super) claim: &'static str,
    pub(super) holds: bool,
    pub(super) looked_at: String,
    pub(super) fault_count: usize,
    /// The first of them.
    pub(super) faults: Vec<String>,
}

impl From<&Outage> for OutageReport {
    fn from(outage: &Outage) -> Self {
        Self {
            kills: outage.kills,
            killed_at_seconds: outage.killed_at.as_secs_f64(),
            unacknowledged_batches: outage.unacknowledged_batches,
            recovery_seconds: outage.recovery.as_secs_f64(),
            until_acknowledged_seconds: outage.until_acknowledged.as_secs_f64(),
        }
    }
}

impl ConsumedReport {
    pub(super) fn new(records: usize, took: Duration) -> Self {
        Self {
            records,
            seconds: took.as_secs_f64(),
        }
    }
}

/// The checks of a proof, told.
pub(super) fn checks(proof: &Proof) -> Vec<CheckReport> {
    let told = proof.checks.iter().map(|check| CheckReport {
        claim: check.claim,
        holds: check.holds(),
        looked_at: check.looked_at.clone(),
        fault_count: check.fault_count,
        faults: check.faults.clone(),
    });
    told.collect()
}
