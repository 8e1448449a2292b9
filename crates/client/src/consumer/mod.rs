//! Reads records: by partitions, over one stream per leader, under credits.

mod batch;
mod config;
mod error;

pub use batch::{FetchedBatch, FetchedIter};
pub use config::{ConsumerConfig, Start};
pub use error::ConsumeError;

use crate::error::CallError;
use quipu_record::{Offset, PartitionId};
use std::sync::Arc;

/// Where a consumer stands in a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset that will be given; `None` until the broker has said where the start is.
    pub offset: Option<Offset>,
    /// Everything below is readable, as last heard.
    pub high_watermark: Option<Offset>,
    /// Everything below was deleted, as last heard.
    pub log_start: Option<Offset>,
    /// It was paused.
    pub paused: bool,
}

/// Reads records of partitions.
#[derive(Debug)]
pub struct Consumer {
    config: ConsumerConfig,
}

impl Consumer {
    /// Adds all partitions of a topic, each from the same start.
    ///
    /// # Errors
    /// There is no such topic, or its routes could not be had in time.
    #[expect(clippy::unused_async, reason = "the next commit")]
    pub async fn add_topic(&mut self, topic: &str, start: Start) -> Result<(), CallError> {
        let _ = (topic, start, &self.config);
        todo!("the next commit")
    }

    /// Adds one partition, or moves it if it is there.
    ///
    /// # Errors
    /// There is no such topic or partition, or its routes could not be had in time.
    #[expect(clippy::unused_async, reason = "the next commit")]
    pub async fn add_partition(
        &mut self,
        topic: &str,
        partition: PartitionId,
        start: Start,
    ) -> Result<(), CallError> {
        let _ = (topic, partition, start);
        todo!("the next commit")
    }

    /// Reads one partition no more. Nothing if it is not read.
    pub fn remove_partition(&mut self, topic: &str, partition: PartitionId) {
        let _ = (topic, partition);
        todo!("the next commit")
    }

    /// The next batch of records of one partition; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ConsumeError`] names the partition, which is then paused; the others go on with the next call.
    #[expect(clippy::unused_async, reason = "the next commit")]
    pub async fn next(&mut self) -> Result<FetchedBatch, ConsumeError> {
        todo!("the next commit")
    }

    /// Moves to another place; what was on its way from the old one is dropped. Also ends the pause after an error.
    ///
    /// # Errors
    /// The partition is not read.
    pub fn seek(&mut self, topic: &str, partition: PartitionId, to: Start) -> Result<(), ConsumeError> {
        let _ = (topic, partition, to);
        todo!("the next commit")
    }

    /// Stops giving records of a partition, and keeps its place.
    ///
    /// # Errors
    /// The partition is not read.
    pub fn pause(&mut self, topic: &str, partition: PartitionId) -> Result<(), ConsumeError> {
        let _ = (topic, partition);
        todo!("the next commit")
    }

    /// Goes on after a pause.
    ///
    /// # Errors
    /// The partition is not read.
    pub fn resume(&mut self, topic: &str, partition: PartitionId) -> Result<(), ConsumeError> {
        let _ = (topic, partition);
        todo!("the next commit")
    }

    /// Where it stands, by topic and partition.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        todo!("the next commit")
    }
}
