//! Who wants to know of every change of a partition: the sessions of the brokers that follow it.
//!
//! Unlike a [`super::wait::Waiter`], a watch stays: a session of thousands of idle partitions arms nothing when it goes
//! to sleep, and is told only of those that changed.
//!
//! Why no change is lost: the publisher stores the view, *then* looks at the list; a session enters the list, *then*
//! looks at the view. A key stands in the session's list of news at most once, and is free to enter it again before
//! the session looks.

use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch};
use quipu_replication::Tick;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The sessions that watch one partition.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    list: Mutex<Vec<Arc<Watch>>>,
}

/// One session's interest in one partition.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The session's own name for the partition.
    key: u32,
    queued: AtomicBool,
    /// The leader epoch that the follower last named.
    leader_epoch: AtomicU32,
    news: Arc<News>,
}

/// What happened to the partitions of one session, and when its follower was last heard.
#[derive(Debug)]
pub(crate) struct News {
    broker: BrokerId,
    broker_epoch: BrokerEpoch,
    heard: AtomicU64,
    /// The last request heard was begun no earlier; zero: nothing is known.
    begun: AtomicU64,
    /// Wakes who waits for the next request.
    next_heard: Notify,
    /// What waits in the session is to be answered now.
    released: AtomicBool,
    keys: Mutex<Vec<u32>>,
    notify: Notify,
}

/// A follower whose session lives: its last position stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    /// Who.
    pub(crate) broker: BrokerId,
    /// In which of its lifetimes.
    pub(crate) broker_epoch: BrokerEpoch,
    /// The leader epoch that it follows in this partition.
    pub(crate) leader_epoch: LeaderEpoch,
    /// When.
    pub(crate) at: Tick,
}

impl Watches {
    /// Tells every session. Call after publishing.
    pub(crate) fn tell(&self) {
        for watch in self.lock().iter() {
            watch.tell();
        }
    }

    /// The followers that have begun a fetch since their sessions began, and a moment before which they did not begin the
    /// last one.
    pub(crate) fn begun(&self) -> Vec<Heard> {
        self.lock().iter().filter_map(|watch| watch.begun()).collect()
    }

    /// The sessions.
    pub(crate) fn sessions(&self) -> Vec<Arc<News>> {
        self.lock().iter().map(|watch| Arc::clone(&watch.news)).collect()
    }

    /// The followers that are heard of, and when they last were.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.lock().iter().map(|watch| watch.heard()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// A session of `news` begins to watch a partition, which it calls `key`.
    pub(crate) fn begin(
        watches: &Watches,
        news: &Arc<News>,
        key: u32,
        leader_epoch: LeaderEpoch,
    ) -> Arc<Self> {
        let watch = Arc::new(Self {
            key,
            queued: AtomicBool::new(false),
            leader_epoch: AtomicU32::new(leader_epoch.get()),
            news: Arc::clone(news),
        });
        watches.lock().push(Arc::clone(&watch));
        watch
    }

    /// It watches no more.
    pub(crate) fn end(self: &Arc<Self>, watches: &Watches) {
        watches.lock().retain(|watch| !Arc::ptr_eq(watch, self));
    }

    /// The follower names another leader epoch.
    pub(crate) fn set_leader_epoch(&self, epoch: LeaderEpoch) {
        self.leader_epoch.store(epoch.get(), Ordering::Relaxed);
    }

    /// Its news were taken: the next change is told again. Call before looking at the partition.
    pub(crate) fn taken(&self) {
        self.queued.store(false, Ordering::SeqCst);
    }

    fn tell(&self) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.news.push(self.key);
        }
    }

    /// The moment is read before the epoch, and written after it: an epoch never gets the moment of a later one.
    fn begun(&self) -> Option<Heard> {
        let at = self.news.begun.load(Ordering::Acquire);
        (at > 0).then(|| Heard {
            at: Tick::from_nanos(at),
            ..self.heard()
        })
    }

    fn heard(&self) -> Heard {
        Heard {
            broker: self.news.broker,
            broker_epoch: self.news.broker_epoch,
            leader_epoch: LeaderEpoch::new(self.leader_epoch.load(Ordering::Relaxed)),
            at: Tick::from_nanos(self.news.heard.load(Ordering::Relaxed)),
        }
    }
}

