//! Produce: every batch is judged on its own, those that pass are appended with one write, and each waits for its answer.

use super::{Driver, Role};
use crate::answer::{Answer, Appended};
use crate::clock::Now;
use crate::effects::Effects;
use crate::error::ProduceError;
use crate::input::Append;
use crate::rules::leader::{Judged, Leader, reached};
use crate::rules::producers::{BatchMark, Producers, Undo, Verdict};
use crate::rules::timestamps;
use quipu_record::{Batch, Offset, ProducerStamp, StoredBatch, Timestamp};
use quipu_storage::{AppendError, Disk};

/// The batches of one step, between judgement and write.
struct Group {
    judged: Vec<Judged>,
    stored: Vec<StoredBatch>,
    /// How to take back what the producers' state says of `stored`.
    undo: Vec<Undo>,
    /// The stamps of the batches in `stored`.
    stamps: Vec<ProducerStamp>,
    /// Where the next batch goes.
    next: Offset,
    /// The first of `judged` that rests on something in `stored`, if any does.
    first_fresh: Option<usize>,
}

impl<D: Disk> Driver<D> {
    pub(super) fn produce(&mut self, now: Now, appends: Vec<Append>, effects: &mut Effects) {
        let Role::Leader(_) = &self.role else {
            return refuse_all(appends, &ProduceError::NotLeader, effects);
        };
        if self.failed {
            return refuse_all(appends, &ProduceError::StorageFailed, effects);
        }
        if self.producers_incomplete {
            return refuse_all(appends, &ProduceError::LogDamaged, effects);
        }
        let mut group = Group {
            judged: Vec::with_capacity(appends.len()),
            stored: Vec::with_capacity(appends.len()),
            undo: Vec::new(),
            stamps: Vec::new(),
            next: self.log.log_end(),
            first_fresh: None,
        };
        for append in appends {
            self.judge(now, append, &mut group);
        }
        if !group.stored.is_empty() {
            self.write(now, &mut group, effects);
        }
        if let Role::Leader(leader) = &mut self.role {
            for judged in group.judged.drain(..) {
                leader.settle(judged, &mut effects.answers);
            }
        }
        if self.failed {
            // A write that failed says nothing about the earlier ones, and no flush will.
            let what = effects.fatal.take().unwrap_or_default();
            self.fail(what, effects);
        }
        effects.appended.append(&mut group.stored);
    }

