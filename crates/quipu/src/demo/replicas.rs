//! What each broker's disk holds, read from the segment files once the brokers have stopped.

use super::proof::{Copied, Replica};
use crate::broker_process::BrokerSpec;
use crate::output::Failure;
use quipu_client::{PartitionId, TopicId};
use quipu_storage::{RealDisk, dump_segment, segment_files};
use std::path::Path;

/// All partitions of a topic as all brokers hold them. A broker without files of a partition holds no replica of it.
pub(super) fn read(specs: &[BrokerSpec], topic: TopicId, partitions: u32) -> Result<Vec<Replica>, Failure> {
    let mut replicas = Vec::new();
    for spec in specs {
        for partition in (0..partitions).map(PartitionId::new) {
            let directory = spec
                .data_dir
                .join("logs")
                .join(topic.to_string())
                .join(partition.to_string());
            if directory.is_dir() {
                let batches = read_one(&directory).map_err(|error| {
                    Failure::new(format_args!(
                        "broker {}, partition {partition}: {error}",
                        spec.broker_id
                    ))
                })?;
                replicas.push(Replica {
                    broker: spec.broker_id,
                    partition,
                    batches,
                });
            }
        }
    }
    Ok(replicas)
}

fn read_one(directory: &Path) -> Result<Vec<Copied>, String> {
    let disk = RealDisk::existing(directory).map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    let segments = segment_files(&disk, directory).map_err(|error| error.to_string())?;
    for segment in segments {
        let each = |_, header: &quipu_record::BatchHeader, _: &quipu_record::StoredBatch| {
            batches.push(Copied {
                first: header.base_offset(),
                next: header.next_offset(),
                epoch: header.leader_epoch(),
                crc: header.crc(),
            });
        };
        dump_segment(&disk, &segment, each).map_err(|error| error.to_string())?;
    }
    Ok(batches)
}
