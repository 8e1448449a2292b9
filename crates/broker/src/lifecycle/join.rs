//! Into the cluster: logs are opened, the broker says what it has, and is let in.

use super::StartError;
use super::boot::{Core, Member, Opened, Shell, blocking};
use super::follow::Following;
use crate::config::Config;
use crate::controllers::{Feed, Life, LifeParts, Refused};
use crate::data_plane::{OpenPlaneError, OpenSummary};
use quipu_metadata::{
    CutPartition, FeatureLevel, Incarnation, LifecycleConfig, LifecycleStage, Listener, RegisterBroker,
};
use quipu_record::BrokerEpoch;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A broker that is to go waits so long for others to take over, while no controller can be reached.
const ALONE: Duration = Duration::from_secs(3);

/// A broker in its cluster.
pub(super) struct Joined {
    pub(super) epoch: BrokerEpoch,
    pub(super) life: Life,
    pub(super) following: Following,
}

/// Joins the cluster; on return the broker leads what it should, in the epoch that is answered, and follows the
/// metadata.
pub(super) async fn join(
    shell: &Shell,
    member: &Member,
    core: &Core,
    feed: Feed,
) -> Result<Joined, StartError> {
    let logs = member.opened.boot.logs.len();
    shell.health.step(format!("opening {logs} logs"));
    let summary = open_logs(&member.opened, core).await?;
    core.local.opened(&summary);

    shell.health.step("registering");
    let (life, refused) = Life::begin(LifeParts {
        controllers: member.group.controllers.clone(),
        sessions: member.group.sessions.clone(),
        cluster: member.identity.cluster,
        registration: registration(shell, member, &summary),
        applied: core.applied.clone(),
        offline: core.data.watch_offline(),
        fatal: shell.fatal.clone(),
        config: life_config(&shell.config),
    });
    let epoch = registered(shell, &life, refused).await?;
    let (dir, page_cache) = (member.opened.dir.clone(), member.opened.page_cache.clone());
    let remembered = blocking(move || page_cache.remember(dir.disk(), dir.root())).await;
    remembered.map_err(|source| shell.data_dir_error(source))?;
    core.ids.registered(epoch);
    core.data.registered(epoch);
    core.data
        .propose_by(epoch, Arc::new(member.group.controllers.clone()));
    let (data, applied) = (core.data.clone(), core.applied.clone());
    let following = Following::start(feed, data, applied, shell.fatal.clone());

    shell.health.step("being unfenced");
    life.ready();
    let mut standing = life.standing();
    tokio::select! {
        // The image in effect says so.
        _ = standing.wait_for(|standing| standing.stage == LifecycleStage::Serving) => {}
        reason = shell.fatal.announced() => return Err(StartError::Fatal(reason)),
    }
    Ok(Joined {
        epoch,
        life,
        following,
    })
}

fn life_config(config: &Config) -> LifecycleConfig {
    let defaults = LifecycleConfig::default();
    let heartbeat = config.controllers.heartbeat;
    let drain_max = config.drain_timeout * 2 / 3;
    LifecycleConfig {
        heartbeat,
        heartbeat_in_a_hurry: defaults.heartbeat_in_a_hurry.min(heartbeat),
        answer_max: (config.controllers.session_timeout / 2).min(defaults.answer_max),
        drain_max,
        drain_alone_max: ALONE.min(drain_max),
        ..defaults
    }
}

/// Waits until the broker is registered, or refused for good.
async fn registered(
    shell: &Shell,
    life: &Life,
    mut refused: mpsc::Receiver<Refused>,
) -> Result<BrokerEpoch, StartError> {
    let mut standing = life.standing();
    let epoch = async {
        match standing.wait_for(|standing| standing.epoch.is_some()).await {
            Ok(standing) => standing.epoch,
            Err(_) => None,
        }
    };
    tokio::select! {
        Some(epoch) = epoch => Ok(epoch),
        Some(refused) = refused.recv() => Err(StartError::Register(refused)),
        reason = shell.fatal.announced() => Err(StartError::Fatal(reason)),
    }
}

async fn open_logs(opened: &Opened, core: &Core) -> Result<OpenSummary, OpenPlaneError> {
    let (data, image, found) = (core.data.clone(), core.applied.image(), opened.boot.logs.clone());
    let summary = blocking(move || data.open(&image, &found)).await?;
    let OpenSummary {
        logs,
        cut,
        damaged,
        scanned,
    } = &summary;
    tracing::info!(
        logs,
        cut = cut.len(),
        damaged = damaged.len(),
        scanned,
        "logs are open"
    );
    Ok(summary)
}

fn registration(shell: &Shell, member: &Member, summary: &OpenSummary) -> RegisterBroker {
    let Member {
        opened,
        identity,
        addresses,
        ..
    } = member;
    let all = addresses.listeners.iter().chain([&addresses.internal]);
    let listeners = all.map(|address| Listener {
        name: address.name.to_string(),
        advertised: address.advertised.to_string(),
        protocol: address.protocol.to_owned(),
    });
    let cut = summary.cut.iter().map(|cut| CutPartition {
        at: cut.at,
        last_epoch: cut.last_epoch,
        log_end: cut.log_end,
    });
    RegisterBroker {
        id: identity.broker,
        incarnation: Incarnation::from_u128(Uuid::new_v4().as_u128()),
        cluster_id: Some(identity.cluster),
        directory: identity.directory,
        listeners: listeners.collect(),
        rack: Some(shell.config.broker.rack.clone()).filter(|rack| !rack.is_empty()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_level: FeatureLevel::SUPPORTED,
        clean_epoch: opened.boot.clean_shutdown,
        page_cache_kept: opened.page_cache.kept,
        cut: cut.collect(),
        damaged: summary.damaged.iter().map(|damaged| damaged.at).collect(),
    }
}
