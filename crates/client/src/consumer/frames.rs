//! What came and was not given yet: frames of partitions, taken apart batch by batch as the application asks.

use super::core::{Key, StreamId};
use super::{ConsumeError, FetchedBatch};
use crate::consumer::config::Start;
use crate::moment::Moment;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{Offset, StoredBatch, StoredBatches, TopicId, iter_batches};
use std::collections::VecDeque;

/// Who knows which partitions are read, on which stream, and from where.
pub(crate) trait Places {
    /// Whether what this stream sends of a partition counts.
    fn counts(&self, stream: StreamId, key: &Key) -> bool;
    /// Where to read on; `None`: it is not read.
    fn place(&self, key: &Key) -> Option<Start>;
    /// The broker told how far a partition reaches.
    fn reaches(&mut self, key: &Key, high_watermark: Offset, log_start: Offset);
    /// Everything below was given to the application, or holds nothing for it.
    fn advance(&mut self, key: &Key, to: Offset);
    /// These bytes came and are done with.
    fn owe(&mut self, stream: StreamId, bytes: usize);
    /// The broker reads a partition no further on this stream. Says what the application must hear.
    fn refused(&mut self, now: Moment, stream: StreamId, key: &Key, failure: Failure) -> Option<Failure>;
    /// What came of a partition cannot be read: nothing more is, until a seek or a resume.
    fn unreadable(&mut self, key: &Key);
}

/// What waits to be given.
#[derive(Debug)]
enum Waiting {
    Frame(Box<Frame>),
    /// The partition is read no further, for this reason. It stands behind what came before it.
    Refused(Box<(StreamId, Key, Failure)>),
    Error(Box<ConsumeError>),
}

#[derive(Debug)]
struct Frame {
    stream: StreamId,
    key: Key,
    topic_id: TopicId,
    high_watermark: Offset,
    next_offset: Offset,
    batches: StoredBatches,
    /// Bytes of it not yet owed back as credit.
    bytes: usize,
}

/// What came and was not given yet, in the order of coming.
#[derive(Debug)]
pub(crate) struct Frames {
    waiting: VecDeque<Waiting>,
    decoded_bytes_max: usize,
}

