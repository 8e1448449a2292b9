//! The one way to wait on partitions: until a high watermark has passed an offset, or something else about the
//! partition changed (leadership, deletion, shutdown).
//!
//! A [`Waiter`] belongs to one request or stream and may wait on any number of partitions at once, each under a key
//! of its own. [`Waiters`] is the partition's side. The publisher pays one atomic load while nobody waits below
//! what it published.
//!
//! Why no wake-up is lost: the waiter enters the list, *then* looks at the view again; the publisher stores the
//! view, *then* looks at the list. Both with sequentially consistent fences between, so one of them sees the other.

use quipu_record::Offset;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Nobody waits: no high watermark lies above it.
const NOBODY: u64 = u64::MAX;

/// Who waits on one partition.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// The least offset that somebody wants passed.
    lowest: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    above: Offset,
    key: u32,
    shared: Arc<Shared>,
}

/// What a waiter and the partitions it waits on share.
#[derive(Debug, Default)]
struct Shared {
    fired: Mutex<Vec<u32>>,
    notify: Notify,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            lowest: AtomicU64::new(NOBODY),
            entries: Mutex::default(),
        }
    }
}

impl Waiters {
    /// Wakes those whose offset `high_watermark` has passed. Call after publishing it.
    pub(crate) fn advance(&self, high_watermark: Offset) {
        fence(Ordering::SeqCst);
        if self.lowest.load(Ordering::SeqCst) < high_watermark.get() {
            self.fire(|entry| entry.above < high_watermark);
        }
    }