impl News {
    /// Of a session that a broker has just opened.
    pub(crate) fn new(broker: BrokerId, broker_epoch: BrokerEpoch, now: Tick) -> Arc<Self> {
        Arc::new(Self {
            broker,
            broker_epoch,
            heard: AtomicU64::new(now.nanos()),
            begun: AtomicU64::new(0),
            next_heard: Notify::new(),
            released: AtomicBool::new(false),
            keys: Mutex::default(),
            notify: Notify::new(),
        })
    }

    /// The follower was heard, by a request that it began at `begun` or later, as far as that is known.
    pub(crate) fn hear(&self, now: Tick, begun: Option<Tick>) {
        self.heard.store(now.nanos(), Ordering::Relaxed);
        if let Some(begun) = begun {
            self.begun.store(begun.nanos(), Ordering::Release);
        }
        self.next_heard.notify_waiters();
    }

    /// Completes at the next request. It counts from the making of this future on, once it was polled.
    pub(crate) fn next_heard(&self) -> Notified<'_> {
        self.next_heard.notified()
    }

    /// Has the request that waits in the session answered, so that the next one comes.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// Whether somebody wants the next request, since this was asked last.
    pub(crate) fn take_release(&self) -> bool {
        self.released.swap(false, Ordering::SeqCst)
    }

    /// Waits until there are some; returns the keys: none, if somebody wants the next request. One at a time may wait.
    /// Cancel safe.
    pub(crate) async fn next(&self) -> Vec<u32> {
        loop {
            let keys = std::mem::take(&mut *self.lock());
            if !keys.is_empty() || self.released.load(Ordering::SeqCst) {
                return keys;
            }
            self.notify.notified().await;
        }
    }

    /// What there is now.
    #[cfg(test)]
    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.lock())
    }

    fn push(&self, key: u32) {
        self.lock().push(key);
        self.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news() -> Arc<News> {
        News::new(BrokerId::new(2), BrokerEpoch::new(9), Tick::from_nanos(5))
    }

    #[tokio::test]
    async fn a_change_is_told_once_until_it_was_looked_at() {
        let (watches, news) = (Watches::default(), news());
        let watch = Watch::begin(&watches, &news, 7, LeaderEpoch::new(3));
        watches.tell();
        watches.tell();
        assert_eq!(news.next().await, [7]);
        watches.tell();
        assert!(news.take().is_empty(), "nobody has looked yet");
        watch.taken();
        watches.tell();
        assert_eq!(news.take(), [7]);
    }

    #[test]
    fn who_ended_is_told_nothing_and_is_not_heard_of() {
        let (watches, news) = (Watches::default(), news());
        let watch = Watch::begin(&watches, &news, 0, LeaderEpoch::new(3));
        let other = Watch::begin(&watches, &news, 1, LeaderEpoch::new(4));
        watch.end(&watches);
        watches.tell();
        assert_eq!(news.take(), [1]);
        news.hear(Tick::from_nanos(8), None);
        other.set_leader_epoch(LeaderEpoch::new(5));
        let heard = watches.heard();
        assert_eq!(heard.len(), 1);
        assert_eq!(
            (heard[0].leader_epoch, heard[0].at),
            (LeaderEpoch::new(5), Tick::from_nanos(8))
        );
        assert!(watches.begun().is_empty(), "it is not known when that was begun");
        news.hear(Tick::from_nanos(9), Some(Tick::from_nanos(7)));
        let begun = watches.begun();
        assert_eq!(begun[0].at, Tick::from_nanos(7));
    }

    #[tokio::test]
    async fn a_session_that_is_released_says_so_once() {
        let news = news();
        news.release();
        assert!(news.next().await.is_empty());
        assert!(news.take_release() && !news.take_release());
    }

    #[test]
    fn a_publisher_and_a_session_never_miss_each_other() {
        const LAST: u64 = 5_000;
        let (watches, news) = (Arc::new(Watches::default()), news());
        let watch = Watch::begin(&watches, &news, 0, LeaderEpoch::new(1));
        let published = Arc::new(AtomicU64::new(0));
        let session = std::thread::spawn({
            let published = Arc::clone(&published);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    while published.load(Ordering::SeqCst) < LAST {
                        news.next().await;
                        watch.taken();
                    }
                });
            }
        });
        for n in 1..=LAST {
            published.store(n, Ordering::SeqCst);
            watches.tell();
        }
        session.join().expect("a session that missed a change hangs");
    }
}
