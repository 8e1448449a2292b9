//! The data path below the services: partition threads, flusher, tail ring, read pool, and the views that readers see.
//!
//! ```text
//!  service ──Produce──▶ inbox ─▶ worker (a thread; owns drivers) ──FlushJob──▶ flusher (one thread)
//!     ▲                            │ publishes           ▲                        │
//!     │ Answered                   ▼                     └────────Flushed─────────┘
//!     └──────────────────────── replica: view, tail, waiters, reader ◀── whoever reads
//! ```
//!
//! Invariants
//! - A driver, its log and its tail are written by one thread, the partition's owner.
//! - A view is published before an answer that rests on it is sent.
//! - Whatever a client makes wait here is counted in bytes: [`budget`] over all, [`inbox`] by thread.

pub(crate) mod budget;
pub(crate) mod cleaner;
pub(crate) mod clock;
pub(crate) mod exchange;
pub(crate) mod flusher;
pub(crate) mod inbox;
pub(crate) mod read_pool;
pub(crate) mod replica;
pub(crate) mod reply;
mod ring;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod test_batches;
pub(crate) mod thread;
pub(crate) mod topics;
pub(crate) mod trash;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod worker;
