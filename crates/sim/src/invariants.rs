//! What must hold after every step, one property a file, under the names of the design. Each looks only at the partition
//! and the broker that something happened to.

mod i10_no_truncation_of_committed;
mod i11_controllers_lists;
mod i12_unclean_exclusion;
mod i13_idempotence;
mod i14_acks;
mod i15_metadata;
mod i16_committed_offsets;
mod i17_one_owner;
mod i18_nothing_skipped;
mod i19_vouched;
mod i1_one_leader;
mod i2_leader_completeness;
mod i3_candidate_completeness;
mod i4_quorum_superset;
mod i5_log_matching;
mod i6_high_watermark;
mod i7_no_acked_record_lost;
mod i8_consistent_read;
mod i9_fencing;
mod l1_leaders;
mod l2_in_sync;
mod l3_committed;
mod l4_resolved;
mod l5_identical;
mod l6_groups;

pub(crate) use i15_metadata::{NAME as METADATA, same_image};
pub(crate) use i16_committed_offsets::committed_offset;
pub(crate) use i17_one_owner::{commit_of_the_owner, one_owner};
pub(crate) use i18_nothing_skipped::no_record_skipped;
pub(crate) use l1_leaders::is_given_up;
pub(crate) use l4_resolved::Waiting;
pub(crate) use l6_groups::consumed;

use crate::cluster::ghost::{Ghost, Standing};
use crate::cluster::message::{BrokerIndex, PartitionIndex, RequestId};
use crate::cluster::plan::Plan;
use crate::cluster::shared::Shared;
use crate::report::{Deed, Violation};
use quipu_metadata::{Command, Partition, Record, Reply};
use quipu_record::{BatchHeader, BrokerEpoch, StoredBatch};
use quipu_replication::rules::producers::Producers;
use quipu_replication::{Acks, Driver, Effects, FollowerFetch, Input, Tick, Token, View};
use quipu_storage::test_util::FakeDisk;
use std::collections::HashMap;
use std::fmt;

/// A produce request that a broker has under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) client: usize,
    pub(crate) acks: Acks,
    pub(crate) header: BatchHeader,
}

/// What a step was about, as far as it concerns what is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// A follower's word at its leader.
    Fetch(FollowerFetch),
    /// The leader's word, in this epoch.
    Word(quipu_record::LeaderEpoch),
    /// A client's deletion, or retention.
    Deletion,
    /// Anything else.
    Other,
}

impl About {
    pub(crate) fn of(input: &Input) -> Self {
        match input {
            Input::FollowerFetch(fetch) => Self::Fetch(*fetch),
            Input::Fetched(fetched) => Self::Word(fetched.leader_epoch),
            Input::DeleteRecords(_) | Input::Retain => Self::Deletion,
            _ => Self::Other,
        }
    }
}

/// One step of a driver, as it is looked at.
pub(crate) struct Step<'a> {
    pub(crate) broker: BrokerIndex,
    pub(crate) partition: PartitionIndex,
    pub(crate) about: About,
    pub(crate) before: View,
    pub(crate) after: View,
    pub(crate) driver: &'a Driver<FakeDisk>,
    pub(crate) effects: &'a Effects,
    /// The batches that a leader sent, whether or not they were taken.
    pub(crate) copied: &'a [BatchHeader],
    pub(crate) asked: &'a HashMap<Token, Asked>,
    /// `min.insync.replicas` as this replica was last told.
    pub(crate) min_insync: u32,
    /// The greatest lifetime of each broker that this leader, in this epoch, has heard of.
    pub(crate) heard: &'a [Option<BrokerEpoch>],
}

/// A log as it is found after a restart.
pub(crate) struct Opened<'a> {
    pub(crate) broker: BrokerIndex,
    pub(crate) partition: PartitionIndex,
    pub(crate) producers: &'a Producers,
    pub(crate) replayed: &'a Producers,
}

/// One command that the controllers decided.
pub(crate) struct Decided<'a> {
    pub(crate) command: &'a Command,
    pub(crate) reply: &'a Reply,
    pub(crate) records: &'a [Record],
}

/// Where something did not hold.
pub(crate) struct Place<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) partition: PartitionIndex,
}

impl Place<'_> {
    fn violated(&self, invariant: &'static str, what: fmt::Arguments<'_>) -> Violation {
        let key = &self.plan.partitions[self.partition].key;
        Violation {
            invariant,
            what: format!("{key}: {what}"),
        }
    }

    fn is_fsync(&self) -> bool {
        self.plan.is_fsync(self.partition)
    }
}

/// Brings the mirror up to date with a step, looks at it, then brings the ghost up to date.
pub(crate) fn after_step(shared: &mut Shared, step: &Step<'_>) {
    let place = Place {
        plan: &shared.plan,
        partition: step.partition,
    };
    let ghost = &mut shared.ghosts[step.partition];
    let fresh = follow(ghost, step);
    let before = ghost.true_high_watermark;
    let found = look(&place, ghost, &shared.standings, step, fresh);
    if ghost.true_high_watermark > before {
        ghost
            .rises
            .push((shared.schedule.now(), ghost.true_high_watermark));
    }
    shared.look(found);
}

