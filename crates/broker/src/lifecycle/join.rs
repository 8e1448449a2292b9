//! Into the cluster: logs are opened, the broker says what it has, and is let in.

use super::boot::{Core, Opened, Shell, blocking};
use super::follow::Following;
use super::{Addresses, StartError};
use crate::applied::Applied;
use crate::data_plane::{OpenPlaneError, OpenSummary};
use quipu_controller::{Controller, ProposeError, Subscription};
use quipu_metadata::{
    CutPartition, FeatureLevel, Incarnation, Listener, RegisterBroker, RegisterBrokerError, UnfenceBroker,
};
use quipu_record::{BrokerEpoch, MetadataVersion};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Another process of this broker may be registering in the same moment: once more, a little later.
const REGISTER_AGAIN: Duration = Duration::from_millis(100);

/// Joins the cluster; on return the broker leads what it should, in the epoch that is answered, and follows the
/// metadata.
pub(super) async fn join(
    shell: &Shell,
    opened: &Opened,
    core: &Core,
    subscription: Subscription,
    addresses: &Addresses,
) -> Result<(BrokerEpoch, Following), StartError> {
    shell
        .health
        .step(format!("opening {} logs", opened.boot.logs.len()));
    let summary = open_logs(opened, core).await?;
    core.local.opened(&summary);

    shell.health.step("registering");
    let registration = registration(shell, opened, addresses, &summary);
    let epoch = register(&opened.controller, registration).await?;
    core.ids.registered(epoch);
    core.data.registered(epoch);
    core.data.propose_by(epoch, Arc::new(opened.controller.clone()));
    let (data, applied) = (core.data.clone(), core.applied.clone());
    let following = Following::start(subscription, data, applied, shell.fatal.clone());

    shell.health.step("being unfenced");
    let id = opened.identity.broker;
    let unfenced = opened.controller.propose(UnfenceBroker { id, epoch }).await;
    let unfenced = unfenced.map_err(StartError::Unfence)?;
    in_effect(shell, &core.applied, unfenced.version).await?;
    Ok((epoch, following))
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

fn registration(
    shell: &Shell,
    opened: &Opened,
    addresses: &Addresses,
    summary: &OpenSummary,
) -> RegisterBroker {
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
        id: opened.identity.broker,
        incarnation: Incarnation::from_u128(Uuid::new_v4().as_u128()),
        cluster_id: Some(opened.identity.cluster),
        directory: opened.identity.directory,
        listeners: listeners.collect(),
        rack: Some(shell.config.broker.rack.clone()).filter(|rack| !rack.is_empty()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_level: FeatureLevel::SUPPORTED,
        clean_epoch: opened.boot.clean_shutdown,
        page_cache_kept: opened.page_cache_kept,
        cut: cut.collect(),
        damaged: summary.damaged.iter().map(|damaged| damaged.at).collect(),
    }
}

async fn register(controller: &Controller, registration: RegisterBroker) -> Result<BrokerEpoch, StartError> {
    loop {
        match controller.propose(registration.clone()).await {
            Ok(registered) => return Ok(registered.outcome.epoch),
            Err(ProposeError::Refused(RegisterBrokerError::AtOnce { .. })) => {
                tokio::time::sleep(REGISTER_AGAIN).await;
            }
            Err(error) => return Err(StartError::Register(error)),
        }
    }
}

/// Waits until this version of the metadata is in effect here.
async fn in_effect(shell: &Shell, applied: &Applied, version: MetadataVersion) -> Result<(), StartError> {
    tokio::select! {
        _ = applied.at_least(version) => Ok(()),
        reason = shell.fatal.announced() => Err(StartError::Fatal(reason)),
    }
}