impl Frames {
    pub(crate) fn new(decoded_bytes_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            decoded_bytes_max,
        }
    }

    /// Something is wrong with a partition.
    pub(crate) fn push_error(&mut self, error: ConsumeError) {
        self.waiting.push_back(Waiting::Error(Box::new(error)));
    }

    /// A broker reads a partition no further.
    pub(crate) fn push_refusal(&mut self, stream: StreamId, key: Key, failure: Failure) {
        self.waiting
            .push_back(Waiting::Refused(Box::new((stream, key, failure))));
    }

    /// A partition's data came.
    pub(crate) fn push(
        &mut self,
        core: &mut impl Places,
        stream: StreamId,
        key: Key,
        data: v1::PartitionData,
    ) {
        let batches = data.encoded.unwrap_or_default().into_bytes();
        let bytes = batches.len();
        if !core.counts(stream, &key) {
            core.owe(stream, bytes);
            return;
        }
        match read_offsets(
            &data.topic_id,
            data.high_watermark,
            data.log_start,
            data.next_offset,
        ) {
            Ok((topic_id, high_watermark, log_start, next_offset)) => {
                core.reaches(&key, high_watermark, log_start);
                self.waiting.push_back(Waiting::Frame(Box::new(Frame {
                    stream,
                    key,
                    topic_id,
                    high_watermark,
                    next_offset,
                    batches: iter_batches(batches),
                    bytes,
                })));
            }
            Err(failure) => {
                core.owe(stream, bytes);
                core.unreadable(&key);
                self.push_error(rejected(key, failure));
            }
        }
    }

    /// The next batch with something to give.
    pub(crate) fn next(
        &mut self,
        core: &mut impl Places,
        now: Moment,
    ) -> Option<Result<FetchedBatch, ConsumeError>> {
        loop {
            let Waiting::Frame(frame) = self.waiting.front_mut()? else {
                match self.waiting.pop_front()? {
                    Waiting::Error(error) => return Some(Err(*error)),
                    Waiting::Refused(refused) => {
                        let (stream, key, failure) = *refused;
                        if let Some(failure) = core.refused(now, stream, &key, failure) {
                            return Some(Err(rejected(key, failure)));
                        }
                    }
                    Waiting::Frame(_) => {}
                }
                continue;
            };
            let batch = if core.counts(frame.stream, &frame.key) {
                frame.batches.next()
            } else {
                None
            };
            let Some(batch) = batch else {
                frame.finish(core);
                self.waiting.pop_front();
                continue;
            };
            match frame.take(core, batch, self.decoded_bytes_max) {
                Ok(None) => {}
                Ok(Some(batch)) => return Some(Ok(batch)),
                Err(error) => {
                    core.unreadable(&frame.key);
                    frame.finish(core);
                    self.waiting.pop_front();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Frames {
    /// A partition is not this consumer's any more: what came of it and was not given is dropped.
    pub(crate) fn purge(&mut self, core: &mut impl Places, key: &Key) {
        self.waiting.retain_mut(|waiting| match waiting {
            Waiting::Frame(frame) if frame.key == *key => {
                core.owe(frame.stream, std::mem::take(&mut frame.bytes));
                false
            }
            Waiting::Refused(refused) => refused.1 != *key,
            Waiting::Frame(_) | Waiting::Error(_) => true,
        });
    }
}

impl Frame {
    fn take(
        &mut self,
        core: &mut impl Places,
        batch: Result<StoredBatch, quipu_record::BatchError>,
        decoded_bytes_max: usize,
    ) -> Result<Option<FetchedBatch>, ConsumeError> {
        let from = match core.place(&self.key) {
            Some(Start::Offset(offset)) => offset,
            _ => Offset::ZERO,
        };
        let bad = |error| ConsumeError::BadBatch {
            topic: self.key.topic.clone(),
            partition: self.key.partition,
            offset: from,
            error,
        };
        let batch = batch.map_err(bad)?;
        let header = *batch.header();
        let mut given = None;
        if header.next_offset() > from {
            if !header.is_control() && header.records_count() > 0 {
                let records = batch.records(decoded_bytes_max).map_err(bad)?;
                given = Some(FetchedBatch {
                    topic: self.key.topic.clone(),
                    topic_id: self.topic_id,
                    partition: self.key.partition,
                    high_watermark: self.high_watermark,
                    from,
                    records,
                });
            }
            core.advance(&self.key, header.next_offset());
        }
        let bytes = header.size().min(self.bytes);
        self.bytes -= bytes;
        core.owe(self.stream, bytes);
        Ok(given)
    }

    /// Nothing more of it is given.
    fn finish(&mut self, core: &mut impl Places) {
        core.owe(self.stream, std::mem::take(&mut self.bytes));
        if core.counts(self.stream, &self.key) {
            // Compaction may have left nothing at the end of what was read.
            core.advance(&self.key, self.next_offset);
        }
    }
}

pub(crate) fn rejected(key: Key, failure: Failure) -> ConsumeError {
    ConsumeError::Rejected {
        topic: key.topic,
        partition: key.partition,
        failure,
    }
}

/// Where a broker reads from, once it was asked to.
pub(crate) struct Opened {
    pub(crate) offset: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
}

impl Opened {
    pub(crate) fn read(opened: &v1::OpenedPartition) -> Result<Self, Failure> {
        Ok(Self {
            offset: scalars::offset("offset", opened.offset)?,
            high_watermark: scalars::offset("high_watermark", opened.high_watermark)?,
            log_start: scalars::offset("log_start", opened.log_start)?,
        })
    }
}

/// Where a broker reads on after a seek.
pub(crate) fn sought_offset(sought: v1::Sought) -> Result<Offset, Failure> {
    match sought.error {
        None => Ok(scalars::offset("offset", sought.offset)?),
        Some(error) => Err(error.into()),
    }
}

fn read_offsets(
    topic_id: &str,
    high_watermark: u64,
    log_start: u64,
    next_offset: u64,
) -> Result<(TopicId, Offset, Offset, Offset), Failure> {
    Ok((
        scalars::topic_id(topic_id)?,
        scalars::offset("high_watermark", high_watermark)?,
        scalars::offset("log_start", log_start)?,
        scalars::offset("next_offset", next_offset)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken for the end of all offsets, such an answer would have the consumer read on from there.
    #[test]
    fn an_offset_beyond_all_offsets_is_refused_and_not_read_from() {
        let beyond = v1::OpenedPartition {
            offset: u64::MAX,
            ..v1::OpenedPartition::default()
        };
        assert!(Opened::read(&beyond).is_err());
        let sound = v1::OpenedPartition {
            offset: 7,
            high_watermark: 9,
            ..v1::OpenedPartition::default()
        };
        let opened = Opened::read(&sound).expect("sound");
        assert_eq!(
            (opened.offset, opened.high_watermark),
            (Offset::new(7), Offset::new(9))
        );
        let sought = v1::Sought {
            offset: u64::MAX,
            ..v1::Sought::default()
        };
        assert!(sought_offset(sought).is_err());
    }
}
