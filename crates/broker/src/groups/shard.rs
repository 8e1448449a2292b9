//! One partition of the offsets topic on this broker: idle while another broker leads it, loading, or active.
//!
//! ```text
//!   idle ──leads──▶ loading ──replayed, and all of it committed──▶ active (active.rs)
//!    ▲                 │ another leader                               │ another leader; a write failed: load anew
//!    └─────────────────┴──────────────────────────────────────────────┘
//! ```
//! A task owns it. Nothing it does while nothing happens costs anything: it sleeps until somebody asks, the leadership
//! changes, or a timer of a group is due.

use super::active::{Active, Ended};
use super::load::{self, LoadError, LoadFigures};
use super::topics::TopicsCache;
use crate::data_plane::DataPlane;
use crate::partition::budget::Charge;
use crate::partition::replica::Replica;
use crate::partition::wait::Waiter;
use quipu_coordinator::{Expiring, GroupConfig, GroupError, Request, RequestToken, Response};
use quipu_metadata::Image;
use quipu_record::{ErrorCode, LeaderEpoch, Offset};
use quipu_replication::Leading;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// After a load that failed, or a write.
const PAUSE: Duration = Duration::from_millis(200);
/// After a load that failed for what is stored: only an upgrade or a repair helps.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// Where a shard works, and with what.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) plane: Arc<DataPlane>,
    pub(super) replica: Arc<Replica>,
    pub(super) config: GroupConfig,
    pub(super) topics: Arc<TopicsCache>,
    pub(super) images: watch::Receiver<Arc<Image>>,
}

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Somebody asks.
    Ask(Box<Asked>),
    /// Whoever waits for this answer is gone.
    Gone(RequestToken),
    /// Which groups expire soon.
    Expiring(oneshot::Sender<Vec<Expiring>>),
}

/// A request, and the way back.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) token: RequestToken,
    pub(super) request: Request,
    /// The leader epoch of the coordinator that is meant; `None`: whichever.
    pub(super) epoch: Option<LeaderEpoch>,
    pub(super) answer: Answer,
    pub(super) charge: Option<Charge>,
}

pub(super) type Answer = oneshot::Sender<Result<Response, GroupError>>;

/// What a shard is doing, for metrics and for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum ShardState {
    /// Another broker leads the partition, or nobody.
    #[default]
    Idle,
    /// Reading what is stored.
    Loading,
    /// Serving.
    Active(LoadFigures),
    /// What is stored cannot be read.
    Failed(String),
}

/// The way to a shard. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ShardHandle {
    inbox: mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
    replica: Weak<Replica>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    commits: AtomicU64,
    state: Mutex<ShardState>,
}

impl ShardHandle {
    /// Asks; the answer is true and committed, or nothing was done that anybody was told of.
    /// With an epoch, one that leads in another is not meant.
    pub(super) async fn ask(
        &self,
        request: Request,
        epoch: Option<LeaderEpoch>,
        charge: Option<Charge>,
    ) -> Result<Response, GroupError> {
        let token = RequestToken::new(self.shared.next.fetch_add(1, Ordering::Relaxed));
        let waits = matches!(&request, Request::Heartbeat(heartbeat) if !heartbeat.max_wait.is_zero());
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            token,
            request,
            epoch,
            answer,
            charge,
        };
        if self.inbox.send(Message::Ask(Box::new(asked))).is_err() {
            return Err(going_down());
        }
        let mut cancel = CancelOnDrop {
            inbox: &self.inbox,
            token,
            armed: waits,
        };
        let answer = answered.await.unwrap_or_else(|_| Err(going_down()));
        cancel.armed = false;
        if let Ok(Response::Committed(results)) = &answer {
            let committed = results.iter().filter(|result| result.is_ok()).count();
            self.shared.commits.fetch_add(committed as u64, Ordering::Relaxed);
        }
        answer
    }

    /// Whether it lives, and works on this replica.
    pub(super) fn is_of(&self, replica: &Arc<Replica>) -> bool {
        !self.inbox.is_closed() && self.replica.as_ptr() == Arc::as_ptr(replica)
    }

    /// Groups here whose offsets expire soon.
    pub(super) async fn expiring(&self) -> Vec<Expiring> {
        let (answer, answered) = oneshot::channel();
        // A shard that ends has none.
        let _ = self.inbox.send(Message::Expiring(answer));
        answered.await.unwrap_or_default()
    }

    /// Offsets committed since the start.
    pub(super) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// What it is doing.
    pub(super) fn state(&self) -> ShardState {
        self.shared.lock().clone()
    }
}

/// Says that nobody waits any more.
struct CancelOnDrop<'a> {
    inbox: &'a mpsc::UnboundedSender<Message>,
    token: RequestToken,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            // A shard that has ended waits for nothing.
            let _ = self.inbox.send(Message::Gone(self.token));
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, ShardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn going_down() -> GroupError {
    GroupError::host(
        ErrorCode::NotCoordinator,
        "this broker is shutting down: ask again in a moment",
    )
}

