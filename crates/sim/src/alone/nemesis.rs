//! Faults: which, when, and for how long.

use crate::alone::broker::Broker;
use crate::alone::clients::Client;
use crate::alone::message::{Event, NemesisEvent};
use crate::alone::shared::Shared;
use crate::report::Fault;
use quipu_storage::test_util::Faults;

/// A fault strikes, and the next one is planned.
pub(crate) fn strike(shared: &mut Shared, brokers: &mut [Broker], clients: &mut [Client]) {
    if shared.resting {
        return;
    }
    let wait = shared
        .chance
        .between(shared.plan.fault_every / 4, shared.plan.fault_every * 7 / 4);
    shared.schedule.after(wait, Event::Nemesis(NemesisEvent::Strike));
    let fault = shared.plan.faults[shared.chance.below(shared.plan.faults.len())];
    let broker = shared.chance.below(brokers.len());
    inflict(shared, &mut brokers[broker], clients, fault);
}

fn inflict(shared: &mut Shared, broker: &mut Broker, clients: &mut [Client], fault: Fault) {
    match fault {
        Fault::Kill | Fault::PowerCut => {
            if broker.is_running() {
                shared.fault(fault);
                broker.die(shared, fault);
            }
        }
        Fault::CleanStop => {
            if broker.is_running() {
                shared.fault(fault);
                broker.stop(shared);
            }
        }
        Fault::Reelection => {
            if broker.is_running() {
                shared.fault(fault);
                broker.resign(shared);
                broker.elect(shared);
            }
        }
        Fault::ProducerReplaced => {
            let idempotent = clients.iter_mut().find_map(|client| match client {
                Client::Producer(producer) if producer.is_idempotent() => Some(producer),
                _ => None,
            });
            if let Some(producer) = idempotent {
                producer.replace(shared);
            }
        }
        Fault::ClockJump => {
            shared.fault(fault);
            // Never so far that a producer of this run is forgotten, which takes seven days.
            let hours = i64::try_from(shared.chance.below(145)).unwrap_or(0) - 72;
            shared.clock_jump = hours * 3_600_000;
        }
        lasting => {
            shared.fault(lasting);
            set(shared, broker, lasting, true);
            let longest = if matches!(
                lasting,
                Fault::SyncFails | Fault::WriteFails | Fault::WriteBackFails
            ) {
                100
            } else {
                400
            };
            let lasts = shared.chance.millis(longest);
            shared
                .schedule
                .after(lasts, Event::Nemesis(NemesisEvent::Lift(lasting)));
        }
    }
}

/// A fault that lasted is over.
pub(crate) fn lift(shared: &mut Shared, brokers: &mut [Broker], fault: Fault) {
    for broker in brokers {
        set(shared, broker, fault, false);
    }
}

/// The end of all faults.
pub(crate) fn heal(shared: &mut Shared, brokers: &mut [Broker]) {
    for fault in Fault::ALONE {
        lift(shared, brokers, *fault);
    }
}

/// Once in so many calls, in parts of 65,536.
const ONE_IN_EIGHT: u16 = 8192;

fn set(shared: &mut Shared, broker: &mut Broker, fault: Fault, on: bool) {
    let chance = if on { ONE_IN_EIGHT } else { 0 };
    match fault {
        Fault::SyncFails => broker.faults.sync_eio = chance,
        Fault::WriteFails => broker.faults.write_eio = chance,
        Fault::WriteBackFails => {
            broker.faults.write_back_eio = chance / 8;
            broker.faults.close_eio = chance;
        }
        Fault::ReadsFail => broker.faults.read_eio = chance,
        Fault::ShortWrites => {
            broker.faults = Faults {
                short_write: chance,
                no_space: chance,
                ..broker.faults
            };
        }
        Fault::DiskFull => broker.full = on,
        Fault::SlowDisk => broker.slow = on,
        Fault::MessagesLost => shared.network.lost = on,
        Fault::MessagesLate => shared.network.late = on,
        Fault::MessagesTwice => shared.network.twice = on,
        Fault::TooFewInSync => {
            for record in &mut shared.metadata {
                record.min_insync = if on { 2 } else { 1 };
                record.partition_epoch = record.partition_epoch.next();
            }
            broker.follow_metadata(shared);
        }
        _ => {}
    }
    broker.apply_faults();
}
