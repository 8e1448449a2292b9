//! High watermarks as they were: hints for the next start, and nothing that it relies on.

use super::{DataDir, ReplaceFile};
use crate::{DataDirError, Disk, paths};
use bytes::{Buf, BufMut, Bytes};
use quipu_record::{Offset, PartitionId, TopicId, TopicPartition};

const ENTRY_LEN: usize = 16 + 4 + 8;

impl<D: Disk> DataDir<D> {
    /// Saves high watermarks, as hints for the next start.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn write_high_watermarks(&self, all: &[(TopicPartition, Offset)]) -> Result<(), DataDirError> {
        let mut bytes = Vec::with_capacity(all.len() * ENTRY_LEN);
        for (partition, high_watermark) in all {
            bytes.put_slice(&partition.topic.into_bytes());
            bytes.put_u32(partition.partition.get());
            bytes.put_u64(high_watermark.get());
        }
        let path = self.root().join(paths::HIGH_WATERMARKS);
        ReplaceFile::write(self.disk(), &path, &bytes)
    }

    /// The saved high watermarks; empty if there are none, or they are damaged.
    ///
    /// # Errors
    /// [`DataDirError`] if the disk fails.
    pub fn read_high_watermarks(&self) -> Result<Vec<(TopicPartition, Offset)>, DataDirError> {
        let path = self.root().join(paths::HIGH_WATERMARKS);
        match ReplaceFile::read(self.disk(), &path) {
            Ok(bytes) => Ok(decode(bytes.unwrap_or_default())),
            Err(DataDirError::Corrupt(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn decode(mut bytes: Bytes) -> Vec<(TopicPartition, Offset)> {
    let mut all = Vec::with_capacity(bytes.len() / ENTRY_LEN);
    while bytes.len() >= ENTRY_LEN {
        let mut topic = [0; 16];
        bytes.copy_to_slice(&mut topic);
        let topic = TopicId::from_bytes(topic);
        let partition = PartitionId::new(bytes.get_u32());
        all.push((TopicPartition { topic, partition }, Offset::new(bytes.get_u64())));
    }
    all
}
