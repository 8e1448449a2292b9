//! P4: what is sent after something was acknowledged stands after it: `ret(a) < inv(b)` implies `off(a) < off(b)`.
//!
//! One sweep over the events, keeping for each partition the greatest offset acknowledged so far: an invocation that
//! comes later must end up above it. `a` is an acknowledgement of `acks=all`; `b` is anything whose place is known, by
//! an acknowledgement or from a read. What a process sends after itself is `send_order`'s.

use super::{name, told_place, told_send};
use crate::history::{History, Kind};
use crate::observed::{Observed, Seen, Sent};
use crate::verdict::{AnomalyKind, Evidence, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut greatest: Vec<Option<Seen<'_>>> = observed.for_each_partition();
    for sent in &observed.told.sends {
        let greatest = &mut greatest[sent.key.number()];
        match (sent.kind, *greatest) {
            (Kind::Ok, _) => {
                let promise = promise(sent);
                if promise.map(|promise| promise.offset) > greatest.map(|known| known.offset) {
                    *greatest = promise;
                }
            }
            (Kind::Invoke, Some(before)) if before.sent.process != sent.process => {
                check_send(history, observed, verdict, sent, before);
            }
            _ => {}
        }
    }
}

/// The last value that an acknowledgement promises.
fn promise<'a>(sent: &'a Sent<'a>) -> Option<Seen<'a>> {
    let base = sent.promised()?;
    Seen::last(sent, base)
}

fn check_send(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    sent: &Sent<'_>,
    before: Seen<'_>,
) {
    let known = observed.known_of(sent).iter().zip(&sent.send.values);
    let mut lowest = known.filter_map(|(known, value)| {
        let lowest = observed.offsets(known, &value.id, sent.key).min()?;
        Some((value, lowest))
    });
    let too_low = lowest.find(|(_, lowest)| *lowest <= before.offset);
    let Some((value, offset)) = too_low else { return };
    verdict.add(AnomalyKind::RealTimeOrder, || {
        let (key, value, acked) = (&sent.send.key, value.id, before.value());
        let summary = format!(
            "value {value} was sent after {} had been acknowledged at {key} offset {}, and stands at offset {offset}",
            name(Some(acked)),
            before.offset
        );
        let promised = format!("{} acknowledged at {key} offset {}", name(Some(acked)), before.offset);
        let mut evidence = vec![
            Evidence::of(history, before.sent.event, &promised),
            told_send(history, sent.event, value),
            told_place(history, observed, (sent.key, offset), value),
        ];
        let first = history.sender(acked);
        evidence.extend(first.map(|sender| told_send(history, sender.invoke, acked)));
        (summary, evidence)
    });
}
