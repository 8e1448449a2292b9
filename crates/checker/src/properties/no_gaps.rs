//! P7: a read begins where it was asked to, leaves no offset out without a word, and ends below the high watermark.
//!
//! Where a value is known to stand in the hole, it has Jepsen's name: `poll_order` tells of it.

use super::poll_order::Places;
use crate::history::{EventId, History, Kind, PolledPartition};
use crate::observed::{Observed, Partition};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut places = Places::of(observed);
    for polled in observed
        .told
        .polls
        .iter()
        .filter(|polled| polled.kind == Kind::Ok)
    {
        let (id, part) = (polled.event, polled.part);
        check_end(history, verdict, id, part);
        if part.compacted {
            continue;
        }
        places.follow(history, id);
        let positions = places.are_kept(polled.process);
        if let Some((after, before)) = hole(observed.partition(polled.key), part, positions) {
            tell(history, verdict, id, part, (after, before));
        }
    }
}

/// The first hole in a read: the offset after it should have gone on, and where it went on.
fn hole(partition: &Partition<'_>, part: &PolledPartition, positions_kept: bool) -> Option<(Offset, Offset)> {
    let first = part.records.first()?.offset;
    let missing = |from: Offset, to: Offset| {
        let from = from.max(partition.deleted_below());
        if from >= to {
            return false;
        }
        let control = part.control.partition_point(|offset| *offset < to.get())
            - part.control.partition_point(|offset| *offset < from.get());
        to.get().saturating_sub(from.get()) > control as u64
    };
    let known = |from: Offset, to: Offset| {
        let before = from.get().checked_sub(1).map_or(from, Offset::new);
        partition.known_between(before, to).is_some()
    };
    if first > part.from && missing(part.from, first) && !(positions_kept && known(part.from, first)) {
        return Some((part.from, first));
    }
    part.records.windows(2).find_map(|pair| {
        let (from, to) = (pair[0].offset.next(), pair[1].offset);
        (to > from && missing(from, to) && !known(from, to)).then_some((from, to))
    })
}

fn tell(
    history: &History,
    verdict: &mut Verdict,
    id: EventId,
    part: &PolledPartition,
    (from, to): (Offset, Offset),
) {
    verdict.add(AnomalyKind::Gap, || {
        let key = &part.key;
        let summary = format!(
            "a read of {key} from offset {} goes on at {to}, and not at {from}",
            part.from
        );
        let what = format!(
            "{key} read from offset {}: nothing at {from}, then offset {to}",
            part.from
        );
        (summary, vec![Evidence::of(history, id, &what)])
    });
}

fn check_end(history: &History, verdict: &mut Verdict, id: EventId, part: &PolledPartition) {
    let (Some(last), Some(end)) = (part.records.last(), part.high_watermark) else {
        return;
    };
    if last.offset < end {
        return;
    }
    verdict.add(AnomalyKind::ReadPastHighWatermark, || {
        let (key, last) = (&part.key, last.offset);
        let summary =
            format!("{key} offset {last} was read, and the high watermark that came with it is {end}");
        let what = format!("{key} read up to offset {last}, high watermark {end}");
        (summary, vec![Evidence::of(history, id, &what)])
    });
}
