//! How much one stream may have unanswered: past it the broker stops reading, and the client's sends wait. Everything
//! that is read counts until its answer has gone to the network, refusals and signs of life too: a client that reads no
//! answers makes none pile up.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// What a request takes up beside its batch: its answer.
const OVERHEAD: usize = 512;

/// Bytes of requests that were read off a stream and whose answers have not gone out.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    unanswered: AtomicUsize,
    room: Notify,
}

impl Window {
    /// An open window of `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            unanswered: AtomicUsize::new(0),
            room: Notify::new(),
        }
    }

    /// The limit.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A request with a batch of `bytes` was read; returns what it takes up until [`Window::remove`].
    pub(super) fn add(&self, bytes: usize) -> usize {
        let held = bytes.saturating_add(OVERHEAD);
        self.unanswered.fetch_add(held, Ordering::Relaxed);
        held
    }

    /// Its answer has gone out.
    pub(super) fn remove(&self, bytes: usize) {
        let before = self.unanswered.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.room.notify_one();
        }
    }

    /// Waits until another batch may be read. One reader at a time. Cancel safe.
    pub(super) async fn room(&self) {
        while self.unanswered.load(Ordering::Relaxed) >= self.limit {
            self.room.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn open(window: &Window) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(window.room()).poll(&mut context).is_ready()
    }

    #[test]
    fn shuts_at_its_limit_and_opens_below_it() {
        let window = Window::new(OVERHEAD + 100);
        assert!(open(&window));
        let first = window.add(99);
        assert!(open(&window), "the last request may pass the limit");
        let second = window.add(0);
        assert!(!open(&window));
        window.remove(first);
        assert!(open(&window));
        assert_eq!(second, OVERHEAD, "a request without a batch counts as well");
        window.remove(second);
        assert_eq!(window.unanswered.load(Ordering::Relaxed), 0);
    }
}
