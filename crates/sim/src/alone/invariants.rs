//! What must hold after every step, one property a file, under the names of the design.

mod i13_idempotence;
mod i14_acks;
mod i6_high_watermark;
mod i7_no_acked_record_lost;
mod i8_consistent_read;

use crate::alone::ghost::{Ghost, GhostBatch};
use crate::alone::message::RequestId;
use crate::alone::plan::PartitionPlan;
use crate::report::Violation;
use quipu_record::{BatchHeader, Offset, StoredBatch};
use quipu_replication::rules::producers::Producers;
use quipu_replication::{Acks, Driver, Effects, Token, View};
use quipu_storage::test_util::FakeDisk;
use std::collections::{BTreeMap, HashMap};

/// A produce request that a broker has under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) client: usize,
    pub(crate) acks: Acks,
    pub(crate) header: BatchHeader,
}

/// One step of a driver, as it is looked at.
pub(crate) struct Step<'a> {
    pub(crate) plan: &'a PartitionPlan,
    pub(crate) driver: &'a Driver<FakeDisk>,
    pub(crate) effects: &'a Effects,
    pub(crate) asked: &'a HashMap<Token, Asked>,
}

/// A log as it is found after a restart.
pub(crate) struct Opened<'a> {
    pub(crate) plan: &'a PartitionPlan,
    pub(crate) view: View,
    pub(crate) found: &'a BTreeMap<Offset, GhostBatch>,
    pub(crate) producers: &'a Producers,
    pub(crate) replayed: &'a Producers,
}

/// Looks at a step, then brings the ghost up to date.
pub(crate) fn after_step(ghost: &mut Ghost, step: &Step<'_>) -> Result<(), Violation> {
    i13_idempotence::after_step(ghost, step)?;
    for batch in &step.effects.appended {
        ghost.append(batch.header());
    }
    i6_high_watermark::after_step(ghost, step)?;
    i14_acks::after_step(ghost, step)?;
    i7_no_acked_record_lost::after_step(ghost, step)
}

/// Looks at a log after a restart, then brings the ghost up to date.
pub(crate) fn after_open(ghost: &mut Ghost, opened: &Opened<'_>) -> Result<(), Violation> {
    if !opened.plan.promised {
        ghost.forget_promises(opened.view.log_end);
    }
    i7_no_acked_record_lost::after_open(ghost, opened)?;
    i8_consistent_read::after_open(ghost, opened)?;
    i13_idempotence::after_open(opened)?;
    ghost.replace_log(opened.found);
    Ok(())
}

/// Looks at a batch that a consumer is about to get.
pub(crate) fn on_read(ghost: &Ghost, view: &View, batch: &StoredBatch) -> Result<(), Violation> {
    i8_consistent_read::on_read(ghost, view, batch)
}

fn violated(invariant: &'static str, plan: &PartitionPlan, what: std::fmt::Arguments<'_>) -> Violation {
    Violation {
        invariant,
        what: format!("{}: {what}", plan.key),
    }
}
