//! What is known to be true, and the checks against it.

use super::broker::Broker;
use super::metadata::Metadata;
use quipu_record::{LeaderEpoch, Offset, StoredBatch, iter_batches};
use quipu_replication::rules::producers::Producers;
use quipu_replication::{Driver, View};
use quipu_storage::test_util::FakeDisk;
use std::collections::BTreeMap;

/// A batch, as far as two logs must agree on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) next: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) crc: u32,
}

#[derive(Default)]
pub(crate) struct Ghost {
    /// What any leader ever had below its high watermark, by base offset.
    committed: BTreeMap<Offset, Entry>,
    committed_to: Offset,
    /// The ends of acknowledged batches, by base offset.
    acked: BTreeMap<Offset, Offset>,
    pub(crate) acks: u64,
}

pub(crate) type Checked = Result<(), String>;

pub(crate) fn read(driver: &Driver<FakeDisk>, from: Offset, to: Offset) -> Result<Vec<StoredBatch>, String> {
    let (reader, mut all, mut from) = (driver.reader(), Vec::new(), from);
    while from < to {
        let read = reader
            .read(from, to, 1 << 20)
            .map_err(|error| error.to_string())?;
        if read.bytes.is_empty() {
            break;
        }
        for batch in iter_batches(read.bytes) {
            all.push(batch.map_err(|error| error.to_string())?);
        }
        from = read.next;
    }
    Ok(all)
}

impl Ghost {
    /// After each step of a broker.
    pub(crate) fn look(&mut self, broker: &Broker, before: &View, metadata: &Metadata) -> Checked {
        let Some(process) = &broker.process else {
            return Ok(());
        };
        let driver = &process.driver;
        let view = driver.view();
        let who = broker.index + 1;
        if view.log_start > view.high_watermark || view.high_watermark > view.log_end {
            return Err(format!("broker {who}: positions out of order: {view:?}"));
        }
        let epoch = |view: &View| view.leading.map(|leading| leading.epoch);
        if epoch(before) == epoch(&view)
            && epoch(&view).is_some()
            && view.high_watermark < before.high_watermark
        {
            return Err(format!(
                "broker {who}: the high watermark fell from {before:?} to {view:?}"
            ));
        }
        if view.log_end < before.log_end && metadata.is_safe(broker.index) {
            let committed = self.committed_to.min(before.log_end);
            let whole = view.log_end >= committed || view.log_start > before.log_end;
            if !whole {
                return Err(format!(
                    "broker {who} may be elected and was cut to {}, below {committed}",
                    view.log_end
                ));
            }
        }
        if view.high_watermark > before.high_watermark || view.leading.is_some() && before.leading.is_none() {
            self.compare(
                broker,
                before.high_watermark.max(view.log_start),
                view.high_watermark,
            )?;
        }
        // The leader that the metadata means has everything that ever was committed.
        if metadata.leader == Some(broker.index)
            && epoch(&view) == Some(metadata.leader_epoch)
            && before.leading != view.leading
        {
            self.is_complete(broker)?;
        }
        Ok(())
    }

    /// Below the high watermark all logs are one.
    fn compare(&mut self, broker: &Broker, from: Offset, to: Offset) -> Checked {
        let Some(process) = &broker.process else {
            return Ok(());
        };
        let leads = process.driver.view().leading.is_some();
        for batch in read(&process.driver, from, to)? {
            let entry = Entry {
                next: batch.next_offset(),
                epoch: batch.leader_epoch(),
                crc: batch.header().crc(),
            };
            match self.committed.get(&batch.base_offset()) {
                Some(known) if *known == entry => {}
                None if leads && batch.base_offset() == self.committed_to => {
                    self.committed.insert(batch.base_offset(), entry);
                    self.committed_to = entry.next;
                }
                other => {
                    return Err(format!(
                        "broker {} has {entry:?} at {} below its high watermark; committed is {other:?} up to {}",
                        broker.index + 1,
                        batch.base_offset(),
                        self.committed_to
                    ));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn is_complete(&mut self, broker: &Broker) -> Checked {
        let Some(process) = &broker.process else {
            return Ok(());
        };
        let view = process.driver.view();
        let who = broker.index + 1;
        if view.log_end < self.committed_to {
            return Err(format!(
                "broker {who} leads up to {}, and {} was committed",
                view.log_end, self.committed_to
            ));
        }
        let to = self.committed_to;
        self.compare(broker, view.log_start, to)
    }

    /// A producer was told that this is in the log.
    pub(crate) fn acknowledged(&mut self, base: Offset, end: Offset) -> Checked {
        self.acks += 1;
        self.acked.insert(base, end);
        match self.committed.get(&base) {
            Some(entry) if entry.next == end => Ok(()),
            other => Err(format!(
                "{base} to {end} was acknowledged; committed is {other:?}"
            )),
        }
    }

    /// What a log says of its producers is what the driver says.
    pub(crate) fn producers(broker: &Broker) -> Checked {
        let Some(process) = &broker.process else {
            return Ok(());
        };
        let mut replayed = Producers::default();
        let from = process.driver.view().log_start;
        let wall = process.driver.log().log_end().get();
        let wall = quipu_record::Timestamp::new(i64::try_from(wall).unwrap());
        let replay = |header: &_| replayed.replay(header, wall);
        let walked = process.driver.reader().for_each_header(from, replay);
        walked.map_err(|error| error.to_string())?;
        if process.driver.producers().agree_with(&replayed) {
            return Ok(());
        }
        Err(format!("broker {} forgot producers of its log", broker.index + 1))
    }
}
