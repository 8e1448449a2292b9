//! P10: once a leader has acknowledged, no leader before it acknowledges what is sent after that; and leader epochs do
//! not fall as offsets grow, in acknowledgements or in any replica's log.

use crate::history::{EventId, FinalBatch, History, Kind, Send};
use crate::observed::{KeyIndex, Observed, Sent};
use crate::rising::Rising;
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::{LeaderEpoch, Offset};

/// An acknowledgement that tells its epoch.
#[derive(Clone, Copy)]
struct Ack {
    offset: Offset,
    epoch: LeaderEpoch,
    event: EventId,
}

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let acks = acknowledgements(history, observed, verdict);
    let mut looked_at = false;
    for (key, mut acks) in acks {
        looked_at |= !acks.is_empty();
        acks.sort_by_key(|ack| ack.offset);
        for pair in acks.windows(2) {
            // A stale leader's acknowledgement of what was sent before is no worse than that.
            if pair[1].epoch < pair[0].epoch {
                tell_acks(history, observed, verdict, key, (pair[0], pair[1]));
            }
        }
    }
    for log in &observed.finals {
        looked_at |= !log.batches.is_empty();
        for pair in log.batches.windows(2) {
            if pair[1].leader_epoch < pair[0].leader_epoch {
                verdict.add(AnomalyKind::EpochWentBack, || {
                    let replica = log.replica;
                    let [a, b] = [&pair[0], &pair[1]].map(told_batch);
                    let summary = format!(
                        "replica {replica} of {} holds {a}, and then {b}",
                        observed.key(log.key)
                    );
                    let what = format!("the final log of replica {replica} holds {a}, and then {b}");
                    (summary, vec![Evidence::of(history, log.event, &what)])
                });
            }
        }
    }
    verdict.exercised("P10 (no leader epochs are told)", looked_at);
}

pub(super) fn told_batch(batch: &FinalBatch) -> String {
    format!(
        "offsets {} to {} of leader epoch {} with checksum {:08x}",
        batch.base, batch.last, batch.leader_epoch, batch.crc
    )
}

/// All acknowledgements with an epoch, by partition; those of stale leaders are told on the way.
fn acknowledgements(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
) -> Vec<(KeyIndex, Vec<Ack>)> {
    let mut epochs: Vec<Rising<LeaderEpoch>> = observed.for_each_partition();
    let mut acks: Vec<(KeyIndex, Vec<Ack>)> =
        observed.partitions().map(|(key, _)| (key, Vec::new())).collect();
    for sent in observed.told.sends.iter().filter(|sent| sent.kind == Kind::Ok) {
        let (Some(epoch), Some(offset)) = (sent.send.leader_epoch, sent.send.offset) else {
            continue;
        };
        let Some(operation) = history.operation_of(sent.event) else {
            continue;
        };
        let epochs = &mut epochs[sent.key.number()];
        match epochs.before(operation.invoke) {
            Some((later, greatest)) if epoch < greatest => {
                tell_stale(history, verdict, (operation.invoke, sent), (later, greatest));
            }
            _ => acks[sent.key.number()].1.push(Ack {
                offset,
                epoch,
                event: sent.event,
            }),
        }
        epochs.raise(sent.event, epoch);
    }
    acks
}

fn words(send: &Send) -> String {
    let epoch = send
        .leader_epoch
        .map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
    let offset = send.offset.unwrap_or_default();
    format!(
        "{} acknowledged at offset {offset} in leader epoch {epoch}",
        send.key
    )
}

fn tell_stale(
    history: &History,
    verdict: &mut Verdict,
    (invoke, sent): (EventId, &Sent<'_>),
    (later, greatest): (EventId, LeaderEpoch),
) {
    verdict.add(AnomalyKind::StaleEpochAck, || {
        let send = sent.send;
        let summary = format!(
            "{}, though epoch {greatest} had acknowledged before it was sent",
            words(send)
        );
        let invoked = format!("send to {}", send.key);
        let mut evidence = vec![
            Evidence::of(history, invoke, &invoked),
            Evidence::of(history, sent.event, &words(send)),
        ];
        let mut sends = history.event(later).op.sends();
        let other = sends.find(|other| other.key == send.key);
        evidence.extend(other.map(|other| Evidence::of(history, later, &words(other))));
        (summary, evidence)
    });
}

fn tell_acks(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    key: KeyIndex,
    (a, b): (Ack, Ack),
) {
    verdict.add(AnomalyKind::EpochWentBack, || {
        let key = observed.key(key);
        let words = |ack: Ack| {
            format!(
                "{key} acknowledged at offset {} in leader epoch {}",
                ack.offset, ack.epoch
            )
        };
        let summary = format!(
            "{key} offset {} is of leader epoch {}, and offset {} of leader epoch {}",
            a.offset, a.epoch, b.offset, b.epoch
        );
        let evidence = [a, b].map(|ack| Evidence::of(history, ack.event, &words(ack)));
        (summary, evidence.to_vec())
    });
}
