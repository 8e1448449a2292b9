//! Bytes that received messages may hold together, and what each request holds of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Of gRPC: a flag and a length of 4 bytes before each message.
const PREFIX: usize = 5;

/// Bytes that messages may hold together: past `limit` no further message begins, past twice that none goes on.
#[derive(Debug)]
pub(in crate::server) struct ReceiveBudget {
    held: AtomicU64,
    limit: u64,
    /// Who waits for a message to begin; each once, however often it looks.
    waiting: Mutex<Vec<Arc<Slot>>>,
}

/// One that waits: its waker, while it is in the list.
type Slot = Mutex<Option<Waker>>;

impl ReceiveBudget {
    pub(in crate::server) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            limit,
            waiting: Mutex::default(),
        })
    }

    /// Ready when a further message may begin.
    fn poll_room(&self, slot: &Arc<Slot>, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        let listed = lock(slot).replace(cx.waker().clone()).is_some();
        if !listed {
            let mut waiting = lock(&self.waiting);
            // Those that went away while they waited.
            if waiting.len().is_power_of_two() {
                waiting.retain(|slot| Arc::strong_count(slot) > 1);
            }
            waiting.push(slot.clone());
        }
        // Given back in between, it woke nobody.
        if self.has_room() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn has_room(&self) -> bool {
        self.held.load(Ordering::SeqCst) < self.limit
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::SeqCst);
        let granted = before.saturating_add(bytes) <= self.limit.saturating_mul(2);
        if !granted {
            self.give_back(bytes);
        }
        granted
    }

    fn give_back(&self, bytes: u64) {
        let before = self.held.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.limit && before - bytes < self.limit {
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            waiting
                .iter()
                .filter_map(|slot| lock(slot).take())
                .for_each(Waker::wake);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a request holds; given back when all of it is gone: its body, and the handler that has not answered.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<ReceiveBudget>,
    bytes: AtomicU64,
}

impl Held {
    pub(super) fn nothing(budget: Arc<ReceiveBudget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            bytes: AtomicU64::new(0),
        })
    }

    /// Holds this many from now on; false, and as before, if that is too many. Called by the body alone.
    fn set(&self, bytes: u64) -> bool {
        let before = self.bytes.load(Ordering::Relaxed);
        let granted = match bytes.checked_sub(before) {
            Some(more) => self.budget.take(more),
            None => {
                self.budget.give_back(before - bytes);
                true
            }
        };
        if granted {
            self.bytes.store(bytes, Ordering::Relaxed);
        }
        granted
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(*self.bytes.get_mut());
    }
}

/// Follows the messages through the frames of one body.
#[derive(Debug)]
pub(super) struct Charge {
    held: Arc<Held>,
    slot: Arc<Slot>,
    /// Of the message that arrives: its prefix as far as it is there, what it has got, what it still lacks.
    prefix: [u8; PREFIX],
    prefix_len: usize,
    got: u64,
    lacks: u64,
}

impl Charge {
    pub(super) fn new(held: Arc<Held>) -> Self {
        Self {
            held,
            slot: Arc::default(),
            prefix: [0; PREFIX],
            prefix_len: 0,
            got: 0,
            lacks: 0,
        }
    }

