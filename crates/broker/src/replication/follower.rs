//! The follower's end: a task for each broker that leads partitions of this one. It sends where they stand and hands what
//! comes back to the threads that own them; it knows no partition by itself.
//!
//! One request waits at the leader at a time. A newer one goes out at once when a flush is done, and ends the wait of the
//! older one; it says up to which answer everything was taken in, so that nothing is sent twice.

use super::dial::{self, Address};
use super::{Common, wire};
use crate::partition::exchange::{Link, Turn};
use quipu_proto::internal;
use quipu_record::{BrokerEpoch, BrokerId, TopicPartition};
use quipu_replication::rules::fetch_session::FollowerSession;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Requests that may be unanswered: one that waits, and those that carry flushes past it.
const UNANSWERED_MAX: usize = 4;
/// Between attempts to reach a leader.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// What an answer may have beside batches, and in the one batch more that may always come.
const ANSWER_SLACK: usize = 8 << 20;

/// The task's state.
#[derive(Debug)]
pub(super) struct Follower {
    common: Common,
    leader: BrokerId,
    address: watch::Receiver<Option<Address>>,
    turns: mpsc::UnboundedReceiver<Turn>,
    link: Link,
    session: FollowerSession<TopicPartition>,
    /// Answers that threads are taking in, in order.
    taking: VecDeque<Taking>,
    answers: u64,
}

/// An answer that threads are taking in.
#[derive(Clone, Copy, Debug)]
struct Taking {
    number: u64,
    /// The request it answered.
    epoch: u64,
    /// Threads that are not done.
    threads: usize,
    bytes: usize,
}

/// Why a conversation ended.
#[derive(Debug)]
enum Ended {
    /// The leader is somewhere else, or in another lifetime.
    Moved,
    /// It did not work, or broke.
    Broke(String),
    /// This broker has no use for it any more.
    Stopped,
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Broke(format!("{}: {}", status.code(), status.message()))
    }
}

/// One stream.
struct Conversation {
    requests: mpsc::Sender<internal::ReplicateRequest>,
    answers: Streaming<internal::ReplicateResponse>,
    cluster_id: String,
    /// The lifetime of this broker.
    me: BrokerEpoch,
    unanswered: usize,
    /// The last request in whose answer were batches that are taken in, and what the leader knows of that.
    taken: u64,
    taken_sent: u64,
    /// The last request that was answered; zero: none.
    answered: u64,
}

impl Follower {
    pub(super) fn new(
        common: Common,
        leader: BrokerId,
        address: watch::Receiver<Option<Address>>,
        turns: mpsc::UnboundedReceiver<Turn>,
        link: Link,
    ) -> Self {
        Self {
            common,
            leader,
            address,
            turns,
            link,
            session: FollowerSession::default(),
            taking: VecDeque::new(),
            answers: 0,
        }
    }

    /// Copies until it is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        let mut said = false;
        loop {
            let Some(address) = self.work().await else { return };
            let mut answered = false;
            match self.converse(&address, &mut answered).await {
                Ended::Stopped => return,
                Ended::Moved => backoff = BACKOFF_MIN,
                Ended::Broke(why) => {
                    if answered {
                        (backoff, said) = (BACKOFF_MIN, false);
                    }
                    let leader = self.leader;
                    if said {
                        tracing::debug!(%leader, address = address.internal, why, "no copying");
                    } else {
                        tracing::warn!(%leader, address = address.internal, why, "no copying from this leader now");
                    }
                    said = true;
                    self.pause(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Waits until there are partitions to copy and a place to copy them from.
    async fn work(&mut self) -> Option<Address> {
        loop {
            let address = self.address.borrow_and_update().clone();
            if let Some(address) = address.filter(|_| !self.session.is_empty()) {
                return Some(address);
            }
            tokio::select! {
                turn = self.turns.recv() => self.turn(turn?),
                changed = self.address.changed() => changed.ok()?,
            }
        }
    }

    /// Waits before the next attempt, or until the leader is somewhere else.
    async fn pause(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                Some(turn) = self.turns.recv() => self.turn(turn),
                changed = self.address.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep_until(until).await;
                    }
                    return;
                }
            }
        }
    }

    /// One stream, from its beginning to its end.
    async fn converse(&mut self, address: &Address, answered: &mut bool) -> Ended {
        let mut conversation = tokio::select! {
            opened = self.open(address) => match opened {
                Ok(conversation) => conversation,
                Err(ended) => return ended,
            },
            // Cloned, since the other branch has `self`: what it sees is seen again below.
            () = differs(self.address.clone(), address.clone()) => return Ended::Moved,
        };
        tracing::debug!(leader = %self.leader, address = address.internal, "copying");
        // What an earlier stream brought is dealt with by the threads; here it counts no more.
        self.taking.clear();
        self.session.begin();
        let ended = self.exchange(&mut conversation).await;
        *answered = conversation.answered > 0;
        match ended {
            Ok(()) => Ended::Stopped,
            Err(ended) => ended,
        }
    }

