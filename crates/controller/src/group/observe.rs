//! What openraft says of itself, told on: who is active, and what has failed.

use super::Metrics;
use crate::controller::Activity;
use crate::publish::{Failing, Published};
use crate::raft::{Proposal, Runtime, Types};
use openraft::error::Fatal;
use openraft::{ChangeMembers, Raft};
use quipu_metadata::{ClusterId, Command, FeatureLevel, InitCluster};
use quipu_record::MetadataVersion;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// Tells whether this controller is the active one, and does what a new active one must. `fresh` is the cluster's id if it
/// has none yet.
pub(super) async fn observe<R: Runtime>(
    raft: Raft<Types<R>>,
    published: Published,
    active: watch::Sender<Activity>,
    fresh: ClusterId,
    silence_max: Duration,
) {
    let mut metrics = raft.metrics();
    let mut reign: Option<Reign> = None;
    loop {
        let (term, joint) = {
            let metrics = metrics.borrow_and_update();
            reign = Reign::of(&metrics, reign, silence_max);
            let joint = metrics.membership_config.membership().get_joint_config().len() > 1;
            (metrics.current_term, joint)
        };
        let image = published.image();
        if let Some(reign) = reign.as_mut().filter(|reign| reign.complete && !reign.begun) {
            reign.begun = true;
            if image.cluster_id().is_none() {
                drop(R::spawn(init_cluster(raft.clone(), fresh)));
            }
            if joint {
                drop(R::spawn(finish_change(raft.clone())));
            }
        }
        let reigns = reign.filter(|reign| reign.complete && reign.heard && image.cluster_id().is_some());
        let now = Activity {
            term,
            since: reigns.map(|reign| MetadataVersion::new(reign.from)),
        };
        if *active.borrow() != now {
            tracing::info!(
                term,
                active = now.is_active(),
                "the metadata group's term or leader changed"
            );
            active.send_replace(now);
        }
        if metrics.changed().await.is_err() {
            // The core is gone.
            active.send_modify(|activity| activity.since = None);
            return;
        }
    }
}

/// One controller's time as the leader, in one term.
#[derive(Clone, Copy, Debug)]
struct Reign {
    term: u64,
    /// The last entry of its log as it became the leader, or as it came back as such: a leader's log holds all that was
    /// ever committed.
    from: u64,
    /// That entry is in the image.
    complete: bool,
    /// A majority has answered lately. One that is cut off is told by nobody that another leads now: until it hears
    /// otherwise it must not speak for the group.
    heard: bool,
    /// What a new active controller must do is under way.
    begun: bool,
}

impl Reign {
    fn of(metrics: &Metrics, before: Option<Self>, silence_max: Duration) -> Option<Self> {
        if !metrics.state.is_leader() || metrics.current_leader != Some(metrics.id) {
            return None;
        }
        let goes_on = before.filter(|reign| reign.term == metrics.current_term);
        let mut reign = goes_on.unwrap_or(Self {
            term: metrics.current_term,
            from: metrics.last_log_index?,
            complete: false,
            heard: false,
            begun: false,
        });
        reign.complete |= metrics
            .last_applied
            .is_some_and(|applied| applied.index >= reign.from);
        let silent = metrics.millis_since_quorum_ack.map(Duration::from_millis);
        reign.heard = silent.is_some_and(|silent| silent <= silence_max);
        Some(reign)
    }
}

/// Gives a new cluster its id. If it gets none now, the next active controller sees to it.
async fn init_cluster<R: Runtime>(raft: Raft<Types<R>>, cluster_id: ClusterId) {
    let init = InitCluster {
        cluster_id,
        feature_level: FeatureLevel::SUPPORTED,
    };
    let commands = vec![Command::InitCluster(init)];
    if let Err(error) = raft.client_write(Proposal(commands.into())).await {
        tracing::warn!(%error, "the cluster got no id yet");
    }
}

/// Ends the change of voters that an earlier active controller began, and could not finish.
async fn finish_change<R: Runtime>(raft: Raft<Types<R>>) {
    let nobody = ChangeMembers::AddVoterIds(BTreeSet::new());
    if let Err(error) = raft.change_membership(nobody, false).await {
        tracing::warn!(%error, "a change of the controllers that was begun is not finished yet");
    }
}

/// openraft stops for good when its storage fails or a task of it panics. Then the process must.
pub(super) async fn watch_for_failure(mut metrics: watch::Receiver<Metrics>, failing: Failing) {
    loop {
        let state = metrics.borrow_and_update().running_state.clone();
        match state {
            Ok(()) | Err(Fatal::Stopped) => {}
            Err(fatal) => return failing.fail(&fatal.to_string()),
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
