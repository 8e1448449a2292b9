//! What may not happen, one property a file. Each is one pass over the history or over what was observed in it.

pub(crate) mod durability;
pub(crate) mod no_duplicates;
pub(crate) mod one_value_per_offset;
pub(crate) mod reads_were_sent;
pub(crate) mod real_time_order;

use crate::history::{EventId, History, ValueId};
use crate::observed::{Observed, Sighting, Witness};
use crate::verdict::Evidence;

/// A sighting in words.
fn told(history: &History, observed: &Observed, sighting: &Sighting) -> Evidence {
    let key = observed.key(sighting.key);
    let value = name(sighting.value);
    let offset = sighting.offset;
    let what = match sighting.witness {
        Witness::Ack => format!("{value} acknowledged at {key} offset {offset}"),
        Witness::Read => format!("{value} read at {key} offset {offset}"),
        Witness::Final(replica) => {
            format!("{value} in the final log of replica {replica} at {key} offset {offset}")
        }
    };
    Evidence::of(history, sighting.event, &what)
}

/// A send's invocation in words, as far as it is about one value.
fn told_send(history: &History, event: EventId, value: ValueId) -> Evidence {
    let what = match &history.event(event).op {
        crate::history::Op::Send(send) => format!("send value {value} to {}", send.key),
        _ => format!("value {value}"),
    };
    Evidence::of(history, event, &what)
}

fn name(value: Option<ValueId>) -> String {
    value.map_or_else(|| "bytes of no value".to_owned(), |id| format!("value {id}"))
}
