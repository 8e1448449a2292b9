//! The words that the consumer's core speaks.

use crate::backoff::Backoff;
use crate::consumer::config::Start;
use crate::moment::Moment;
use crate::routing::Route;
use quipu_record::{BrokerId, Offset, PartitionId, TopicId};
use std::sync::Arc;
use std::time::Duration;

/// Partitions whose streams broke at about the same time are opened together: pauses end on multiples of this.
const GRID: Duration = Duration::from_millis(50);

/// A stream; a later one has a greater number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// A partition by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionId,
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::consumer) enum Effect {
    /// Open a stream on these partitions, each from its start.
    Open {
        stream: StreamId,
        broker: BrokerId,
        partitions: Vec<(Key, TopicId, Start)>,
    },
    /// End a stream; nothing of it counts any more.
    Close {
        stream: StreamId,
    },
    Seek {
        stream: StreamId,
        key: Key,
        to: Start,
    },
    Pause {
        stream: StreamId,
        key: Key,
        paused: bool,
    },
    Credit {
        stream: StreamId,
        bytes: u64,
    },
    /// Ask where partitions are led; then [`Core::routed`] and [`Core::refreshed`].
    Refresh,
}

/// What is known of one partition.
#[derive(Debug)]
pub(in crate::consumer) struct Partition {
    pub(in crate::consumer) topic_id: TopicId,
    /// Where to read on. A start other than an offset until the broker has said where that is.
    pub(in crate::consumer) place: Start,
    pub(in crate::consumer) high_watermark: Option<Offset>,
    pub(in crate::consumer) log_start: Option<Offset>,
    pub(in crate::consumer) paused: bool,
    /// It failed for good; reading goes on after a seek or a resume.
    pub(super) failed: bool,
    pub(super) route: Route,
    pub(super) stream: Option<StreamId>,
    /// Seeks whose effect has not come yet: until then what comes is from before.
    pub(super) seeks: u32,
    pub(super) backoff: Backoff,
    pub(super) not_before: Moment,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) broker: BrokerId,
    /// Bytes that came and were given or dropped since credit was last sent.
    pub(super) owed: u64,
}

impl Partition {
    pub(super) fn wanted(&self) -> bool {
        !self.paused && !self.failed
    }

    pub(super) fn unread(&self) -> bool {
        self.wanted() && self.stream.is_none()
    }
}

pub(super) fn on_grid(at: Moment) -> Moment {
    let (at, step) = (at.since_start().as_nanos(), GRID.as_nanos());
    let steps = u32::try_from(at.div_ceil(step)).unwrap_or(u32::MAX);
    Moment::new(GRID.saturating_mul(steps))
}
