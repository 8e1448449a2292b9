//! Replicas of stopped nodes, from what `quipu log dump --headers -o json` says of them.

use quipu_checker::{Final, FinalBatch, Key, Op};
use quipu_client::{BrokerId, LeaderEpoch, Offset, PartitionId, TopicDescription, TopicId};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

/// Why a dump tells nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DumpError {
    /// A line is no batch.
    #[error("line {line} of the dump: {source}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A batch is in no partition's directory, or its checksum is no number.
    #[error("line {line} of the dump: {problem}")]
    Batch {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// A line of the dump, as far as it matters.
#[derive(Deserialize)]
struct Line {
    file: String,
    base_offset: u64,
    last_offset: u64,
    leader_epoch: Option<u32>,
    crc: String,
}

/// A partition's directory: `TOPIC-ID/PARTITION`.
type Directory = (String, u32);

/// What one replica holds of these topics, as the history tells it: of every partition that the topics' descriptions
/// assign to it, so that one that is not there is told as empty. `text`: what
/// `quipu log dump --headers -o json DATA-DIR/logs` printed for the stopped node. `ends`: where partitions end, as the
/// last readers were told ([`crate::Polled::ends`]).
///
/// # Errors
/// The text is no such dump.
pub fn replica_ops(
    text: &str,
    replica: BrokerId,
    topics: &[TopicDescription],
    ends: &BTreeMap<Key, Offset>,
) -> Result<Vec<Op>, DumpError> {
    let mut found = batches_of(text)?;
    let mut ops = Vec::new();
    for topic in topics {
        for partition in &topic.partitions {
            if !partition.replicas.contains(&replica) {
                continue;
            }
            let key = Key::new(&format!("{}/{}", topic.name, partition.partition));
            let batches = found.remove(&directory(topic.id, partition.partition));
            ops.push(Op::Final(final_of(
                replica,
                key,
                batches.unwrap_or_default(),
                ends,
            )));
        }
    }
    Ok(ops)
}

fn directory(topic: TopicId, partition: PartitionId) -> Directory {
    (topic.to_string(), partition.get())
}

fn final_of(replica: BrokerId, key: Key, batches: Vec<FinalBatch>, ends: &BTreeMap<Key, Offset>) -> Final {
    let log_start = batches.first().map_or(Offset::ZERO, |batch| batch.base);
    Final {
        high_watermark: ends.get(&key).copied(),
        leader_epoch: batches.last().map(|batch| batch.leader_epoch),
        batches,
        ..Final::new(replica, key, log_start, Vec::new())
    }
}

/// All batches, by the directory that they are in, in the order of the dump.
fn batches_of(text: &str) -> Result<BTreeMap<Directory, Vec<FinalBatch>>, DumpError> {
    let mut found: BTreeMap<Directory, Vec<FinalBatch>> = BTreeMap::new();
    for (line, text) in (1..)
        .zip(text.lines())
        .filter(|(_, text)| !text.trim().is_empty())
    {
        let batch: Line = serde_json::from_str(text).map_err(|source| DumpError::Line { line, source })?;
        let wrong = |problem: String| DumpError::Batch { line, problem };
        let directory = directory_of(&batch.file)
            .ok_or_else(|| wrong(format!("{:?} is in no partition's directory", batch.file)))?;
        let crc = u32::from_str_radix(&batch.crc, 16)
            .map_err(|_| wrong(format!("the checksum {:?} is no number", batch.crc)))?;
        found.entry(directory).or_default().push(FinalBatch {
            base: Offset::new(batch.base_offset),
            last: Offset::new(batch.last_offset),
            leader_epoch: LeaderEpoch::new(batch.leader_epoch.unwrap_or_default()),
            crc,
        });
    }
    for batches in found.values_mut() {
        batches.sort_by_key(|batch| batch.base);
    }
    Ok(found)
}

fn directory_of(file: &str) -> Option<Directory> {
    let partition = Path::new(file).parent()?;
    let topic = partition.parent()?.file_name()?.to_str()?;
    let partition = partition.file_name()?.to_str()?.parse().ok()?;
    Some((topic.to_owned(), partition))
}

#[cfg(test)]
mod tests;
