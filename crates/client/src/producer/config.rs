//! How a producer batches, waits and repeats.

use crate::config::ConfigError;
use quipu_proto::v1;
use quipu_record::Codec;
use std::time::Duration;

/// The least that a batch may be limited to.
const BATCH_BYTES_MIN: usize = 1024;
/// The largest batch that the format has.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// When a batch counts as delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acks {
    /// When every in-sync replica holds it as durably as the topic says.
    #[default]
    All,
    /// When the leader holds it; it may be lost with the leader.
    Leader,
    /// When the leader took it in; it may be lost.
    None,
}

impl From<Acks> for v1::Acks {
    fn from(acks: Acks) -> Self {
        match acks {
            Acks::All => Self::All,
            Acks::Leader => Self::Leader,
            Acks::None => Self::None,
        }
    }
}

/// How a producer batches, waits and repeats.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// When a batch counts as delivered. Other than [`Acks::All`] needs `idempotent = false`.
    pub acks: Acks,
    /// Whether repetitions are recognised: retries then neither double nor reorder anything. Without it, one batch of a
    /// partition is in flight at a time, and a batch whose answer is lost is not repeated: its outcome is unknown.
    pub idempotent: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// A batch is sent when it has this many bytes before compression ...
    pub batch_bytes: usize,
    /// ... or when its first record is this old.
    pub linger: Duration,
    /// While nothing can be sent to a partition (five batches are in flight, or it has no leader), its batch grows up to
    /// this size, or to the topic's `max.message.bytes` if that is less. Not less than `batch_bytes`, nor more than
    /// `buffer_bytes`, whatever it says.
    pub batch_bytes_max: usize,
    /// Bytes at most that wait or are in flight; sending waits beyond.
    pub buffer_bytes: usize,
    /// A record that is not acknowledged by this age is given up.
    pub delivery_timeout: Duration,
    /// How long a broker may take for one batch before it is asked again.
    pub request_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            codec: Codec::None,
            batch_bytes: 256 * 1024,
            linger: Duration::from_millis(5),
            batch_bytes_max: 1024 * 1024,
            // What fits a processor's cache goes out quicker than what does not.
            buffer_bytes: 16 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl ProducerConfig {
    pub(super) fn checked(mut self) -> Result<Self, ConfigError> {
        let wrong = |field, problem: String| Err(ConfigError { field, problem });
        if self.idempotent && self.acks != Acks::All {
            let problem = "an idempotent producer needs acks = All; set idempotent = false for fewer".into();
            return wrong("acks", problem);
        }
        if !(BATCH_BYTES_MIN..=BATCH_BYTES_MAX).contains(&self.batch_bytes) {
            let problem = format!(
                "{} is not from {BATCH_BYTES_MIN} to {BATCH_BYTES_MAX}",
                self.batch_bytes
            );
            return wrong("batch_bytes", problem);
        }
        if self.buffer_bytes < self.batch_bytes || self.buffer_bytes > tokio::sync::Semaphore::MAX_PERMITS {
            let problem = format!(
                "{} does not hold a single batch of batch_bytes, or is absurd",
                self.buffer_bytes
            );
            return wrong("buffer_bytes", problem);
        }
        if self.delivery_timeout.is_zero() || self.request_timeout.is_zero() {
            return wrong("delivery_timeout, request_timeout", "must not be zero".into());
        }
        self.batch_bytes_max = self
            .batch_bytes_max
            .clamp(self.batch_bytes, self.buffer_bytes.min(BATCH_BYTES_MAX));
        Ok(self)
    }
}