/// The shard itself.
#[derive(Debug)]
pub(super) struct Shard {
    place: Place,
    inbox: mpsc::UnboundedReceiver<Message>,
    shared: Arc<Shared>,
}

impl Shard {
    /// A shard of a replica, and the way to it. [`Shard::run`] is its life.
    pub(super) fn new(place: Place) -> (Self, ShardHandle) {
        let (to, inbox) = mpsc::unbounded_channel();
        let shared = Arc::<Shared>::default();
        let handle = ShardHandle {
            inbox: to,
            shared: Arc::clone(&shared),
            replica: Arc::downgrade(&place.replica),
        };
        let shard = Self { place, inbox, shared };
        (shard, handle)
    }

    /// Until nobody can ask any more.
    pub(super) async fn run(mut self) {
        let mut on = true;
        while on {
            let leading = self.place.replica.view().leading;
            on = match leading {
                None => {
                    self.set(ShardState::Idle);
                    self.refuse_until_led_otherwise(None, None, &not_here()).await
                }
                Some(leading) => self.lead(leading).await,
            };
        }
    }

    fn set(&self, state: ShardState) {
        *self.shared.lock() = state;
    }

    async fn lead(&mut self, leading: Leading) -> bool {
        self.set(ShardState::Loading);
        let at = self.place.replica.at.partition;
        let loaded = {
            let loading = load::load(&self.place, leading);
            refuse_while(&mut self.inbox, &still_loading(), loading).await
        };
        let (coordinator, figures) = match loaded {
            None => return false,
            Some(Ok(loaded)) => loaded,
            Some(Err(LoadError::Lost)) => return true,
            Some(Err(error)) => return self.failed(leading, &error).await,
        };
        tracing::info!(
            partition = %at,
            epoch = %leading.epoch,
            bytes = figures.bytes,
            records = figures.records,
            applied = figures.applied,
            replayed_ms = figures.replayed.as_millis(),
            took_ms = figures.took.as_millis(),
            anonymous_bytes = anonymous_bytes(),
            "the groups of a partition are coordinated here"
        );
        self.set(ShardState::Active(figures));
        let ended = Active::new(&self.place, leading, coordinator)
            .serve(&mut self.inbox)
            .await;
        match ended {
            Ended::Asked => false,
            Ended::Led => true,
            Ended::Unwritten(error) => {
                tracing::warn!(partition = %at, %error, "groups are loaded anew: a change was not stored");
                self.set(ShardState::Loading);
                self.refuse_until_led_otherwise(Some(leading), Some(PAUSE), &still_loading())
                    .await
            }
        }
    }

    async fn failed(&mut self, leading: Leading, error: &LoadError) -> bool {
        let pause = match error {
            LoadError::Replay { .. } | LoadError::Batch { .. } => LONG_PAUSE,
            _ => PAUSE,
        };
        tracing::error!(partition = %self.place.replica.at.partition, %error, "groups cannot be loaded");
        self.set(ShardState::Failed(error.to_string()));
        let told = format!("what the group has stored cannot be loaded: {error}");
        let refusal = GroupError::host(ErrorCode::CoordinatorNotAvailable, told);
        self.refuse_until_led_otherwise(Some(leading), Some(pause), &refusal)
            .await
    }

    /// Refuses whoever asks, until the leadership is another than `seen`, or the pause is over; false: nobody can ask any
    /// more.
    async fn refuse_until_led_otherwise(
        &mut self,
        seen: Option<Leading>,
        pause: Option<Duration>,
        refusal: &GroupError,
    ) -> bool {
        let replica = Arc::clone(&self.place.replica);
        let otherwise = async {
            let mut waiter = Waiter::default();
            loop {
                let view = replica.view();
                if view.leading != seen {
                    return;
                }
                replica.wait(&mut waiter, 0, Offset::MAX, &view);
                waiter.fired().await;
            }
        };
        let paused = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let until = async {
            tokio::select! {
                () = otherwise => {}
                () = paused => {}
            }
        };
        refuse_while(&mut self.inbox, refusal, until).await.is_some()
    }
}

/// Refuses whoever asks until `work` is done; `None`: nobody can ask any more.
async fn refuse_while<T>(
    inbox: &mut mpsc::UnboundedReceiver<Message>,
    refusal: &GroupError,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            message = inbox.recv() => match message? {
                // Who is gone by now wants no answer.
                Message::Ask(asked) => drop(asked.answer.send(Err(refusal.clone()))),
                Message::Gone(_) | Message::Expiring(_) => {}
            },
        }
    }
}

pub(super) fn not_here() -> GroupError {
    GroupError::host(
        ErrorCode::NotCoordinator,
        "this broker does not coordinate the group: ask the broker that does",
    )
}

fn still_loading() -> GroupError {
    GroupError::host(
        ErrorCode::CoordinatorLoading,
        "the coordinator is reading what the group has stored: ask again in a moment",
    )
}

/// Memory of the process that is no file's.
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}
