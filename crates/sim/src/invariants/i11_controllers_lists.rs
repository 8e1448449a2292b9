//! I11: nobody fenced is in sync, nobody fenced leads, in-sync and eligible replicas are replicas and never both, and
//! with enough in sync nobody is eligible. Who is shutting down is given no leadership.

use super::Place;
use crate::cluster::ghost::Ghost;
use crate::cluster::plan::Plan;
use crate::report::Violation;
use quipu_metadata::{Image, Partition, Record};

const NAME: &str = "I11 the controllers' lists";

pub(super) fn partition(place: &Place<'_>, image: &Image, state: &Partition) -> Result<(), Violation> {
    let fenced = |id| image.broker(id).is_none_or(|broker| broker.fenced);
    let wrong = if state.isr.iter().any(fenced) {
        "a fenced broker is in sync"
    } else if state.leader.is_some_and(|leader| !state.isr.contains(leader)) {
        "the leader is not in sync"
    } else if (state.isr.iter().chain(state.elr.iter())).any(|id| !state.replicas.contains(id)) {
        "one that may be elected is no replica"
    } else if state.isr.iter().any(|id| state.elr.contains(id)) {
        "one is in sync and eligible at once"
    } else if state.isr.len() >= usize::from(state.min_insync) && !state.elr.is_empty() {
        "enough are in sync, and there are eligible ones"
    } else {
        return Ok(());
    };
    Err(place.violated(NAME, format_args!("{wrong}: {state:?}")))
}

/// After a change of brokers: what they are in must still be right.
pub(super) fn brokers(
    plan: &Plan,
    image: &Image,
    ghosts: &[Ghost],
    records: &[Record],
) -> Result<(), Violation> {
    let touched = records
        .iter()
        .any(|record| matches!(record, Record::Broker(_) | Record::BrokerState { .. }));
    if !touched {
        return Ok(());
    }
    for (index, ghost) in ghosts.iter().enumerate() {
        if let Some(state) = &ghost.truth {
            let place = Place {
                plan,
                partition: index,
            };
            partition(&place, image, state)?;
        }
    }
    Ok(())
}
