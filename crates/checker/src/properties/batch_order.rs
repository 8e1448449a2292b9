//! Jepsen's int-nonmonotonic-send and int-send-skip: the values of one send stand in its order. Between them may stand
//! those of others. A plain producer's values may come to be stored twice, and which copy is seen first says nothing.

use super::told;
use crate::history::{EventId, History, Kind};
use crate::observed::{Observed, Sighting};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    // Of one operation: the last place of each partition that it sends to.
    let mut last: Vec<Sighting> = Vec::new();
    for (index, event) in history.events().iter().enumerate() {
        if !matches!(event.kind, Kind::Ok | Kind::Info) {
            continue;
        }
        last.clear();
        for send in event.op.sends().filter(|send| send.producer.is_some()) {
            let key = observed.key_in(EventId(index), &send.key);
            let places = send
                .values
                .iter()
                .filter_map(|value| observed.place(history, value.id));
            for place in places.filter(|place| place.key == key) {
                let Some(before) = last.iter_mut().find(|before| before.key == key) else {
                    last.push(place);
                    continue;
                };
                check_step(history, observed, verdict, before, &place);
                *before = place;
            }
        }
    }
}

fn check_step(
    history: &History,
    observed: &Observed,
    verdict: &mut Verdict,
    before: &Sighting,
    place: &Sighting,
) {
    let (from, to) = (before.offset, place.offset);
    if to == from.next() {
        return;
    }
    if to > from {
        if observed.partition(place.key).known_between(from, to).is_some() {
            verdict.allow(AnomalyKind::IntSendSkip);
        }
        return;
    }
    verdict.add(AnomalyKind::IntNonmonotonicSend, || {
        let key = observed.key(place.key);
        let summary = format!("values of one send to {key} stand at offset {from} and then at {to}");
        (
            summary,
            vec![told(history, observed, before), told(history, observed, place)],
        )
    });
}
