//! What of a topic's configuration concerns one log.

use thiserror::Error;

/// A log's limits, under Kafka's names. `None` is "no limit" (Kafka's -1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`: the active segment is rolled before it would grow past this.
    pub segment_bytes: u32,
    /// `segment.ms`: it is rolled once this old, at the next append.
    pub segment_ms: u64,
    /// `retention.ms`: a segment whose latest record is older is removed.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`: oldest segments are removed while the rest still has this much.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy` has `compact`: only the latest record of a key is kept.
    pub compaction: Option<crate::CompactionConfig>,
    /// `index.interval.bytes`: how far apart entries of the index stand.
    pub index_interval_bytes: u32,
    /// Appends of at least so many bytes go past the page cache while nobody reads the log's files. Only for logs
    /// whose appends are answered once they are flushed: it is the process that has them until they are written, and not
    /// the page cache, which outlives it.
    pub direct_bytes: Option<u64>,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            retention_ms: Some(7 * 24 * 3600 * 1000),
            retention_bytes: None,
            compaction: None,
            index_interval_bytes: 4096,
            direct_bytes: None,
        }
    }
}

impl LogConfig {
    /// Checks what a log cannot work with.
    ///
    /// # Errors
    /// [`LogConfigError`] names the key.
    pub const fn check(&self) -> Result<(), LogConfigError> {
        if self.segment_bytes == 0 || self.segment_bytes > i32::MAX.cast_unsigned() {
            return Err(LogConfigError::SegmentBytes(self.segment_bytes));
        }
        if self.segment_ms == 0 {
            return Err(LogConfigError::SegmentMs);
        }
        Ok(())
    }
}

/// A value that a log cannot work with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LogConfigError {
    /// Positions in a segment are 32 bits.
    #[error("segment.bytes is {0}: it must be 1 to 2147483647")]
    SegmentBytes(u32),
    /// No time at all.
    #[error("segment.ms is 0: it must be at least 1")]
    SegmentMs,
}

/// `flush.method`: how a round makes files durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FlushMethod {
    /// A few files by parallel `fdatasync`, many by one `syncfs`.
    #[default]
    Auto,
    /// Always `fdatasync`.
    Fdatasync,
    /// Always `syncfs`; right if the data directory has a file system of its own.
    Syncfs,
}
