//! P4: what is sent after something was acknowledged stands after it: `ret(a) < inv(b)` implies `off(a) < off(b)`.
//!
//! One sweep over the events, keeping for each partition the greatest offset acknowledged so far: an invocation that
//! comes later must end up above it. `a` is an acknowledgement of `acks=all`; `b` is anything whose place is known, by
//! an acknowledgement or from a read. What a process sends after itself is `send_order`'s.

use super::{name, told, told_send};
use crate::history::{Acks, EventId, History, Kind, Send};
use crate::observed::{KeyIndex, Observed, Sighting, Witness};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut greatest: Vec<Option<Sighting>> = observed.for_each_partition();
    for (index, event) in history.events().iter().enumerate() {
        let id = EventId(index);
        for send in event.op.sends() {
            let key = observed.key_in(id, &send.key);
            let greatest = &mut greatest[key.number()];
            match (event.kind, greatest.as_ref()) {
                (Kind::Ok, _) => {
                    let acked = acknowledged(send, key, id);
                    if acked.map(|acked| acked.offset) > greatest.map(|known| known.offset) {
                        *greatest = acked;
                    }
                }
                (Kind::Invoke, Some(before)) if history.event(before.event).process != event.process => {
                    check_send(history, observed, verdict, (send, key, id), before);
                }
                _ => {}
            }
        }
    }
}

/// The last value that an acknowledgement promises.
fn acknowledged(send: &Send, key: KeyIndex, event: EventId) -> Option<Sighting> {
    let (Acks::All, Some(base), Some(last)) = (send.acks, send.offset, send.values.last()) else {
        return None;
    };
    Some(Sighting {
        key,
        offset: base.plus(send.values.len() as u64 - 1),
        value: Some(last.id),
        hash: Some(last.hash),
        event,
        witness: Witness::Ack,
    })
}

fn check_send(
    history: &History,
    observed: &Observed,
    verdict: &mut Verdict,
    (send, key, event): (&Send, KeyIndex, EventId),
    before: &Sighting,
) {
    let too_low = send.values.iter().find_map(|value| {
        let places = observed.places(history, value.id, key);
        let place = places.min_by_key(|place| place.offset)?;
        (place.offset <= before.offset).then_some((value.id, place))
    });
    let Some((value, place)) = too_low else { return };
    verdict.add(AnomalyKind::RealTimeOrder, || {
        let summary = format!(
            "value {value} was sent after {} had been acknowledged at {} offset {}, and stands at offset {}",
            name(before.value),
            send.key,
            before.offset,
            place.offset
        );
        let mut evidence = vec![
            told(history, observed, before),
            told_send(history, event, value),
            told(history, observed, &place),
        ];
        let first = before.value.and_then(|v| history.sender(v).map(|s| (v, s)));
        evidence.extend(first.map(|(v, sender)| told_send(history, sender.invoke, v)));
        (summary, evidence)
    });
}
