//! The cluster's controllers, as the rest of the broker sees them: wherever the active one is.
//!
//! ```text
//!   services, join, drain ──propose──▶ Controllers ──▶ this process's controller, if it is the active one
//!                                          └──Propose──▶ the active one's internal listener
//! ```
//! Who is active is found out by asking: a controller that is not names the one that is. What the broker follows comes from
//! its own controller, or, where it has none, from any controller by WatchMetadata ([`Feed`]). A broker goes on serving
//! while no controller answers: nothing here is on the way of a record.

mod feed;
mod image_stream;
mod life;
mod link;
mod peers;
mod propose;
mod service;
mod sessions;
mod survey;

pub(crate) use feed::Feed;
pub(crate) use life::{Life, LifeParts, Refused};
pub(crate) use service::server;
pub(crate) use sessions::Sessions;
#[cfg(test)]
pub(crate) use survey::Node;
pub(crate) use survey::Survey;

use peers::Peers;
use quipu_controller::{Committed, Controller, ProposeError, Unavailable};
use quipu_metadata::{ClusterId, Request};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long a change is tried for, whose caller names no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The controllers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Controllers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// This process's own.
    local: Option<Controller>,
    /// The internal address of this process.
    own: String,
    peers: Peers,
    cluster: OnceLock<ClusterId>,
    places: Mutex<Places>,
}

/// Where controllers are.
#[derive(Debug, Default)]
struct Places {
    /// The active one, as far as anybody said.
    active: Option<String>,
    /// All that were ever named: the configured ones, and those that these named.
    known: BTreeSet<String>,
}

impl Controllers {
    /// Those at `voters`, and `local`, which is this process's own and has the address `own`.
    #[must_use]
    pub fn new(local: Option<Controller>, own: String, voters: &[String]) -> Self {
        let known = voters.iter().cloned().collect();
        Self {
            inner: Arc::new(Inner {
                local,
                own,
                peers: Peers::default(),
                cluster: OnceLock::new(),
                places: Mutex::new(Places { active: None, known }),
            }),
        }
    }

    /// Asks the active controller for a change and waits until it is committed. What is safe to repeat is repeated, and what
    /// certainly was not done is tried again, until an answer comes or the time is up.
    ///
    /// # Errors
    /// [`ProposeError`]: refused, or not answered. [`Unavailable::Unanswered`] with `REQUEST_TIMED_OUT` means that it may have
    /// been done.
    pub async fn propose<R: Request>(
        &self,
        request: R,
    ) -> Result<Committed<R::Outcome>, ProposeError<R::Refusal>> {
        self.propose_within(request, PATIENCE).await
    }

    /// The same, tried for no longer than this.
    ///
    /// # Errors
    /// As [`Controllers::propose`].
    pub async fn propose_within<R: Request>(
        &self,
        request: R,
        patience: Duration,
    ) -> Result<Committed<R::Outcome>, ProposeError<R::Refusal>> {
        let Committed { version, outcome } = self.propose_command(request.into_command(), patience).await?;
        match R::from_reply(outcome) {
            Some(Ok(outcome)) => Ok(Committed { version, outcome }),
            Some(Err(refusal)) => Err(ProposeError::Refused(refusal)),
            None => Err(Unavailable::Stopped.into()),
        }
    }

    /// This process's own controller.
    #[must_use]
    pub fn local(&self) -> Option<&Controller> {
        self.inner.local.as_ref()
    }

    /// Whether the active controller runs in this process.
    #[must_use]
    pub fn is_active_here(&self) -> bool {
        self.local().is_some_and(|local| local.status().is_active())
    }

    /// Where the active controller is, if it is elsewhere and anybody said so.
    pub(crate) fn active_address(&self) -> Option<String> {
        match self.local() {
            Some(local) => local.status().leader.map(|leader| leader.address),
            None => self.places().active.clone(),
        }
    }

    /// The cluster is known from now on: nobody of another is spoken with.
    pub(crate) fn settle(&self, cluster: ClusterId) {
        // A process belongs to one cluster.
        let _ = self.inner.cluster.set(cluster);
    }

    fn cluster_text(&self) -> Option<String> {
        self.inner.cluster.get().map(ClusterId::to_string)
    }

    /// Somebody said that the active controller is there.
    fn heard_of(&self, address: &str) {
        let mut places = self.places();
        places.known.insert(address.to_owned());
        places.active = Some(address.to_owned());
    }

    /// It is not, or does not answer.
    fn not_at(&self, address: &str) {
        let mut places = self.places();
        if places.active.as_deref() == Some(address) {
            places.active = None;
        }
    }

    /// Where controllers of other processes are.
    fn others(&self) -> Vec<String> {
        let places = self.places();
        let others = places.known.iter().filter(|known| **known != self.inner.own);
        others.cloned().collect()
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.inner.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