    fn judge(&mut self, now: Now, append: Append, group: &mut Group) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let stamp = append.batch.header().producer();
        let verdict = admit(&self.config, leader, now, &append).and_then(|()| {
            verdict(
                &self.producers,
                stamp,
                &append.batch,
                self.high_watermark.offset(),
            )
        });
        let (acks, durability) = (append.acks, self.config.durability);
        let mut judged = Judged {
            token: append.token,
            acks,
            deadline: append.deadline,
            until: Offset::ZERO,
            outcome: Err(ProduceError::RequestTimedOut),
        };
        match verdict {
            Ok(Verdict::Duplicate(mark)) => {
                judged.until = mark.end();
                judged.outcome = Ok(Appended {
                    base_offset: mark.base_offset,
                    leader_epoch: mark.leader_epoch,
                    reached: reached(acks, durability),
                    duplicate: true,
                    log_append_time: timestamps::given(&self.config, mark.max_timestamp),
                });
            }
            Ok(Verdict::Append) => {
                let epoch = leader.epoch();
                let (batch, log_append_time) = timestamps::apply(&self.config, append.batch, now.wall);
                let stored = batch.stamp(group.next, epoch);
                judged.until = stored.next_offset();
                judged.outcome = Ok(Appended {
                    base_offset: group.next,
                    leader_epoch: epoch,
                    reached: reached(acks, durability),
                    duplicate: false,
                    log_append_time,
                });
                group.first_fresh.get_or_insert(group.judged.len());
                self.note(&stored, stamp, now.wall, group);
                group.next = stored.next_offset();
                group.stored.push(stored);
            }
            Err(error) => {
                if let Some(stamp) = stamp
                    && !error.outcome_unknown()
                    && error.retryable()
                {
                    self.producers.note_refused(stamp);
                }
                if error.rests_on_log() {
                    judged.until = group.next;
                }
                judged.outcome = Err(error);
            }
        }
        group.judged.push(judged);
    }

    /// Takes note of a producer's batch before it is written, so that those after it in the group are judged by it.
    fn note(
        &mut self,
        stored: &StoredBatch,
        stamp: Option<ProducerStamp>,
        wall: Timestamp,
        group: &mut Group,
    ) {
        let Some(stamp) = stamp else { return };
        let mark = BatchMark::of(stored.header(), stamp, stored.leader_epoch());
        group
            .undo
            .push(self.producers.record(stamp.id, stamp.epoch, mark, wall));
        group.stamps.push(stamp);
    }

    fn write(&mut self, now: Now, group: &mut Group, effects: &mut Effects) {
        let mine = self.mine();
        if let Role::Leader(leader) = &mut self.role {
            leader.about_to_append(now.mono, &mine);
        }
        match self.log.append(now.wall, &group.stored) {
            Ok(appended) => {
                self.unflushed_bytes += appended.bytes;
                self.snapshot_if_due(appended.bytes, appended.rolled, effects);
                self.want_flush(now, false, effects);
            }
            Err(error) => {
                for undo in group.undo.drain(..).rev() {
                    self.producers.undo(undo);
                }
                for stamp in group.stamps.drain(..) {
                    self.producers.note_refused(stamp);
                }
                group.stored.clear();
                let refused = self.refusal(error, effects);
                // Later ones were judged by a state that never came to be.
                let first = group.first_fresh.unwrap_or(group.judged.len());
                for judged in &mut group.judged[first..] {
                    judged.outcome = Err(refused.clone());
                    judged.until = Offset::ZERO;
                }
            }
        }
    }

    fn refusal(&mut self, error: AppendError, effects: &mut Effects) -> ProduceError {
        match error {
            AppendError::StorageFull(_) => ProduceError::StorageFull,
            AppendError::TooManyDirtyFiles { .. } => {
                effects.flush = true;
                ProduceError::Throttled
            }
            AppendError::Damaged(_) => ProduceError::LogDamaged,
            AppendError::Failed(_) => {
                self.failed = true;
                effects.fatal = Some(error.to_string());
                ProduceError::StorageFailed
            }
            error => ProduceError::Internal(error.to_string()),
        }
    }
}

/// What is checked before the producer's state is asked.
fn admit(
    config: &crate::PartitionConfig,
    leader: &Leader,
    now: Now,
    append: &Append,
) -> Result<(), ProduceError> {
    let (size, max) = (append.batch.len(), config.max_message_bytes);
    if size > max {
        return Err(ProduceError::BatchTooLarge { size, max });
    }
    let (keyless, count) = (append.summary.keyless, append.summary.count);
    if config.compacted && keyless > 0 {
        return Err(ProduceError::KeylessRecords { keyless, count });
    }
    timestamps::check(config, &append.summary, now.wall)?;
    if append.deadline <= now.mono {
        return Err(ProduceError::RequestTimedOut);
    }
    leader.admit(append.acks)
}

fn verdict(
    producers: &Producers,
    stamp: Option<ProducerStamp>,
    batch: &Batch,
    high_watermark: Offset,
) -> Result<Verdict, ProduceError> {
    let records = batch.header().records_count();
    stamp.map_or(Ok(Verdict::Append), |stamp| {
        producers.check(stamp, records, high_watermark)
    })
}

fn refuse_all(appends: Vec<Append>, error: &ProduceError, effects: &mut Effects) {
    effects.answers.extend(appends.into_iter().map(|append| Answer {
        token: append.token,
        result: Err(error.clone()),
    }));
}
