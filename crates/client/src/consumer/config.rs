//! How a consumer reads.

use quipu_proto::v1;
use quipu_record::{Offset, Timestamp};

/// Where to begin in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// At the log start.
    #[default]
    Earliest,
    /// At the high watermark: only what comes from now on.
    Latest,
    /// At this offset.
    Offset(Offset),
    /// At the first record not earlier than this; at the high watermark if there is none.
    Timestamp(Timestamp),
}

/// Where to go on in a partition when the place that was to be read is out of range: deleted by retention, or lost with
/// the only replica that had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reset {
    /// Nowhere: the application is told, and decides.
    #[default]
    None,
    /// At the log start: what is left is read, some of it perhaps again.
    Earliest,
    /// At the high watermark: what is in between is left out.
    Latest,
}

impl Reset {
    pub(crate) const fn start(self) -> Option<Start> {
        match self {
            Self::None => None,
            Self::Earliest => Some(Start::Earliest),
            Self::Latest => Some(Start::Latest),
        }
    }
}

/// How a consumer reads.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// What to do when an offset is out of range.
    pub reset: Reset,
    /// Bytes at most that a broker sends ahead of what [`Consumer::next`](crate::Consumer::next) has given.
    pub window_bytes: usize,
    /// Bytes of one message at most; a larger batch comes whole.
    pub frame_bytes: usize,
    /// Bytes at most that one batch may decompress to.
    pub decoded_bytes_max: usize,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            reset: Reset::None,
            window_bytes: 16 * 1024 * 1024,
            frame_bytes: 1024 * 1024,
            decoded_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl From<Start> for v1::StartPosition {
    fn from(start: Start) -> Self {
        use v1::start_position::Position;
        Self {
            position: Some(match start {
                Start::Earliest => Position::Earliest(v1::Earliest {}),
                Start::Latest => Position::Latest(v1::Latest {}),
                Start::Offset(offset) => Position::Offset(offset.get()),
                Start::Timestamp(time) => Position::TimestampMs(time.get()),
            }),
        }
    }
}
