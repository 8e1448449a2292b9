//! What openraft says of itself, told on: who is active, and what has failed.

use super::Metrics;
use crate::controller::Activity;
use crate::publish::{Failing, Published};
use crate::raft::{Proposal, Runtime, Types};
use crate::wal::LogPlace;
use openraft::error::Fatal;
use openraft::{ChangeMembers, Raft};
use quipu_metadata::{ClusterId, Command, FeatureLevel, InitCluster};
use quipu_record::MetadataVersion;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Tells whether this controller is the active one, and does what a new active one must. `fresh` is the cluster's id if it
/// has none yet.
pub(super) async fn observe<R: Runtime>(
    raft: Raft<Types<R>>,
    published: Published,
    active: watch::Sender<Activity>,
    fresh: ClusterId,
) {
    let mut metrics = raft.metrics();
    let mut terms = published.terms();
    loop {
        let began = *terms.borrow_and_update();
        let (now, joint) = {
            let metrics = metrics.borrow_and_update();
            let joint = metrics.membership_config.membership().get_joint_config().len() > 1;
            (activity(&metrics, began), joint)
        };
        let before = *active.borrow();
        if before != now {
            active.send_replace(now);
            tracing::info!(
                term = now.term,
                active = now.is_active(),
                "the metadata group's term or leader changed"
            );
        }
        if now.is_active() && (before != now) {
            if published.image().cluster_id().is_none() {
                drop(R::spawn(init_cluster(raft.clone(), fresh)));
            }
            if joint {
                drop(R::spawn(finish_change(raft.clone())));
            }
        }
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() {
                // The core is gone.
                active.send_modify(|activity| activity.since = None);
                return;
            },
            // Its sender lives as long as this task's clone of it.
            _ = terms.changed() => {}
        }
    }
}

/// A leader is active once the first entry of its own term is applied: its image then holds all that was ever committed.
fn activity(metrics: &Metrics, began: LogPlace) -> Activity {
    let leads = metrics.state.is_leader() && metrics.current_leader == Some(metrics.id);
    let own = began.term == metrics.current_term && began.leader == metrics.id;
    Activity {
        term: metrics.current_term,
        since: (leads && own).then(|| MetadataVersion::new(began.index)),
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
