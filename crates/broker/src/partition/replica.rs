//! One replica on this broker, as everybody but its own thread sees it.

use super::ring::{HasTail, Tail};
use super::thread::ThreadHandle;
use super::topics::TopicInfo;
use super::wait::{Waiter, Waiters};
use super::watch::Watches;
use arc_swap::ArcSwap;
use quipu_record::{Offset, TopicPartition};
use quipu_replication::{Leading, View};
use quipu_storage::{LogReader, RealDisk};
use std::sync::Arc;

/// What is shared of a replica: the view that its thread publishes, who waits for the next, and the ways to read. An
/// idle one has no buffers.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Which partition.
    pub(crate) at: TopicPartition,
    /// Its topic.
    pub(crate) topic: Arc<TopicInfo>,
    /// The thread that owns its driver.
    pub(crate) thread: Arc<ThreadHandle>,
    /// Its newest batches.
    pub(crate) tail: Tail,
    /// Reads its files.
    pub(crate) reader: LogReader<RealDisk>,
    /// The sessions of its followers.
    pub(crate) watches: Watches,
    view: ArcSwap<View>,
    waiters: Arc<Waiters>,
}

impl HasTail for Arc<Replica> {
    fn tail(&self) -> &Tail {
        &self.tail
    }
}

impl Replica {
    /// A replica that `thread` is about to adopt.
    pub(crate) fn new(
        at: TopicPartition,
        topic: Arc<TopicInfo>,
        thread: Arc<ThreadHandle>,
        reader: LogReader<RealDisk>,
        view: View,
    ) -> Self {
        Self {
            at,
            topic,
            thread,
            tail: Tail::default(),
            watches: Watches::default(),
            reader,
            view: ArcSwap::from_pointee(view),
            waiters: Arc::default(),
        }
    }

    /// The positions as last published.
    pub(crate) fn view(&self) -> View {
        **self.view.load()
    }

    /// Publishes new positions and wakes who waited for them. Only its own thread calls this.
    pub(crate) fn publish(&self, view: View) {
        let before = self.view.swap(Arc::new(view));
        if leadership(&before) == leadership(&view) {
            self.waiters.advance(view.high_watermark);
        } else {
            self.waiters.wake_all();
        }
        self.watches.tell();
    }

    /// Makes `waiter` wait under `key` for something that `seen` does not show: a high watermark above `above`, or
    /// another leadership.
    pub(crate) fn wait(&self, waiter: &mut Waiter, key: u32, above: Offset, seen: &View) {
        waiter.arm(key, &self.waiters, above, || {
            let now = self.view.load();
            now.high_watermark > above || leadership(&now) != leadership(seen)
        });
    }
}

fn leadership(view: &View) -> Option<Leading> {
    view.leading
}
