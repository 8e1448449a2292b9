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
use crate::observed::{Observed, Sighting, Witness};
use crate::verdict::{Evidence, Verdict};

/// Of what stands in partitions.
pub(crate) const OF_LOGS: &[fn(&History, &Observed, &mut Verdict)] = &[
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
];

/// Of groups and metadata, which need only the events.
pub(crate) const OF_EVENTS: &[fn(&History, &mut Verdict)] = &[
    commit_registers::check,
    commit_fencing::check,
    ownership::check,
    metadata::check,
];

/// A sighting in words.
fn told(history: &History, observed: &Observed, sighting: &Sighting) -> Evidence {
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
