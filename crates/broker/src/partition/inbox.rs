//! The queue in front of a partition thread: a plain struct, so that what it takes and refuses is tested by itself.
//! The lock and the wake-up around it are in `thread.rs`.
//!
//! Rules
//! - Work that clients bring is counted in bytes and refused past the limit; the broker's own commands (flushes done,
//!   leadership, shutdown) are always taken: refusing those would stop the thread from making room.
//! - Once closed it takes no client's work; the broker's commands still pass, since what was taken before must end.
//! - Order is kept, but for what is urgent (what was flushed): that is about what was taken before, and answers wait for
//!   it.

/// Why a client's work was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// More bytes are waiting than may wait.
    Full,
    /// The thread is going down.
    Closed,
}

/// Memory for so many items is kept: a start gives a thread thousands at once, and then never again.
pub(crate) const ITEMS_KEPT: usize = 1024;

/// Items in order, with a bound on the bytes of those that have any.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    urgent: Vec<T>,
    items: Vec<T>,
    bytes: usize,
    limit: usize,
    closed: bool,
}

impl<T> Inbox<T> {
    /// An empty inbox for `limit` bytes of client work.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            urgent: Vec::new(),
            items: Vec::new(),
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
        Ok(self.command(item))
    }

    /// Takes a command of the broker's own. Says whether the inbox was empty.
    pub(crate) fn command(&mut self, item: T) -> bool {
        let was_empty = self.is_empty();
        self.items.push(item);
        was_empty
    }

    /// Takes a command that overtakes all that is not urgent. Says whether the inbox was empty.
    pub(crate) fn urgent(&mut self, item: T) -> bool {
        let was_empty = self.is_empty();
        self.urgent.push(item);
        was_empty
    }

    /// Moves everything that waits into `out`, which must be empty and whose memory the inbox goes on with.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<T>) {
        debug_assert!(out.is_empty());
        if self.urgent.is_empty() {
            std::mem::swap(&mut self.items, out);
        } else {
            std::mem::swap(&mut self.urgent, out);
            out.append(&mut self.items);
        }
        self.bytes = 0;
    }

    /// Takes what is urgent alone.
    pub(crate) fn take_urgent(&mut self) -> Vec<T> {
        std::mem::take(&mut self.urgent)
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
        inbox.drain_into(&mut out);
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
    fn what_is_urgent_overtakes_and_wakes() {
        let mut inbox = Inbox::new(100);
        assert!(inbox.urgent('a'));
        inbox.offer('b', 50).expect("room");
        assert!(!inbox.urgent('c'));
        inbox.offer('d', 50).expect("room");
        assert_eq!(inbox.offer('e', 1), Err(('e', Refused::Full)));
        assert_eq!(drain(&mut inbox), ['a', 'c', 'b', 'd']);
        assert!(inbox.is_empty());
        assert_eq!(inbox.offer('e', 100), Ok(true));
        assert!(!inbox.urgent('f'));
        assert_eq!(inbox.take_urgent(), ['f']);
        assert_eq!(drain(&mut inbox), ['e']);
    }
}
