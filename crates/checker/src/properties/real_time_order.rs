//! P4: what is sent after something was acknowledged stands after it: `ret(a) < inv(b)` implies `off(a) < off(b)`.
//!
//! One sweep over the events, keeping for each partition the greatest offset acknowledged so far: an invocation that
//! comes later must end up above it. `a` is an acknowledgement of `acks=all`; `b` is anything whose place is known, by
//! an acknowledgement or from a read.

use super::{told, told_send};
use crate::history::{Acks, EventId, History, Kind, Op};
use crate::observed::{KeyIndex, Observed, Sighting, Witness};
use crate::verdict::{AnomalyKind, Verdict};
use std::collections::HashMap;

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut greatest: HashMap<KeyIndex, Sighting> = HashMap::new();
    for (index, event) in history.events().iter().enumerate() {
        let Op::Send(send) = &event.op else { continue };
        let Some(key) = observed.index_of(&send.key) else {
            continue;
        };
        match (event.kind, send.acks, send.offset) {
            (Kind::Ok, Acks::All, Some(base)) => {
                let Some(last) = send.values.last() else { continue };
                let acked = Sighting {
                    key,
                    offset: base.plus(send.values.len() as u64 - 1),
                    value: Some(last.id),
                    hash: Some(last.hash),
                    event: EventId(index),
                    witness: Witness::Ack,
                };
                let known = greatest.entry(key).or_insert(acked);
                if acked.offset > known.offset {
                    *known = acked;
                }
            }
            (Kind::Invoke, ..) => {
                let Some(before) = greatest.get(&key) else {
                    continue;
                };
                let lowest = send.values.iter().find_map(|value| {
                    let place = observed.places.get(&value.id)?.lowest(key)?;
                    (place.offset <= before.offset).then_some((value.id, place))
                });
                let Some((value, place)) = lowest else { continue };
                verdict.add(AnomalyKind::RealTimeOrder, || {
                    let summary = format!(
                        "value {value} was sent after {} had been acknowledged at {} offset {}, and stands at offset {}",
                        super::name(before.value),
                        send.key,
                        before.offset,
                        place.offset
                    );
                    let mut evidence = vec![
                        told(history, observed, before),
                        told_send(history, EventId(index), value),
                        told(history, observed, &place),
                    ];
                    let first = before.value.and_then(|v| history.sender(v).map(|s| (v, s)));
                    evidence.extend(first.map(|(v, sender)| told_send(history, sender.invoke, v)));
                    (summary, evidence)
                });
            }
            _ => {}
        }
    }
}