/// Looks at what a leader would answer to who wants the latest, and until when its followers vouch for it.
pub(crate) fn on_vouched(shared: &mut Shared, partition: PartitionIndex, view: &View, vouched: Tick) {
    let place = Place {
        plan: &shared.plan,
        partition,
    };
    let found = i19_vouched::on_vouched(&place, &shared.ghosts[partition], view, vouched);
    shared.look(found);
}

/// The mirror takes over what a step did. Says whether the replica began to lead with it.
fn follow(ghost: &mut Ghost, step: &Step<'_>) -> bool {
    let mirror = &mut ghost.replicas[step.broker];
    let after = step.after;
    if after.log_end < mirror.log_end || after.log_start > mirror.log_end {
        mirror.cut(after.log_end.min(mirror.log_end));
    }
    for batch in &step.effects.appended {
        mirror.append(batch.header());
    }
    for header in step.copied {
        if header.next_offset() > mirror.log_end && header.next_offset() <= after.log_end {
            mirror.append(header);
        }
    }
    if after.log_start > mirror.log_start {
        while mirror
            .log
            .first_key_value()
            .is_some_and(|(_, batch)| batch.next <= after.log_start)
        {
            mirror.log.pop_first();
        }
    }
    mirror.log_start = after.log_start;
    mirror.log_end = after.log_end;
    // What was flushed stays so, even if a restart does not know it any more.
    if after.flushed > mirror.flushed {
        mirror.marked = mirror.flushed;
        mirror.flushed = after.flushed;
    }
    mirror.high_watermark = after.high_watermark;
    let leading = after.leading.map(|leading| leading.epoch);
    let fresh = leading.is_some() && leading != mirror.leading;
    mirror.leading = leading;
    if leading.is_some() {
        mirror.counted.clear();
        mirror.counted.extend(step.driver.counted());
    }
    fresh
}

fn look(
    place: &Place<'_>,
    ghost: &mut Ghost,
    standings: &[Standing],
    step: &Step<'_>,
    fresh: bool,
) -> Result<(), Violation> {
    i1_one_leader::after_step(place, ghost, step)?;
    i9_fencing::after_step(place, step)?;
    if ghost.forgiven.is_some() {
        return Ok(());
    }
    i10_no_truncation_of_committed::after_step(place, ghost, standings, step)?;
    let risen = i6_high_watermark::after_step(place, ghost, step)?;
    if risen {
        i13_idempotence::on_commit(place, ghost, step)?;
        ghost.commit(step.broker, step.after.high_watermark);
        i3_candidate_completeness::look(place, ghost)?;
    } else if step.after.log_end < step.before.log_end {
        i3_candidate_completeness::look_at(place, ghost, step.broker)?;
    }
    i5_log_matching::after_step(place, ghost, step)?;
    i4_quorum_superset::look(place, ghost)?;
    i2_leader_completeness::after_step(place, ghost, step, fresh)?;
    i14_acks::after_step(place, ghost, step)?;
    i13_idempotence::on_answers(place, ghost, step)?;
    i12_unclean_exclusion::after_step(place, ghost, standings, step);
    Ok(())
}

/// Looks at a log after a restart; it becomes the mirror.
pub(crate) fn after_open(shared: &mut Shared, opened: &Opened<'_>) {
    let place = Place {
        plan: &shared.plan,
        partition: opened.partition,
    };
    let found = i13_idempotence::after_open(&place, opened);
    shared.look(found);
}

/// Looks at a command just decided, before it takes effect.
pub(crate) fn decided(shared: &mut Shared, decided: &Decided<'_>) {
    let found = i9_fencing::decided(&shared.truth, decided);
    shared.look(found);
}

/// Looks at what was changed, by this command if it is known.
pub(crate) fn committed(shared: &mut Shared, command: Option<&Command>, records: &[Record]) {
    let fences = command.is_none_or(|command| matches!(command, Command::FenceBrokers(_)));
    let registers = records.iter().any(|record| matches!(record, Record::Broker(_)));
    for record in records {
        match record {
            Record::Broker(broker) => {
                if let Some(index) = shared.plan.broker(broker.id) {
                    shared.standings[index].registered = Some(broker.epoch);
                }
            }
            Record::BrokerState { fenced: true, .. } if fences => shared.deed(Deed::Fence),
            _ => {}
        }
    }
    for (index, record) in records.iter().enumerate() {
        if let Record::Partition { at, state } = record
            && let Some(partition) = shared.plan.place(*at)
        {
            let before = shared.ghosts[partition].truth.as_ref();
            // Of an entry whose command is not known: only a leader takes somebody in, or out and nothing else.
            let by_leader = command.map_or_else(
                || !registers && before.is_some_and(|before| looks_altered(before, state)),
                |command| matches!(command, Command::AlterPartitions(_)),
            );
            // Of several commands in one entry, what the first of them made was never in effect.
            let again = |later: &Record| matches!(later, Record::Partition { at: other, .. } if other == at);
            let in_effect = !records[index + 1..].iter().any(again);
            partition_committed(shared, (by_leader, in_effect), partition, state);
        }
    }
    let found = i11_controllers_lists::brokers(&shared.plan, &shared.truth, &shared.ghosts, records);
    shared.look(found);
}

