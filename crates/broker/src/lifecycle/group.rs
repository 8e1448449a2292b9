//! Among the controllers: this process's own is started, the internal listener answers, and the cluster is waited for.

use super::boot::{Opened, Shell};
use super::identity::{self, IdentityError};
use super::{Internal, StartError};
use crate::config::{HostPort, Role};
use crate::controllers::{self as plane, Controllers, Feed, Sessions};
use crate::server::{Bound, Served};
use quipu_controller::grpc::{GrpcTransport, raft_service};
use quipu_controller::{Bootstrap, Controller, ControllerConfig, Nowhere};
use quipu_metadata::{ClusterId, LivenessConfig};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::service::{Routes, RoutesBuilder};

/// Where the controller keeps its log and snapshots, in the data directory.
const CONTROLLER_DIR: &str = "metadata";
/// Voters that were told something else than this process may be set right for so long, before it gives up.
const CORRECTION: Duration = Duration::from_secs(5);

/// What this process has to do with controllers.
pub(super) struct Group {
    pub(super) controllers: Controllers,
    /// Of brokers, at this process's own controller.
    pub(super) sessions: Option<Sessions>,
    pub(super) internal: Internal,
    /// What the internal listener serves.
    pub(super) served: Served,
}

impl Group {
    /// Starts this process's controller, if it shall have one, and answers other controllers from then on.
    pub(super) async fn start(
        shell: &mut Shell,
        opened: &Opened,
        internal: Bound,
    ) -> Result<Self, StartError> {
        let own = internal.address.advertised.to_string();
        let voters: Vec<String> = texts(&shell.config.controllers.voters);
        let local = match shell.config.broker.has(Role::Controller) {
            true => Some(start_controller(shell, opened, &own, &voters).await?),
            false => None,
        };
        let sessions = local.clone().map(|local| {
            let session = shell.config.controllers.session_timeout;
            let (sessions, task) = Sessions::new(local, LivenessConfig::of_session(session));
            shell.tasks.spawn(task);
            sessions
        });
        let controllers = Controllers::new(local, own, &voters);
        if let Some(known) = &opened.known {
            controllers.settle(known.cluster);
        }
        let mut routes = Routes::builder();
        add_services(&mut routes, &controllers, sessions.as_ref());
        let served = Served::from(routes.routes().prepare());
        Ok(Self {
            controllers,
            sessions,
            internal: shell.serve_internal(internal, served.clone()),
            served,
        })
    }

    /// Waits until this process knows its cluster, and follows its metadata.
    pub(super) async fn joined(&self, shell: &Shell) -> Result<Feed, StartError> {
        if let Some(local) = self.controllers.local() {
            member(shell, local).await?;
        }
        let said = Mutex::new(String::new());
        let waiting = |why: String| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if *said != why {
                said.clone_from(&why);
                shell.health.step(format!("waiting for the metadata: {why}"));
            }
        };
        let fed = tokio::select! {
            feed = self.controllers.feed(waiting) => feed,
            reason = shell.fatal.announced() => return Err(StartError::Fatal(reason)),
        };
        fed.map_err(StartError::OtherCluster)
    }

    /// Refuses controllers that answer for another cluster than this process belongs to.
    pub(super) async fn check(&self, shell: &Shell, ours: ClusterId) -> Result<(), StartError> {
        for node in &self.controllers.survey_configured().await {
            let (address, theirs) = node;
            if *theirs != ours {
                return Err(StartError::Identity(IdentityError::ControllersElsewhere {
                    file: identity::path(&shell.config.data_dir),
                    ours,
                    address: address.clone(),
                    theirs: *theirs,
                }));
            }
        }
        Ok(())
    }
}

/// What other brokers and controllers ask of this process's controller.
pub(super) fn add_services(
    routes: &mut RoutesBuilder,
    controllers: &Controllers,
    sessions: Option<&Sessions>,
) {
    if let (Some(local), Some(sessions)) = (controllers.local(), sessions) {
        routes
            .add_service(plane::server(local.clone(), sessions.clone()))
            .add_service(raft_service(local.clone()));
    }
}

fn texts(addresses: &[HostPort]) -> Vec<String> {
    addresses.iter().map(HostPort::to_string).collect()
}

async fn start_controller(
    shell: &mut Shell,
    opened: &Opened,
    own: &str,
    voters: &[String],
) -> Result<Controller, StartError> {
    shell.health.step("starting the controller");
    let timings = &shell.config.controllers;
    let (election_timeout_min, election_timeout_max) = timings.election_timeouts();
    let config = ControllerConfig {
        address: own.to_owned(),
        voters: voters.to_vec(),
        heartbeat_interval: timings.raft_heartbeat,
        election_timeout_min,
        election_timeout_max,
        ..ControllerConfig::new(opened.dir.root().join(CONTROLLER_DIR))
    };
    let disk = opened.dir.disk().clone();
    let controller = match voters.is_empty() {
        true => Controller::start(config, disk, Nowhere).await?,
        false => Controller::start(config, disk, GrpcTransport::new()).await?,
    };
    let (failing, fatal) = (controller.clone(), shell.fatal.clone());
    let failed = async move { fatal.announce(failing.failed().await) };
    shell.tasks.spawn(failed);
    Ok(controller)
}

/// Waits until the controller is part of a cluster, and says what it waits for.
async fn member(shell: &Shell, controller: &Controller) -> Result<ClusterId, StartError> {
    let telling = async {
        let mut bootstrap = controller.bootstrap();
        loop {
            if let Some(step) = waits_for(&bootstrap.borrow_and_update()) {
                shell.health.step(step);
            }
            if bootstrap.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        joined = member_or_refused(controller) => joined,
        reason = shell.fatal.announced() => Err(StartError::Fatal(reason)),
        () = telling => Err(StartError::Fatal("the controller has stopped".into())),
    }
}

async fn member_or_refused(controller: &Controller) -> Result<ClusterId, StartError> {
    loop {
        let refused = match controller.joined().await {
            Ok(cluster) => return Ok(cluster),
            Err(refused) => refused,
        };
        // The fault may lie elsewhere, and be mended there.
        let mut bootstrap = controller.bootstrap();
        let mended = bootstrap.wait_for(|now| !matches!(now, Bootstrap::Refused(_)));
        if tokio::time::timeout(CORRECTION, mended).await.is_err() {
            return Err(StartError::Bootstrap(refused));
        }
    }
}

fn waits_for(bootstrap: &Bootstrap) -> Option<String> {
    match bootstrap {
        Bootstrap::Missing { addresses } => Some(format!(
            "waiting for the controllers at {}: a new cluster is made only when all of controllers.voters answer",
            addresses.join(", ")
        )),
        Bootstrap::First { address } => Some(format!("waiting for {address} to make the cluster")),
        Bootstrap::Unjoined { address, .. } => Some(format!(
            "waiting to be let in: {address} knows of a cluster that this controller is not part of; run quipu controller join"
        )),
        Bootstrap::Refused(error) => Some(error.to_string()),
        _ => None,
    }
}
