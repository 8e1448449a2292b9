//! How much one stream may have unanswered: past it the broker stops reading, and the client's sends wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Bytes of batches that were read off a stream and whose answers have not gone out.
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

    /// A batch was read.
    pub(super) fn add(&self, bytes: usize) {
        self.unanswered.fetch_add(bytes, Ordering::Relaxed);
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
        let window = Window::new(100);
        assert!(open(&window));
        window.add(99);
        assert!(open(&window), "the last batch may pass the limit");
        window.add(50);
        assert!(!open(&window));
        window.remove(49);
        assert!(!open(&window), "100 of 100");
        window.remove(1);
        assert!(open(&window));
    }
}
