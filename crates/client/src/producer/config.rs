//! How a producer batches, waits and repeats.

use quipu_record::Codec;
use std::time::Duration;

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

/// How a producer batches, waits and repeats.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// When a batch counts as delivered. Other than [`Acks::All`] needs `idempotent = false`.
    pub acks: Acks,
    /// Whether repetitions are recognised: retries then neither double nor reorder anything.
    pub idempotent: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// A batch is sent when it has this many bytes before compression ...
    pub batch_bytes: usize,
    /// ... or when its first record is this old.
    pub linger: Duration,
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
            buffer_bytes: 64 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
        }
    }
}
