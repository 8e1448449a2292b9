//! Who hosts which member on this broker: a stream that goes on as a member waits until the one before has let go.

use quipu_coordinator::{GroupError, GroupId, MemberId, StreamNumber};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long the stream before may take to commit what was acknowledged.
const HANDOVER: Duration = Duration::from_secs(3);

type Key = (GroupId, MemberId);

/// The members that this broker hosts.
#[derive(Debug, Default)]
pub(in super::super) struct Seats {
    seats: Mutex<HashMap<Key, Taken>>,
}

#[derive(Debug)]
struct Taken {
    /// As the client counts its streams; the greatest that was here.
    number: Option<StreamNumber>,
    /// True: another stream wants it.
    wanted: watch::Sender<bool>,
    /// Closed: the stream is gone.
    gone: watch::Receiver<()>,
}

/// One stream's place. Dropped, it is free.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    key: Key,
    wanted: watch::Receiver<bool>,
    _here: watch::Sender<()>,
}

impl Seats {
    /// Takes a member's seat, from the stream that has it.
    ///
    /// # Errors
    /// A later stream of the member has it.
    pub(super) async fn take(
        self: &Arc<Self>,
        group: &GroupId,
        member: &MemberId,
        number: Option<StreamNumber>,
    ) -> Result<Seat, GroupError> {
        let (wanted, wants) = watch::channel(false);
        let (here, gone) = watch::channel(());
        let key = (group.clone(), member.clone());
        let before = {
            let mut seats = self.lock();
            let present = seats.get(&key).and_then(|taken| taken.number);
            if number.is_some() && number < present {
                return Err(GroupError::SupersededStream);
            }
            let number = number.max(present);
            seats.insert(key.clone(), Taken { number, wanted, gone })
        };
        let seat = Seat {
            seats: Arc::clone(self),
            key,
            wanted: wants,
            _here: here,
        };
        if let Some(mut before) = before {
            before.wanted.send_replace(true);
            // Closed is what is waited for; who takes too long has lost its last commit.
            let _ = tokio::time::timeout(HANDOVER, before.gone.changed()).await;
        }
        Ok(seat)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Taken>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Completes when another stream wants it.
    pub(super) async fn taken(&mut self) {
        if self.wanted.wait_for(|wanted| *wanted).await.is_err() {
            // Taken out of the table, which only this seat's end does, or another stream that says so first.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock();
        let mine = seats.get(&self.key).is_some_and(|taken| {
            // Each seat has a channel of its own.
            taken.wanted.subscribe().same_channel(&self.wanted)
        });
        if mine {
            seats.remove(&self.key);
        }
    }
}