/// Whether this is what a leader's proposal does.
fn looks_altered(before: &Partition, state: &Partition) -> bool {
    let grown = state.isr.iter().any(|broker| !before.isr.contains(broker));
    let same = before.leader == state.leader && before.min_insync == state.min_insync;
    same || (grown && before.leader.is_some_and(|leader| state.isr.contains(leader)))
}

fn partition_committed(
    shared: &mut Shared,
    (by_leader, in_effect): (bool, bool),
    partition: PartitionIndex,
    state: &Partition,
) {
    let before = shared.ghosts[partition].truth.replace(state.clone());
    let place = Place {
        plan: &shared.plan,
        partition,
    };
    let mut found = i1_one_leader::committed(&place, before.as_ref(), state);
    if in_effect {
        found = found.and_then(|()| i11_controllers_lists::partition(&place, &shared.truth, state));
    }
    if let Some(before) = &before {
        count(shared, by_leader, partition, before, state);
    }
    let place = Place {
        plan: &shared.plan,
        partition,
    };
    let ghost = &mut shared.ghosts[partition];
    if ghost.forgiven.is_none() && in_effect {
        found = found
            .and_then(|()| i12_unclean_exclusion::committed(&place, ghost, &shared.standings))
            .and_then(|()| i3_candidate_completeness::look(&place, ghost))
            .and_then(|()| i4_quorum_superset::look(&place, ghost));
    }
    shared.look(found);
}

/// Counts what the protocol did.
fn count(
    shared: &mut Shared,
    by_leader: bool,
    partition: PartitionIndex,
    before: &Partition,
    state: &Partition,
) {
    if let Some(leader) = state.leader
        && state.leader_epoch != before.leader_epoch
    {
        shared.deed(Deed::Election);
        // A leader on its way out may take somebody in who has caught up, and who leads from the same change on.
        let safe = before.is_safe(leader) || by_leader;
        if before.elr.contains(leader) {
            shared.deed(Deed::EligibleElection);
        }
        if !safe {
            shared.deed(Deed::UncleanElection);
            let found = i2_leader_completeness::unclean(shared, partition, leader);
            shared.look(found);
            shared.ghosts[partition]
                .give_up("an operator elected a replica that was neither in sync nor eligible");
        }
    }
    if by_leader {
        if state.isr.iter().any(|broker| !before.isr.contains(broker)) {
            shared.deed(Deed::Expand);
        }
        if before.isr.iter().any(|broker| !state.isr.contains(broker)) {
            shared.deed(Deed::Shrink);
        }
    }
    for _ in before
        .replicas
        .iter()
        .filter(|broker| !state.replicas.contains(*broker))
    {
        shared.deed(Deed::TakenAway);
    }
    for broker in state.isr.iter().filter(|broker| !before.isr.contains(*broker)) {
        if let Some(index) = shared.plan.broker(broker)
            && std::mem::take(&mut shared.ghosts[partition].replicas[index].repairing)
        {
            shared.deed(Deed::Repair);
        }
    }
}

/// Looks at a batch that a consumer is about to get.
pub(crate) fn on_read(shared: &mut Shared, partition: PartitionIndex, view: &View, batch: &StoredBatch) {
    let place = Place {
        plan: &shared.plan,
        partition,
    };
    let ghost = &shared.ghosts[partition];
    let found = i8_consistent_read::on_read(&place, ghost, view, batch);
    shared.look(found);
}

/// Looks at what is left when everything should have come to rest.
pub(crate) fn at_rest(shared: &mut Shared, waiting: &Waiting) {
    let found = l4_resolved::at_rest(waiting);
    shared.look(found);
    for partition in 0..shared.plan.partitions.len() {
        let place = Place {
            plan: &shared.plan,
            partition,
        };
        let ghost = &shared.ghosts[partition];
        let found = l1_leaders::at_rest(&place, ghost)
            .and_then(|()| l2_in_sync::at_rest(&place, ghost))
            .and_then(|()| l3_committed::at_rest(&place, ghost))
            .and_then(|()| l5_identical::at_rest(&place, ghost))
            .and_then(|()| i7_no_acked_record_lost::at_rest(&place, ghost));
        shared.look(found);
    }
}

/// Whether everything that [`at_rest`] looks at holds already.
pub(crate) fn rests(shared: &Shared, waiting: &Waiting) -> bool {
    l4_resolved::at_rest(waiting).is_ok()
        && (0..shared.plan.partitions.len()).all(|partition| {
            let place = Place {
                plan: &shared.plan,
                partition,
            };
            let ghost = &shared.ghosts[partition];
            l1_leaders::at_rest(&place, ghost).is_ok()
                && l2_in_sync::at_rest(&place, ghost).is_ok()
                && l3_committed::at_rest(&place, ghost).is_ok()
        })
}
