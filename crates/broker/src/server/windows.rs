//! What connections may have unread in the broker's memory, together: HTTP/2 windows out of a pool.
//!
//! A connection gets a share of what is left as it begins, and gives it back as it ends: the first ones get wide windows,
//! for throughput, and a flood of connections gets narrow ones. A window is never less than HTTP/2's own default, so the
//! whole is the pool and that for each further connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Enough for any one client.
const WINDOW_MAX: u64 = 16 << 20;
/// HTTP/2's default, below which no connection starts.
const WINDOW_MIN: u64 = 65_535;
/// A new connection takes this part of what is left.
const SHARE: u64 = 4;

/// The pool.
#[derive(Debug)]
pub(super) struct WindowPool {
    left: Arc<AtomicU64>,
}

/// One connection's window; goes back into the pool with it.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u64,
    taken: u64,
    left: Arc<AtomicU64>,
}

impl WindowPool {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(bytes)),
        }
    }

    /// A window for a new connection. Called by one task; others only give back.
    pub(super) fn take(&self) -> Window {
        let left = self.left.load(Ordering::Relaxed);
        let taken = (left / SHARE).min(WINDOW_MAX);
        self.left.fetch_sub(taken, Ordering::Relaxed);
        Window {
            bytes: taken.max(WINDOW_MIN),
            taken,
            left: self.left.clone(),
        }
    }
}

impl Window {
    pub(super) fn bytes(&self) -> u32 {
        u32::try_from(self.bytes).unwrap_or(u32::MAX)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gets_much_many_get_little_and_all_comes_back() {
        let pool = WindowPool::new(64 << 20);
        let mut windows: Vec<_> = (0..1000).map(|_| pool.take()).collect();
        assert_eq!(windows[0].bytes(), 16 << 20);
        assert!(windows.windows(2).all(|pair| pair[1].bytes() <= pair[0].bytes()));
        assert_eq!(windows[999].bytes(), 65_535);
        let all: u64 = windows.iter().map(|window| u64::from(window.bytes())).sum();
        assert!(all <= (64 << 20) + 1000 * WINDOW_MIN, "{all}");

        windows.clear();
        assert_eq!(pool.take().bytes(), 16 << 20);
    }
}
