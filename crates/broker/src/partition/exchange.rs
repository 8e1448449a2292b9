//! What partition threads and the sessions between brokers say to each other, many partitions in one message.

use quipu_record::TopicPartition;
use quipu_replication::{Fetched, FollowerFetch, IsrProposal, Position, Verdict};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The way from a partition's thread to the session with its leader.
#[derive(Clone, Debug)]
pub(crate) struct Link(Arc<mpsc::UnboundedSender<Turn>>);

impl Link {
    /// A link, and its other end. Without a bound of its own: what is on the way are the positions of partitions, and
    /// each is there because of bytes that the session bounds.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Turn>) {
        let (to, from) = mpsc::unbounded_channel();
        (Self(Arc::new(to)), from)
    }

    /// Whether both lead to the same session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What one turn of a partition thread's loop means for one session with a leader.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Where partitions stand now; `None`: they no longer follow that leader.
    pub(crate) positions: Vec<(TopicPartition, Option<Position>)>,
    /// The [`FollowedData`] that were dealt with: what they changed is in the positions up to here.
    pub(crate) taken: Vec<u64>,
}

/// One answer of a leader, as far as it is for one partition thread.
#[derive(Debug)]
pub(crate) struct FollowedData {
    /// The session that it came by.
    pub(crate) link: Link,
    /// The session's number for the answer.
    pub(crate) number: u64,
    /// By partition.
    pub(crate) parts: Vec<(TopicPartition, Fetched)>,
}

/// One request of a follower, as far as it is for one partition thread.
#[derive(Debug)]
pub(crate) struct FollowerPositions {
    /// By partition; the token of each is the session's own name for the partition.
    pub(crate) parts: Vec<(TopicPartition, FollowerFetch)>,
    /// Where the verdicts go. The session waits for them before it goes on, which bounds them.
    pub(crate) answer: mpsc::UnboundedSender<Verdicts>,
}

/// What leaders make of the positions of one [`FollowerPositions`], by token.
pub(crate) type Verdicts = Vec<(u32, Verdict)>;

/// A change of in-sync replicas that a leader wants.
pub(crate) type Proposed = (TopicPartition, IsrProposal);

/// What a thread's turn has for each of its sessions, until the turn ends.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    turns: Vec<(Link, Turn)>,
}

impl Outbox {
    /// A partition's position, or that it follows no more.
    pub(crate) fn position(&mut self, link: &Link, at: TopicPartition, position: Option<Position>) {
        self.turn(link).positions.push((at, position));
    }

    /// A [`FollowedData`] was dealt with.
    pub(crate) fn taken(&mut self, link: &Link, number: u64) {
        self.turn(link).taken.push(number);
    }

    /// The turn is over: everything goes out. Sessions that partitions have left hear of it before those that they entered:
    /// an old leader is asked for nothing of theirs once a new one may have been.
    pub(crate) fn send(&mut self) {
        for (link, turn) in &mut self.turns {
            let left: Vec<_> = turn
                .positions
                .extract_if(.., |(_, position)| position.is_none())
                .collect();
            if !left.is_empty() {
                let _ = link.0.send(Turn {
                    positions: left,
                    taken: Vec::new(),
                });
            }
        }
        for (link, turn) in self.turns.drain(..) {
            // A session that ended has no use for it.
            let _ = link.0.send(turn);
        }
    }

    /// There are as many as brokers that lead partitions of this one: few.
    fn turn(&mut self, link: &Link) -> &mut Turn {
        let at = self.turns.iter().position(|(known, _)| known.is(link));
        let at = at.unwrap_or_else(|| {
            self.turns.push((link.clone(), Turn::default()));
            self.turns.len() - 1
        });
        &mut self.turns[at].1
    }
}