    async fn open(&self, address: &Address) -> Result<Conversation, Ended> {
        let message_bytes_max =
            self.common.config.fetch_bytes + self.common.message_bytes_max.max(ANSWER_SLACK) + ANSWER_SLACK;
        let client = dial::connect(&address.internal, message_bytes_max).await;
        let mut client = client.map_err(|error| Ended::Broke(root_cause(&error)))?;
        let (requests, outgoing) = mpsc::channel(UNANSWERED_MAX);
        let answers = client
            .replicate(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Conversation {
            requests,
            answers,
            cluster_id: address.cluster.to_string(),
            me: address.me,
            unanswered: 0,
            taken: 0,
            taken_sent: 0,
            answered: 0,
        })
    }

    async fn exchange(&mut self, with: &mut Conversation) -> Result<(), Ended> {
        loop {
            if self.session.is_empty() {
                // Nothing to copy: the stream ends, until there is.
                return Err(Ended::Moved);
            }
            self.ask(with)?;
            tokio::select! {
                biased;
                turn = self.turns.recv() => {
                    let Some(turn) = turn else { return Ok(()) };
                    self.turn(turn);
                    self.taken(with);
                }
                answer = with.answers.message() => match answer? {
                    Some(answer) => self.answer(with, answer)?,
                    None => return Err(Ended::Broke("the leader ended the stream".to_owned())),
                },
                changed = self.address.changed() => {
                    return if changed.is_err() { Ok(()) } else { Err(Ended::Moved) };
                }
            }
        }
    }

    /// Sends a request, if there is anything new to say, or none waits at the leader.
    fn ask(&mut self, with: &mut Conversation) -> Result<(), Ended> {
        // What threads had meanwhile goes into the same request. And a partition that follows another leader by now has
        // left the session before a request goes out that would say that it has not.
        while let Ok(turn) = self.turns.try_recv() {
            self.turn(turn);
        }
        self.taken(with);
        if with.unanswered >= UNANSWERED_MAX {
            return Ok(());
        }
        let idle = with.unanswered == 0 && self.taking.is_empty();
        if !idle && !self.session.has_changes() && with.taken == with.taken_sent {
            return Ok(());
        }
        let next = self.session.next_request();
        let first = next.session_epoch == 1;
        let on_the_way: usize = self.taking.iter().map(|taking| taking.bytes).sum();
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let wait = self.common.config.fetch_wait.as_millis();
        let request = internal::ReplicateRequest {
            cluster_id: if first {
                with.cluster_id.clone()
            } else {
                String::new()
            },
            broker_id: self.common.me.get(),
            broker_epoch: with.me.get(),
            session_epoch: next.session_epoch,
            positions: next
                .positions
                .iter()
                .map(|(at, position)| wire::follower_position(*at, position))
                .collect(),
            forget: next.forget.iter().map(|at| wire::partition_id(*at)).collect(),
            max_bytes: bytes(self.common.config.fetch_bytes.saturating_sub(on_the_way)),
            max_wait_ms: u32::try_from(wait).unwrap_or(u32::MAX),
            taken: with.taken,
            answered: with.answered,
        };
        // There is room for as many as may be unanswered: it is full, or closed, only if the stream is dead.
        let sent = with.requests.try_send(request);
        sent.map_err(|_| Ended::Broke("the stream takes no requests".to_owned()))?;
        with.unanswered += 1;
        with.taken_sent = with.taken;
        Ok(())
    }

    /// Checks an answer and gives it to the threads.
    fn answer(&mut self, with: &mut Conversation, answer: internal::ReplicateResponse) -> Result<(), Ended> {
        with.unanswered = with.unanswered.saturating_sub(1);
        with.answered = answer.session_epoch;
        if answer.session_lost {
            return Err(Ended::Broke("the leader does not know the session".to_owned()));
        }
        let (epoch, bytes) = (answer.session_epoch, wire::batch_bytes(&answer));
        let parts: Result<Vec<_>, _> = answer.partitions.into_iter().map(wire::fetched).collect();
        let parts = parts.map_err(|failure| Ended::Broke(failure.message))?;
        self.answers += 1;
        let number = self.answers;
        let threads = self
            .common
            .threads
            .followed_data(&self.link, number, parts.into_iter());
        self.taking.push_back(Taking {
            number,
            epoch,
            threads,
            bytes,
        });
        self.taken(with);
        Ok(())
    }

    /// Takes in what a thread's turn came to.
    fn turn(&mut self, turn: Turn) {
        for (at, position) in turn.positions {
            match position {
                Some(position) => self.session.set(at, position),
                None => self.session.remove(at),
            }
        }
        for number in turn.taken {
            // Of an earlier stream's, there is nothing left here.
            if let Some(taking) = self.taking.iter_mut().find(|taking| taking.number == number) {
                taking.threads = taking.threads.saturating_sub(1);
            }
        }
    }

    /// Notes up to which answer all is taken in.
    fn taken(&mut self, with: &mut Conversation) {
        while let Some(taking) = self.taking.front()
            && taking.threads == 0
        {
            if taking.bytes > 0 {
                with.taken = taking.epoch;
            }
            self.taking.pop_front();
        }
    }
}

/// Completes when a leader is no longer at this address, in this lifetime.
async fn differs(mut now: watch::Receiver<Option<Address>>, known: Address) {
    if now.wait_for(|now| now.as_ref() != Some(&known)).await.is_err() {
        std::future::pending().await
    }
}

/// The innermost error: "transport error" helps nobody, "connection refused" does.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
