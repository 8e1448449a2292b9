//! P11: replicas that have come to rest hold the same batches between the later log start and the lower high
//! watermark; those of a compacted log hold the same value for each key; and none ends below a high watermark that was
//! told.

use super::epochs::told_batch;
use crate::history::{EventId, FinalBatch, History};
use crate::observed::{FinalLog, Observed};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut replicas: Vec<Vec<&FinalLog<'_>>> = observed.for_each_partition();
    for log in &observed.finals {
        if !log.batches.is_empty() || log.latest.is_some() {
            replicas[log.key.number()].push(log);
        }
    }
    let watermarks = watermarks(observed);
    let compared = replicas.iter().any(|logs| logs.len() > 1);
    verdict.exercised("P11 (no replicas' batches are told)", compared);
    for (logs, watermark) in replicas.iter().zip(watermarks) {
        for pair in logs.windows(2) {
            compare(history, observed, verdict, pair[0], pair[1]);
        }
        for log in logs.iter().filter(|log| !log.batches.is_empty()) {
            check_end(history, observed, verdict, log, watermark);
        }
    }
}

/// The greatest high watermark told of each partition.
fn watermarks(observed: &Observed<'_>) -> Vec<Option<(Offset, EventId)>> {
    let mut greatest: Vec<Option<(Offset, EventId)>> = observed.for_each_partition();
    for watermark in &observed.told.watermarks {
        let known = &mut greatest[watermark.key.number()];
        if known.is_none_or(|(offset, _)| offset < watermark.told) {
            *known = Some((watermark.told, watermark.event));
        }
    }
    greatest
}

fn compare(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    a: &FinalLog<'_>,
    b: &FinalLog<'_>,
) {
    let difference = match (&a.latest, &b.latest) {
        (Some(of_a), Some(of_b)) => {
            let mut keys = of_a.keys().chain(of_b.keys());
            keys.find(|key| of_a.get(*key) != of_b.get(*key))
                .map(|key| [of_a, of_b].map(|of| told_latest(key, of.get(key))))
        }
        _ => first_difference(a, b).map(|pair| {
            pair.map(|batch| batch.map_or_else(|| "nothing there".to_owned(), |batch| told_batch(&batch)))
        }),
    };
    let Some([of_a, of_b]) = difference else { return };
    verdict.add(AnomalyKind::DivergedReplicas, || {
        let key = observed.key(a.key);
        let summary = format!(
            "{key}: replica {} holds {of_a}, replica {} {of_b}",
            a.replica, b.replica
        );
        let evidence = [(a, of_a), (b, of_b)].map(|(log, holds)| {
            let what = format!("the final log of replica {} of {key} holds {holds}", log.replica);
            Evidence::of(history, log.event, &what)
        });
        (summary, evidence.to_vec())
    });
}

fn told_latest(key: &str, hash: Option<&u32>) -> String {
    match hash {
        Some(hash) => format!("a value with hash {hash:08x} for key {key}"),
        None => format!("nothing for key {key}"),
    }
}

/// The first batches in which two logs differ, of those that both must hold.
fn first_difference(a: &FinalLog<'_>, b: &FinalLog<'_>) -> Option<[Option<FinalBatch>; 2]> {
    let start = a.log_start.max(b.log_start);
    let end_of = |log: &FinalLog<'_>| log.high_watermark.unwrap_or_else(|| log.log_end());
    let end = end_of(a).min(end_of(b));
    // A batch may begin before the log start or end above the high watermark as one replica knows it.
    let within = |batch: &&FinalBatch| batch.last >= start && batch.base < end;
    let mut of_a = a.batches.iter().filter(within);
    let mut of_b = b.batches.iter().filter(within);
    loop {
        match (of_a.next(), of_b.next()) {
            (None, None) => return None,
            (in_a, in_b) if in_a != in_b => return Some([in_a.copied(), in_b.copied()]),
            _ => {}
        }
    }
}

fn check_end(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    log: &FinalLog<'_>,
    watermark: Option<(Offset, EventId)>,
) {
    let end = log.log_end();
    let Some((told, event)) = watermark.filter(|(told, _)| *told > end) else {
        return;
    };
    verdict.add(AnomalyKind::CutBelowHighWatermark, || {
        let (key, replica) = (observed.key(log.key), log.replica);
        let summary =
            format!("{key} had the high watermark {told}, and replica {replica} ends at offset {end}");
        let evidence = vec![
            Evidence::of(history, event, &format!("high watermark of {key}: {told}")),
            Evidence::of(
                history,
                log.event,
                &format!("the final log of replica {replica} ends at {end}"),
            ),
        ];
        (summary, evidence)
    });
}
