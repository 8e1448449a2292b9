//! Batches whose answer waits: for the high watermark, or for the leader's own disk.
//!
//! First in, first out: what a batch waits for never lies below what the one before it waits for, so releasing looks
//! at the front only and answers leave in the order of arrival. An error that tells of state (a fenced producer, a
//! sequence that does not fit) waits like a success, for everything appended before it: were the cause lost in a crash,
//! the answer would have been false.

use crate::answer::{Answer, Appended, Token};
use crate::clock::Tick;
use crate::error::ProduceError;
use quipu_record::Offset;
use std::collections::VecDeque;

/// One answer that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// Whom to answer.
    pub token: Token,
    /// May be answered once the position reaches this.
    pub until: Offset,
    /// Past this it is told that its outcome is unknown.
    pub deadline: Tick,
    /// What it is told.
    pub outcome: Result<Appended, ProduceError>,
}

/// A queue of waiters for one position that only grows. An empty one holds no memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    queue: VecDeque<Waiter>,
    /// No deadline in the queue is earlier. May lie before the earliest, never after it.
    earliest: Option<Tick>,
}

impl Waiting {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Queues one behind the others.
    pub fn push(&mut self, mut waiter: Waiter) {
        if let Some(last) = self.queue.back() {
            waiter.until = waiter.until.max(last.until);
        }
        self.earliest = Some(
            self.earliest
                .map_or(waiter.deadline, |at| at.min(waiter.deadline)),
        );
        self.queue.push_back(waiter);
    }

    /// Answers all that waited for no more than `position`.
    pub fn release(&mut self, position: Offset, answers: &mut Vec<Answer>) {
        while self.queue.front().is_some_and(|front| front.until <= position) {
            answers.extend(self.queue.pop_front().map(|waiter| Answer {
                token: waiter.token,
                result: waiter.outcome,
            }));
        }
        if self.queue.is_empty() {
            self.earliest = None;
        }
    }

    /// Tells those whose time is over that their outcome is unknown.
    pub fn expire(&mut self, now: Tick, answers: &mut Vec<Answer>) {
        if self.earliest.is_none_or(|at| at > now) {
            return;
        }
        self.earliest = None;
        self.queue.retain(|waiter| {
            let over = waiter.deadline <= now;
            if over {
                answers.push(Answer {
                    token: waiter.token,
                    result: Err(ProduceError::RequestTimedOut),
                });
            } else {
                self.earliest = Some(
                    self.earliest
                        .map_or(waiter.deadline, |at| at.min(waiter.deadline)),
                );
            }
            !over
        });
    }

    /// Tells everybody the same.
    pub fn fail(&mut self, error: &ProduceError, answers: &mut Vec<Answer>) {
        answers.extend(self.queue.drain(..).map(|waiter| Answer {
            token: waiter.token,
            result: Err(error.clone()),
        }));
        self.earliest = None;
    }

    /// When to look for expired ones again; early at worst.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.earliest
    }

    /// Gives back memory that a burst took.
    pub fn shrink(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Reached;
    use quipu_record::LeaderEpoch;

    fn waiter(token: u64, until: u64, deadline: u64) -> Waiter {
        Waiter {
            token: Token(token),
            until: Offset::new(until),
            deadline: Tick::from_nanos(deadline),
            outcome: Ok(Appended {
                base_offset: Offset::ZERO,
                leader_epoch: LeaderEpoch::FIRST,
                reached: Reached::Flushed,
                duplicate: false,
                log_append_time: None,
            }),
        }
    }

    fn tokens(answers: &[Answer]) -> Vec<u64> {
        answers.iter().map(|answer| answer.token.0).collect()
    }

    #[test]
    fn answers_leave_in_the_order_of_arrival() {
        let mut waiting = Waiting::default();
        waiting.push(waiter(1, 10, 99));
        waiting.push(waiter(2, 4, 99)); // a duplicate of something older: behind the first all the same
        waiting.push(waiter(3, 12, 99));
        let mut answers = Vec::new();
        waiting.release(Offset::new(9), &mut answers);
        assert!(answers.is_empty());
        waiting.release(Offset::new(10), &mut answers);
        assert_eq!(tokens(&answers), [1, 2]);
        assert_eq!(waiting.deadline(), Some(Tick::from_nanos(99)));
    }

    #[test]
    fn a_deadline_says_unknown_and_leaves_the_others() {
        let mut waiting = Waiting::default();
        waiting.push(waiter(1, 10, 50));
        waiting.push(waiter(2, 11, 20));
        waiting.push(waiter(3, 12, 70));
        let mut answers = Vec::new();
        waiting.expire(Tick::from_nanos(19), &mut answers);
        assert!(answers.is_empty());
        waiting.expire(Tick::from_nanos(20), &mut answers);
        assert_eq!(tokens(&answers), [2]);
        assert_eq!(answers[0].result, Err(ProduceError::RequestTimedOut));
        assert_eq!(waiting.deadline(), Some(Tick::from_nanos(50)));
        waiting.fail(&ProduceError::NotLeader, &mut answers);
        assert_eq!(tokens(&answers), [2, 1, 3]);
        assert!(waiting.is_empty() && waiting.deadline().is_none());
    }
}
