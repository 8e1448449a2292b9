//! Time as an argument: what the caller's clocks say.

pub use quipu_record::Tick;
use quipu_record::Timestamp;

/// What the two clocks say as a step begins. Deadlines go by `mono`; only what is stored goes by `wall`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// The wall clock: log append time, timestamp bounds, retention, producer expiry.
    pub wall: Timestamp,
    /// The monotonic clock: deadlines.
    pub mono: Tick,
}
