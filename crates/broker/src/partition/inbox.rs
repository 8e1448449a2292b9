//! The queue in front of a partition thread: a plain struct, so that what it takes and refuses is tested by itself.
//! The lock and the wake-up around it are in `thread.rs`.
//!
//! Rules
//! - Work that clients bring is counted in bytes and refused past the limit; the broker's own commands (flushes done,
//!   leadership, shutdown) are always taken: refusing those would stop the thread from making room.
//! - Once closed it takes no client's work; the broker's commands still pass, since what was taken before must end.
//! - Order is kept, but for what is urgent (what was flushed): that is about what was taken before, and answers wait for
//!   it.
//! - A turn takes about [`TURN_BYTES`] of clients' work: what it wrote can go to the disk, and its answers out, while the
//!   next turn writes.

use std::collections::VecDeque;

/// The bytes of clients' work with which a turn has enough.
pub(crate) const TURN_BYTES: usize = 1 << 20;
/// What a turn takes at most. Memory for so much is kept: a start brings a thread thousands at once, and then never again.
const TURN_ITEMS: usize = 1024;

/// Why a client's work was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// More bytes are waiting than may wait.
    Full,
    /// The thread is going down.
    Closed,
}

/// Items in order, with a bound on the bytes of those that have any.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    urgent: Vec<T>,
    /// Each with its bytes.
    items: VecDeque<(T, usize)>,
    bytes: usize,
    limit: usize,
    closed: bool,
}

impl<T> Inbox<T> {
    /// An empty inbox for `limit` bytes of client work.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            urgent: Vec::new(),
            items: VecDeque::new(),
            bytes: 0,
            limit,
            closed: false,
        }
    }

    /// Takes a client's work of `bytes`, or gives it back. One item is taken whatever its size when no other waits.
    /// Says whether the inbox was empty: whether its thread may be asleep.
    pub(crate) fn offer(&mut self, item: T, bytes: usize) -> Result<bool, (T, Refused)> {
        if self.closed {
            return Err((item, Refused::Closed));
        }
        if self.bytes > 0 && self.bytes.saturating_add(bytes) > self.limit {
            return Err((item, Refused::Full));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(self.push(item, bytes))
    }

    /// Takes a command of the broker's own. Says whether the inbox was empty.
    pub(crate) fn command(&mut self, item: T) -> bool {
        self.push(item, 0)
    }

    fn push(&mut self, item: T, bytes: usize) -> bool {
        let was_empty = self.is_empty();
        self.items.push_back((item, bytes));
        was_empty
    }

    /// Takes a command that overtakes all that is not urgent. Says whether the inbox was empty.
    pub(crate) fn urgent(&mut self, item: T) -> bool {
        let was_empty = self.is_empty();
        self.urgent.push(item);
        was_empty
    }

    /// Moves what waits into `out`, up to the item with which `enough` bytes of clients' work are reached.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<T>, enough: usize) {
        out.shrink_to(TURN_ITEMS);
        out.append(&mut self.urgent);
        self.urgent.shrink_to(TURN_ITEMS);
        let mut taken = 0;
        while taken < enough
            && out.len() < TURN_ITEMS
            && let Some((item, bytes)) = self.items.pop_front()
        {
            taken += bytes;
            out.push(item);
        }
        self.bytes = self.bytes.saturating_sub(taken);
        if self.items.is_empty() {
            self.items.shrink_to(TURN_ITEMS);
        }
    }

    /// Takes no client's work from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.urgent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain<T>(inbox: &mut Inbox<T>) -> Vec<T> {
        let mut out = Vec::new();
        inbox.drain_into(&mut out, usize::MAX);
        out
    }

    #[test]
    fn takes_up_to_its_bytes_and_tells_when_it_was_empty() {
        let mut inbox = Inbox::new(100);
        assert_eq!(inbox.offer('a', 60), Ok(true));
        assert_eq!(inbox.offer('b', 40), Ok(false));
        assert_eq!(inbox.offer('c', 1), Err(('c', Refused::Full)));
        assert_eq!(drain(&mut inbox), ['a', 'b']);
        assert_eq!(inbox.offer('c', 1), Ok(true), "drained bytes are free");
    }

    #[test]
    fn one_item_is_taken_whatever_its_size() {
        let mut inbox = Inbox::new(100);
        assert_eq!(inbox.offer('a', 1_000), Ok(true));
        assert_eq!(inbox.offer('b', 1), Err(('b', Refused::Full)));
    }

    #[test]
    fn commands_pass_a_full_inbox_in_order() {
        let mut inbox = Inbox::new(1);
        inbox.offer('a', 1).expect("room");
        assert!(!inbox.command('b'));
        assert_eq!(drain(&mut inbox), ['a', 'b']);
    }

    #[test]
    fn closed_takes_no_work_but_gives_what_it_had_and_passes_commands() {
        let mut inbox = Inbox::new(10);
        inbox.offer('a', 1).expect("room");
        inbox.close();
        assert_eq!(inbox.offer('b', 1), Err(('b', Refused::Closed)));
        inbox.command('c');
        assert_eq!(drain(&mut inbox), ['a', 'c']);
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_turn_takes_what_is_enough_and_leaves_the_rest_in_order() {
        let mut inbox = Inbox::new(100);
        for (item, bytes) in [('a', 30), ('b', 30), ('c', 30)] {
            inbox.offer(item, bytes).expect("room");
        }
        inbox.command('d');
        let mut out = Vec::new();
        inbox.drain_into(&mut out, 31);
        assert_eq!(out, ['a', 'b']);
        assert!(!inbox.is_empty());
        assert_eq!(
            inbox.offer('e', 71),
            Err(('e', Refused::Full)),
            "30 bytes still wait"
        );
        assert_eq!(inbox.offer('e', 70), Ok(false));
        assert_eq!(drain(&mut inbox), ['c', 'd', 'e']);
    }

    #[test]
    fn a_turn_takes_so_many_items_and_what_thousands_took_is_given_back() {
        let mut inbox = Inbox::new(1);
        (0..TURN_ITEMS * 2 + 1).for_each(|item| drop(inbox.command(item)));
        let mut taken = Vec::new();
        for expected in [TURN_ITEMS, TURN_ITEMS, 1] {
            let turn = drain(&mut inbox);
            assert_eq!(turn.len(), expected);
            taken.extend(turn);
        }
        assert!(taken.into_iter().eq(0..TURN_ITEMS * 2 + 1));
        assert!(inbox.is_empty() && inbox.items.capacity() <= TURN_ITEMS);
    }

    #[test]
    fn what_is_urgent_overtakes_and_wakes() {
        let mut inbox = Inbox::new(100);
        assert!(inbox.urgent('a'));
        inbox.offer('b', 50).expect("room");
        inbox.offer('c', 50).expect("room");
        assert!(!inbox.urgent('d'));
        let mut out = Vec::new();
        inbox.drain_into(&mut out, 1);
        assert_eq!(out, ['a', 'd', 'b']);
        assert_eq!(drain(&mut inbox), ['c']);
    }
}
