//! What may not happen, one property a file. Each is one pass over the history or over what was observed in it.

pub(crate) mod availability;
mod batch_order;
mod commit_fencing;
mod commit_registers;
mod cycles;
mod durability;
mod epochs;
mod everything_seen;
mod high_watermark;
mod lost_writes;
mod metadata;
mod no_duplicates;
mod no_gaps;
mod one_value_per_offset;
mod ownership;
mod poll_order;
mod producer_order;
mod reads_were_sent;
mod real_time_order;
mod replicas_agree;
mod send_order;
mod transactions;

use crate::history::{EventId, History, ValueId};
use crate::observed::{KeyIndex, Observed, Place, Seen, Sighting, Witness};
use crate::verdict::{Evidence, Verdict};
use quipu_record::Offset;

/// All that need no limits.
pub(crate) const ALL: &[fn(&History, &Observed<'_>, &mut Verdict)] = &[
    // Of what stands in partitions.
    one_value_per_offset::check,
    no_duplicates::check,
    reads_were_sent::check,
    real_time_order::check,
    durability::check,
    lost_writes::check,
    everything_seen::check,
    high_watermark::check,
    no_gaps::check,
    poll_order::check,
    send_order::check,
    batch_order::check,
    producer_order::check,
    epochs::check,
    replicas_agree::check,
    transactions::check,
    cycles::check,
    // Of groups and metadata.
    commit_registers::check,
    commit_fencing::check,
    ownership::check,
    metadata::check,
];

/// A sighting in words.
fn told(history: &History, observed: &Observed<'_>, sighting: &Sighting) -> Evidence {
    let key = observed.key(sighting.key);
    let value = name(sighting.value);
    let offset = sighting.offset;
    let what = match sighting.witness {
        Witness::Ack => format!("{value} acknowledged at {key} offset {offset}"),
        Witness::Read { .. } => format!("{value} read at {key} offset {offset}"),
        Witness::Final(replica) => {
            format!("{value} in the final log of replica {replica} at {key} offset {offset}")
        }
    };
    Evidence::of(history, sighting.event, &what)
}

/// How it was first told that a value stands where it does, in words.
fn told_seen(history: &History, observed: &Observed<'_>, seen: &Seen<'_>) -> Evidence {
    told_place(history, observed, (seen.sent.key, seen.offset), seen.value())
}

fn told_place(
    history: &History,
    observed: &Observed<'_>,
    (key, offset): (KeyIndex, Offset),
    value: ValueId,
) -> Evidence {
    match observed.sighting(Place { key, offset }, value) {
        Some(sighting) => told(history, observed, sighting),
        // Nothing stands anywhere that was not seen there.
        None => Evidence::of(history, EventId(0), &name(Some(value))),
    }
}

/// A send's invocation in words, as far as it is about one value.
fn told_send(history: &History, event: EventId, value: ValueId) -> Evidence {
    let mut sends = history.event(event).op.sends();
    let to = sends.find(|send| send.values.iter().any(|sent| sent.id == value));
    let what = match to {
        Some(send) => format!("send value {value} to {}", send.key),
        None => format!("value {value}"),
    };
    Evidence::of(history, event, &what)
}

fn name(value: Option<ValueId>) -> String {
    value.map_or_else(|| "bytes of no value".to_owned(), |id| format!("value {id}"))
}
