//! The end of a partition thread, in order: what was accepted is appended and flushed and answered; what is not
//! answered in time fails; producer snapshots are written and everything is flushed once more.

use super::Worker;
use quipu_record::{Offset, TopicPartition};
use quipu_replication::{Input, Now, Resign, Tick};
use std::time::Duration;

/// What the last flush may take on top of the time for the answers.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// The end that was ordered.
#[derive(Debug)]
pub(super) struct Drain {
    until: Tick,
    report: crossbeam_channel::Sender<Vec<(TopicPartition, Offset)>>,
    /// The drivers resigned and wrote what they keep: only the last flush is out.
    resigned: bool,
}

impl Drain {
    pub(super) fn new(until: Tick, report: crossbeam_channel::Sender<Vec<(TopicPartition, Offset)>>) -> Self {
        Self {
            until,
            report,
            resigned: false,
        }
    }

    /// When it goes on without what it waits for.
    pub(super) fn until(&self) -> Tick {
        self.until
    }
}

impl Worker {
    /// Whether the end was ordered and has been reached. Without a report (its sender dropped) it was not in order.
    pub(super) fn drained(&mut self, now: Now) -> bool {
        let Some(mut drain) = self.drain.take() else {
            return false;
        };
        let late = now.mono >= drain.until;
        let settled = self.flushing == 0;
        if !drain.resigned && (late || (settled && self.waiting.is_empty())) {
            self.resign_all(now);
            drain.resigned = true;
            drain.until = now.mono.after(LAST_FLUSH);
        }
        if drain.resigned && self.flushing == 0 {
            let positions = self.owned.iter();
            let positions = positions.map(|(at, owned)| (*at, owned.driver.view().high_watermark));
            // Nobody to report to: the broker was dropped.
            let _ = drain.report.send(positions.collect());
            return true;
        }
        if drain.resigned && now.mono >= drain.until {
            return true;
        }
        self.drain = Some(drain);
        false
    }

    fn resign_all(&mut self, now: Now) {
        let all: Vec<_> = self.owned.keys().copied().collect();
        for at in all {
            let leading = self.owned.get(&at).and_then(|owned| owned.driver.view().leading);
            if let Some(leading) = leading {
                let leader_epoch = leading.epoch;
                self.step(now, at, Input::Resign(Resign { leader_epoch }));
            }
            if let Some(owned) = self.owned.get_mut(&at) {
                if let Err(error) = owned.driver.store_producers() {
                    tracing::warn!(partition = %at, %error, "the next start has more of this log to read");
                }
                self.flushes.extend(owned.driver.take_flush());
            }
        }
        self.flushing += self.parts.flushes.submit(&mut self.flushes);
    }
}