    /// Wakes everybody: leadership changed, or the partition went away. Call after publishing that.
    pub(crate) fn wake_all(&self) {
        fence(Ordering::SeqCst);
        if self.lowest.load(Ordering::SeqCst) != NOBODY {
            self.fire(|_| true);
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn fire(&self, due: impl Fn(&Entry) -> bool) {
        let mut entries = self.lock();
        let mut at = 0;
        while at < entries.len() {
            if due(&entries[at]) {
                let entry = entries.swap_remove(at);
                entry.shared.fire(entry.key);
            } else {
                at += 1;
            }
        }
        self.renew_lowest(&entries);
    }

    fn enter(&self, entry: Entry) {
        let mut entries = self.lock();
        entries.push(entry);
        self.renew_lowest(&entries);
        drop(entries);
        fence(Ordering::SeqCst);
    }

    /// Takes out one entry; false if it had fired already.
    fn leave(&self, shared: &Arc<Shared>, key: u32) -> bool {
        let mut entries = self.lock();
        let found = entries
            .iter()
            .position(|entry| entry.key == key && Arc::ptr_eq(&entry.shared, shared));
        if let Some(at) = found {
            entries.swap_remove(at);
            self.renew_lowest(&entries);
        }
        found.is_some()
    }

    fn renew_lowest(&self, entries: &[Entry]) {
        let lowest = entries.iter().map(|entry| entry.above.get()).min();
        self.lowest.store(lowest.unwrap_or(NOBODY), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn fire(&self, key: u32) {
        self.fired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(key);
        self.notify.notify_one();
    }
}

/// One request's or stream's waiting. Dropping it withdraws it from every partition.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    /// By key: where it is entered, if it is.
    entered: Vec<Option<Arc<Waiters>>>,
}

impl Waiter {
    /// Waits under `key` until the high watermark of the partition behind `waiters` lies above `above`, or anything
    /// else is announced there. `already` looks at the view again, after the entry: whether what is waited for has
    /// come meanwhile. Keys are dense, from 0. A key waits on one thing at a time: the former entry is withdrawn.
    pub(crate) fn arm(
        &mut self,
        key: u32,
        waiters: &Arc<Waiters>,
        above: Offset,
        already: impl FnOnce() -> bool,
    ) {
        self.disarm(key);
        waiters.enter(Entry {
            above,
            key,
            shared: Arc::clone(&self.shared),
        });
        *self.slot(key) = Some(Arc::clone(waiters));
        if already() && waiters.leave(&self.shared, key) {
            *self.slot(key) = None;
            self.shared.fire(key);
        }
    }

    /// Stops waiting under `key`. A wake-up on its way may still arrive: wake-ups are hints.
    pub(crate) fn disarm(&mut self, key: u32) {
        if let Some(waiters) = self.slot(key).take() {
            waiters.leave(&self.shared, key);
        }
    }

    /// Waits until something fired; returns the keys, each no longer armed. Cancel-safe.
    pub(crate) async fn fired(&mut self) -> Vec<u32> {
        loop {
            let keys = self.take_fired();
            if !keys.is_empty() {
                return keys;
            }
            self.shared.notify.notified().await;
        }
    }

    fn take_fired(&mut self) -> Vec<u32> {
        let keys = std::mem::take(&mut *self.shared.fired.lock().unwrap_or_else(PoisonError::into_inner));
        for key in &keys {
            *self.slot(*key) = None;
        }
        keys
    }

    fn slot(&mut self, key: u32) -> &mut Option<Arc<Waiters>> {
        let at = key as usize;
        if at >= self.entered.len() {
            self.entered.resize(at + 1, None);
        }
        &mut self.entered[at]
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        for key in 0..self.entered.len() {
            if let Some(waiters) = self.entered[key].take() {
                waiters.leave(&self.shared, u32::try_from(key).unwrap_or(u32::MAX));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn offset(n: u64) -> Offset {
        Offset::new(n)
    }

    fn poll(waiter: &mut Waiter) -> Option<Vec<u32>> {
        match pin!(waiter.fired()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(keys) => Some(keys),
            Poll::Pending => None,
        }
    }

    #[test]
    fn fires_when_the_high_watermark_has_passed_and_not_before() {
        let waiters = Arc::new(Waiters::default());
        let mut waiter = Waiter::default();
        waiter.arm(0, &waiters, offset(10), || false);
        waiters.advance(offset(10));
        assert_eq!(poll(&mut waiter), None, "10 is not above 10");
        waiters.advance(offset(11));
        assert_eq!(poll(&mut waiter), Some(vec![0]));
        assert_eq!(waiters.len(), 0, "an entry fires once");
        waiters.advance(offset(12));
        assert_eq!(poll(&mut waiter), None);
    }

    #[test]
    fn what_came_between_the_look_and_the_entry_is_not_missed() {
        let waiters = Arc::new(Waiters::default());
        let mut waiter = Waiter::default();
        waiter.arm(3, &waiters, offset(10), || true);
        assert_eq!(poll(&mut waiter), Some(vec![3]));
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn one_waiter_waits_on_many_partitions() {
        let partitions: Vec<_> = (0..4).map(|_| Arc::new(Waiters::default())).collect();
        let mut waiter = Waiter::default();
        for (key, waiters) in (0..).zip(&partitions) {
            waiter.arm(key, waiters, offset(0), || false);
        }
        partitions[2].advance(offset(1));
        partitions[1].wake_all();
        let mut keys = poll(&mut waiter).expect("two fired");
        keys.sort_unstable();
        assert_eq!(keys, [1, 2]);
        drop(waiter);
        assert!(partitions.iter().all(|waiters| waiters.len() == 0));
    }

    #[test]
    fn arming_again_replaces_and_disarming_withdraws() {
        let waiters = Arc::new(Waiters::default());
        let mut waiter = Waiter::default();
        waiter.arm(0, &waiters, offset(5), || false);
        waiter.arm(0, &waiters, offset(50), || false);
        assert_eq!(waiters.len(), 1);
        waiters.advance(offset(20));
        assert_eq!(poll(&mut waiter), None);
        waiter.disarm(0);
        assert_eq!(waiters.len(), 0);
        waiters.advance(offset(100));
        assert_eq!(poll(&mut waiter), None);
    }

    #[test]
    fn a_publisher_and_waiters_on_other_threads_never_miss_each_other() {
        const LAST: u64 = 2_000;
        let waiters = Arc::new(Waiters::default());
        let published = Arc::new(AtomicU64::new(0));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (waiters, published) = (Arc::clone(&waiters), Arc::clone(&published));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .expect("a runtime");
                    runtime.block_on(async {
                        let mut waiter = Waiter::default();
                        loop {
                            let seen = published.load(Ordering::SeqCst);
                            if seen == LAST {
                                return;
                            }
                            waiter.arm(0, &waiters, offset(seen), || {
                                published.load(Ordering::SeqCst) > seen
                            });
                            waiter.fired().await;
                        }
                    });
                })
            })
            .collect();
        for n in 1..=LAST {
            published.store(n, Ordering::SeqCst);
            waiters.advance(offset(n));
        }
        for reader in readers {
            reader.join().expect("a reader that missed a wake-up hangs");
        }
        assert_eq!(waiters.len(), 0);
    }
}
