//! The hinge: one replica's rules paired with its log. Production drives it from threads and sockets, the simulation
//! from a seed.

use crate::clock::Now;
use crate::config::PartitionConfig;
use crate::effects::Effects;
use crate::input::Input;
use crate::view::View;
use quipu_record::{BrokerId, Offset, TopicPartition};
use std::marker::PhantomData;
use std::sync::Arc;

/// What a driver is opened with, besides its log.
#[derive(Clone, Debug)]
pub struct DriverOptions {
    /// The broker that this replica is on.
    pub me: BrokerId,
    /// The topic's settings.
    pub config: Arc<PartitionConfig>,
    /// The high watermark that an earlier life wrote down. Only a hint: a stale one, or zero, is safe.
    pub high_watermark_hint: Offset,
}

/// One replica of one partition.
#[derive(Debug)]
pub struct Driver<D> {
    log: PhantomData<D>,
}

impl<D> Driver<D> {
    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        todo!("with storage's API")
    }

    /// The positions now.
    #[must_use]
    pub fn view(&self) -> View {
        todo!("with storage's API")
    }

    /// One event. Never blocks on anything but the log's own write.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let _ = (now, input, effects);
        todo!("with storage's API")
    }
}