    /// Before a frame is asked for. A stream that asks between two messages has taken the last one, which is charged no
    /// longer (what goes on with it is counted elsewhere); a call that has its one message asks only for the end. A
    /// message begins when there is room.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lacks > 0 || self.prefix_len > 0 {
            return Poll::Ready(());
        }
        let answered = Arc::strong_count(&self.held) == 1;
        if answered {
            self.held.set(0);
        } else if self.got > 0 {
            return Poll::Ready(());
        }
        self.held.budget.poll_room(&self.slot, cx)
    }

    /// Charges for a frame; false if there is no room for it at all.
    pub(super) fn arrived(&mut self, data: &[u8]) -> bool {
        self.follow(data);
        // The decoder holds at least this frame, and of the message that is not complete all of it.
        self.held.set(self.got.max(data.len() as u64))
    }

    /// Follows the messages through a frame, which ends anywhere.
    fn follow(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let len = if self.lacks > 0 {
                let len = usize::try_from(self.lacks).map_or(data.len(), |lacks| lacks.min(data.len()));
                self.lacks -= len as u64;
                len
            } else {
                self.prefix(data)
            };
            self.got += len as u64;
            data = &data[len..];
        }
    }

    /// Takes what is there of a message's prefix.
    fn prefix(&mut self, data: &[u8]) -> usize {
        if self.prefix_len == 0 {
            self.got = 0;
        }
        let len = (PREFIX - self.prefix_len).min(data.len());
        self.prefix[self.prefix_len..][..len].copy_from_slice(&data[..len]);
        self.prefix_len += len;
        if self.prefix_len == PREFIX {
            let [_, length @ ..] = self.prefix;
            self.lacks = u32::from_be_bytes(length).into();
            self.prefix_len = 0;
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.push(0);
            bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
            bytes.resize(bytes.len() + length, 7);
        }
        bytes
    }

    fn charge(budget: &Arc<ReceiveBudget>) -> Charge {
        Charge::new(Held::nothing(budget.clone()))
    }

    fn held(budget: &ReceiveBudget) -> u64 {
        budget.held.load(Ordering::SeqCst)
    }

    fn poll_next(charge: &mut Charge) -> Poll<()> {
        charge.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_message_is_charged_until_it_is_taken() {
        let budget = ReceiveBudget::new(1000);
        let mut charge = charge(&budget);
        let bytes = messages(&[300, 200]);
        for frame in bytes[..300].chunks(100) {
            assert!(poll_next(&mut charge).is_ready());
            assert!(charge.arrived(frame));
        }
        assert_eq!(held(&budget), 300);
        assert!(
            poll_next(&mut charge).is_ready(),
            "within a message nothing is taken"
        );
        assert_eq!(held(&budget), 300);
        // The first ends at 305 and the second begins.
        assert!(charge.arrived(&bytes[300..400]));
        assert_eq!(held(&budget), 100);
        assert!(charge.arrived(&bytes[400..]));
        assert!(poll_next(&mut charge).is_ready());
        assert_eq!(held(&budget), 0, "an idle stream holds nothing");
    }

    #[test]
    fn a_handler_that_has_not_answered_holds_its_message() {
        let budget = ReceiveBudget::new(1000);
        let handler = Held::nothing(budget.clone());
        let mut body = Charge::new(handler.clone());
        assert!(body.arrived(&messages(&[300])));
        let others = Held::nothing(budget.clone());
        assert!(others.set(1000));
        assert!(
            poll_next(&mut body).is_ready(),
            "the end of a call is not waited for"
        );
        drop((body, others));
        assert_eq!(held(&budget), 305);
        drop(handler);
        assert_eq!(held(&budget), 0);
    }

    #[test]
    fn what_is_followed_does_not_depend_on_how_bytes_are_cut() {
        let bytes = messages(&[0, 1, 700, 0, 90, 5]);
        for cut in 1..bytes.len() {
            let budget = ReceiveBudget::new(10_000);
            let mut charge = charge(&budget);
            for frame in bytes.chunks(cut) {
                assert!(charge.arrived(frame));
            }
            let state = (charge.got, charge.lacks, charge.prefix_len);
            assert_eq!(state, (10, 0, 0), "cut at {cut}");
        }
    }

    #[test]
    fn past_the_limit_messages_wait_to_begin_and_past_twice_that_they_end() {
        let budget = ReceiveBudget::new(1000);
        let mut streams: Vec<_> = (0..5).map(|_| charge(&budget)).collect();
        let bytes = messages(&[500]);
        // All begin in the same moment, when there is room still.
        assert!(streams.iter_mut().all(|stream| poll_next(stream).is_ready()));
        let granted: Vec<_> = streams
            .iter_mut()
            .map(|stream| stream.arrived(&bytes[..400]))
            .collect();
        assert_eq!(granted, [true, true, true, true, true]);
        let granted: Vec<_> = streams
            .iter_mut()
            .map(|stream| stream.arrived(&bytes[400..]))
            .collect();
        assert_eq!(
            granted,
            [false, false, false, false, false],
            "2000 is twice the limit"
        );
        assert_eq!(held(&budget), 2000);

        let mut late = charge(&budget);
        for _ in 0..100 {
            assert!(poll_next(&mut late).is_pending());
        }
        assert_eq!(lock(&budget.waiting).len(), 1, "listed once");
        streams.truncate(3);
        assert!(poll_next(&mut late).is_pending());
        streams.truncate(2);
        assert!(lock(&budget.waiting).is_empty(), "woken");
        assert!(poll_next(&mut late).is_ready());
    }
}
