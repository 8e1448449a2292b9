//! What the demo found, in JSON.

use super::group::Rebalance;
use super::outage::Outage;
use super::proof::Proof;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Serialize)]
pub(super) struct Report {
    /// Whether everything holds.
    pub(super) proven: bool,
    pub(super) brokers: usize,
    pub(super) source: SourceReport,
    pub(super) produced: ProducedReport,
    pub(super) outage: OutageReport,
    pub(super) rebalances: Vec<RebalanceReport>,
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

#[derive(Clone, Serialize)]
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
    /// Who was killed.
    pub(super) broker_id: u32,
    /// What it led.
    pub(super) partitions: Vec<u32>,
    /// Its process was the active controller as well.
    pub(super) was_controller: bool,
    pub(super) kills: u32,
    pub(super) killed_at_seconds: f64,
    pub(super) unacknowledged_batches: u64,
    /// From the kill to the next acknowledgement on one of its partitions.
    pub(super) failover_seconds: f64,
    /// The same, until all of them had acknowledged something.
    pub(super) failover_of_all_seconds: f64,
    pub(super) recovery_seconds: f64,
}

/// Something that made the group share its partitions anew.
#[derive(Clone, Serialize)]
pub(super) struct RebalanceReport {
    pub(super) what: &'static str,
    /// Partitions of each member.
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
    /// Partitions that another member has now.
    pub(super) moved: usize,
    /// Until every partition gave records again.
    pub(super) flowing_after_seconds: f64,
}

impl From<&Rebalance> for RebalanceReport {
    fn from(rebalance: &Rebalance) -> Self {
        Self {
            what: rebalance.what,
            before: rebalance.before.clone(),
            after: rebalance.after.clone(),
            moved: rebalance.moved,
            flowing_after_seconds: rebalance.flowing.as_secs_f64(),
        }
    }
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
            broker_id: outage.leader.broker,
            partitions: outage
                .leader
                .partitions
                .iter()
                .map(|partition| partition.get())
                .collect(),
            was_controller: outage.leader.is_controller,
            kills: outage.kills,
            killed_at_seconds: outage.killed_at.as_secs_f64(),
            unacknowledged_batches: outage.unacknowledged_batches,
            failover_seconds: outage.failover.as_secs_f64(),
            failover_of_all_seconds: outage.failover_of_all.as_secs_f64(),
            recovery_seconds: outage.recovery.as_secs_f64(),
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
