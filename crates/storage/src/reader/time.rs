//! Reads by time.

use super::{LogReader, bad};
use crate::segment::{Seek, Segment, Step, Walk};
use crate::{Disk, ReadError};
use bytes::Bytes;
use quipu_record::{LeaderEpoch, Offset, StoredBatch, Timestamp};
use std::sync::Arc;

/// A record found by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// A batch was checked as it was produced; that much it may take once decompressed.
const DECODED_MAX: usize = 1 << 30;

impl<D: Disk> LogReader<D> {
    /// The first record below `limit` whose timestamp is not earlier than `time`; `None` if all are.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn offset_for_time(&self, time: Timestamp, limit: Offset) -> Result<Option<TimedOffset>, ReadError> {
        self.steadily(|| {
            let limit = limit.min(self.log_end());
            let segments = self.shared.view(|view| view.segments.clone());
            let mut next = self.log_start();
            for segment in segments.iter().filter(|segment| segment.base() < limit) {
                if segment.base() > next.max(self.log_start()) {
                    // What is missing may have been what is sought.
                    return Err(self.missing(self.shared.path(), next));
                }
                let end = segment.end();
                next = end.next;
                if end.max_timestamp < Some(time) {
                    continue;
                }
                if let Some(found) = self.search(segment, time, limit)? {
                    return Ok(Some(found));
                }
            }
            if next < limit {
                return Err(self.missing(self.shared.path(), next));
            }
            Ok(None)
        })
    }

    fn search(
        &self,
        segment: &Arc<Segment<D>>,
        time: Timestamp,
        limit: Offset,
    ) -> Result<Option<TimedOffset>, ReadError> {
        let target = super::Target {
            end: segment.end(),
            segment: Arc::clone(segment),
            epochs: self.shared.epochs(),
        };
        let log = match self.open(segment, segment.base().max(self.log_start())) {
            // It left while this read was under way.
            Err(ReadError::OutOfRange { .. }) => return Ok(None),
            log => log?,
        };
        let start = self.locate(&target, Seek::Time(time))?;
        let mut rules = target.rules();
        let mut walk = Walk::new(&log, start, u64::from(target.end.position));
        loop {
            let at = *walk.at();
            match walk.step(&mut rules).map_err(ReadError::Io)? {
                Step::Batch(header, _) if header.next_offset() > limit => return Ok(None),
                Step::Batch(header, bytes) if header.max_timestamp() >= time => {
                    let batch = StoredBatch::parse(&Bytes::copy_from_slice(bytes));
                    let found = batch.and_then(|batch| first_record(&batch, time, self.log_start()));
                    match found {
                        Ok(None) => {}
                        Ok(found) => {
                            self.prove(&target, &log, *walk.at())?;
                            return Ok(found);
                        }
                        Err(error) => return Err(bad(&log, &at, error.to_string())),
                    }
                }
                Step::Batch(..) => {}
                Step::Bad(what) => return Err(bad(&log, &at, what)),
                Step::End => return Ok(None),
            }
        }
    }
}

fn first_record(
    batch: &StoredBatch,
    time: Timestamp,
    log_start: Offset,
) -> Result<Option<TimedOffset>, quipu_record::BatchError> {
    let records = batch.records(DECODED_MAX)?;
    for record in &records {
        let record = record?;
        if record.timestamp >= time && record.offset >= log_start {
            return Ok(Some(TimedOffset {
                offset: record.offset,
                timestamp: record.timestamp,
                leader_epoch: batch.leader_epoch(),
            }));
        }
    }
    Ok(None)
}
