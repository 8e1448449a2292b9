//! From a configuration to a broker that serves.

use super::identity::{self, Identity, IdentityError};
use super::local::LocalState;
use super::producer_ids::ControllerIds;
use super::services::Services;
use super::{ADDRESSES_FILE, Addresses, Running, Serving, Tasks, follow, machine};
use crate::admit::{Admission, Phase};
use crate::applied::Applied;
use crate::config::Config;
use crate::data_plane::{DataPlane, DataPlaneConfig, OpenPlaneError, OpenSummary};
use crate::fatal::Fatal;
use crate::health::Health;
use crate::http;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::metrics::collect::BrokerCollector;
use crate::server::{self, BindError, Bound};
use quipu_controller::{Controller, ControllerConfig, ProposeError, StartError as ControllerStartError};
use quipu_metadata::{
    BrokerError, CutPartition, DirectoryId, FeatureLevel, Image, Incarnation, Listener, RegisterBroker,
    RegisterBrokerError, UnfenceBroker,
};
use quipu_record::{BrokerEpoch, MetadataVersion};
use quipu_storage::{Boot, DataDir, DataDirError, DataDirOptions, RealDisk};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

/// Where the controller keeps its log and snapshots, in the data directory.
const CONTROLLER_DIR: &str = "metadata";
/// Another process of this broker may be registering in the same moment: once more, a little later.
const REGISTER_AGAIN: Duration = Duration::from_millis(100);

/// Why a broker does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It cannot listen where it should.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error("data.dir {}: {source}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: DataDirError,
    },
    /// The system refuses something that cannot be done without.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// What it says.
        source: io::Error,
    },
    /// The data directory is not this broker's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The controller does not start.
    #[error("the controller does not start: {0}")]
    Controller(#[from] ControllerStartError),
    /// The logs do not open.
    #[error("the logs do not open: {0}")]
    Logs(#[from] OpenPlaneError),
    /// The cluster does not take this broker.
    #[error("the broker cannot register: {0}")]
    Register(ProposeError<RegisterBrokerError>),
    /// The cluster does not let it lead.
    #[error("the broker cannot be unfenced: {0}")]
    Unfence(ProposeError<BrokerError>),
    /// Something unrecoverable happened on the way.
    #[error("{0}")]
    Fatal(Arc<str>),
}

/// What is there before anything of the data is read.
struct Shell {
    config: Config,
    logs: LogControl,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    fatal: Fatal,
    health: Health,
    cut: watch::Sender<bool>,
    tasks: Tasks,
}

/// Starts a broker; on return it serves.
pub(crate) async fn boot(config: Config, logs: LogControl) -> Result<Running, StartError> {
    let mut shell = Shell::new(config, logs);
    machine::allow_files(shell.config.storage.open_files, shell.config.limits.connections);
    let listeners = shell.bind().await?;
    let http = shell.serve_http().await?;

    shell.health.step("opening the data directory");
    let (dir, boot) = shell.open_data_dir().await?;
    let (identity, known) = shell.identity(&dir).await?;
    let cut_cache = dir.clone();
    let page_cache_kept =
        blocking(move || machine::page_cache_kept(cut_cache.disk(), cut_cache.root())).await;
    let page_cache_kept = page_cache_kept.map_err(|source| shell.data_dir_error(source))?;

    shell.health.step("starting the controller");
    let mut controller_config = ControllerConfig::new(dir.root().join(CONTROLLER_DIR));
    controller_config.address = String::new();
    let controller = Controller::start(controller_config, dir.disk().clone()).await?;
    let identity = shell.settle_identity(identity, known, &controller, &dir).await?;
    shell.watch_controller(&controller);

    let ids = Arc::new(ControllerIds::new(controller.clone(), identity.broker));
    let data = shell.start_data_plane(&dir, ids.clone())?;
    let subscription = controller.subscribe();
    let image = subscription.image().clone();
    let applied = Arc::new(Applied::new(image.clone()));
    let local = Arc::new(LocalState::new(dir.root().to_owned()));

    shell.metrics.add_collector(BrokerCollector {
        broker: identity.broker,
        controller: controller.clone(),
        applied: applied.clone(),
        data: data.clone(),
        data_dir: dir.root().to_owned(),
    });

    let addresses = Addresses {
        broker_id: identity.broker,
        cluster_id: identity.cluster,
        listeners: listeners.iter().map(|bound| bound.address.clone()).collect(),
        http,
    };
    let services = Services {
        config: &shell.config,
        admission: &shell.admission,
        metrics: &shell.metrics,
        health: &shell.health,
        logs: &shell.logs,
        controller: &controller,
        applied: &applied,
        data: &data,
        local: &local,
    };
    let routes = services.routes(&mut shell.tasks);
    let serving = shell.serve(listeners, routes);

    shell.health.step(format!("opening {} logs", boot.logs.len()));
    let summary = open_logs(&data, &image, &boot).await?;
    local.opened(&summary);

    shell.health.step("registering");
    let registration = registration(
        &shell.config,
        identity,
        &addresses,
        &boot,
        page_cache_kept,
        &summary,
    );
    let epoch = register(&controller, registration).await?;
    ids.registered(epoch);
    data.registered(epoch);
    shell.tasks.spawn(follow::follow(
        subscription,
        data.clone(),
        applied.clone(),
        shell.fatal.clone(),
    ));

    shell.health.step("being unfenced");
    let unfence = UnfenceBroker {
        id: identity.broker,
        epoch,
    };
    let unfenced = controller.propose(unfence).await.map_err(StartError::Unfence)?;
    shell.in_effect(&applied, unfenced.version).await?;
    shell.announce(&addresses, unfenced.outcome.elections)?;
    Ok(shell.running(addresses, controller, data, epoch, serving))
}

impl Shell {
    fn new(config: Config, logs: LogControl) -> Self {
        let admission = Arc::new(Admission::default());
        let fatal = Fatal::default();
        Self {
            config,
            logs,
            metrics: Arc::new(Metrics::default()),
            health: Health::new(admission.clone(), fatal.clone()),
            admission,
            fatal,
            cut: watch::Sender::new(false),
            tasks: Tasks::default(),
        }
    }

    async fn bind(&self) -> Result<Vec<Bound>, BindError> {
        let slots = Arc::new(Semaphore::new(self.config.limits.connections));
        let mut listeners = Vec::with_capacity(self.config.listeners.len());
        for listener in &self.config.listeners {
            listeners.push(Bound::bind(listener, slots.clone(), &self.metrics, self.cut.subscribe()).await?);
        }
        Ok(listeners)
    }

    async fn serve_http(&mut self) -> Result<Option<std::net::SocketAddr>, BindError> {
        let Some(bind) = &self.config.http.bind else {
            return Ok(None);
        };
        let (listener, address) = server::listener::bind("http.bind", bind).await?;
        // Its end is that of the broker.
        self.tasks.spawn(http::serve(
            listener,
            self.health.clone(),
            self.metrics.clone(),
            std::future::pending(),
        ));
        Ok(Some(address))
    }

    async fn open_data_dir(&self) -> Result<(DataDir<RealDisk>, Boot), StartError> {
        let root = self.config.data_dir.clone();
        let open_files = self.config.storage.open_files;
        let options = DataDirOptions {
            open_files,
            open_files_max: open_files.saturating_add(open_files / 2),
        };
        let disk = RealDisk::new(&root).map_err(|source| StartError::System {
            doing: format!("data.dir {} cannot be made or opened", root.display()),
            source,
        })?;
        let opened = blocking(move || DataDir::open(disk, root, options)).await;
        let (dir, boot) = opened.map_err(|source| self.data_dir_error(source))?;
        for repair in &boot.repaired {
            tracing::warn!(file = %repair.file.display(), what = repair.what, "made anew");
        }
        if boot.clean_shutdown.is_none() && !boot.logs.is_empty() {
            tracing::warn!("the broker was not shut down cleanly: logs are recovered from their flush marks");
        }
        Ok((dir, boot))
    }

    fn data_dir_error(&self, source: DataDirError) -> StartError {
        StartError::DataDir {
            path: self.config.data_dir.clone(),
            source,
        }
    }

    /// Who the directory is, as far as it says; and whether it says so.
    async fn identity(&self, dir: &DataDir<RealDisk>) -> Result<(DirectoryId, Option<Identity>), StartError> {
        let dir = dir.clone();
        let known = blocking(move || Identity::read(dir.disk(), dir.root())).await?;
        if let Some(identity) = &known {
            identity.check(&self.config, &self.config.data_dir)?;
        }
        let fresh = DirectoryId::from_u128(Uuid::new_v4().as_u128());
        Ok((known.map_or(fresh, |identity| identity.directory), known))
    }

    /// Holds the directory's identity against the controller's cluster; writes it if the directory is new.
    async fn settle_identity(
        &self,
        directory: DirectoryId,
        known: Option<Identity>,
        controller: &Controller,
        dir: &DataDir<RealDisk>,
    ) -> Result<Identity, StartError> {
        let image = controller.image();
        let root = &self.config.data_dir;
        let cluster = image
            .cluster_id()
            .ok_or_else(|| StartError::Fatal("the controller has no cluster".into()))?;
        if let Some(identity) = known {
            identity.check_cluster(cluster, root)?;
            return Ok(identity);
        }
        let broker = self.config.broker.id;
        if image.broker(broker).is_some() {
            let file = identity::path(root);
            return Err(IdentityError::Missing { file, broker }.into());
        }
        let identity = Identity {
            cluster,
            broker,
            directory,
        };
        identity.check(&self.config, root)?;
        let dir = dir.clone();
        blocking(move || identity.write(dir.disk(), dir.root())).await?;
        Ok(identity)
    }

    fn watch_controller(&mut self, controller: &Controller) {
        let (controller, fatal) = (controller.clone(), self.fatal.clone());
        self.tasks.spawn(async move {
            let failure = controller.failed().await;
            fatal.announce(failure);
        });
    }

    fn start_data_plane(
        &self,
        dir: &DataDir<RealDisk>,
        ids: Arc<ControllerIds>,
    ) -> Result<Arc<DataPlane>, StartError> {
        let Config {
            limits,
            threads,
            storage,
            broker,
            ..
        } = &self.config;
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let config = DataPlaneConfig {
            broker: broker.id,
            partition_threads: threads.partition,
            read_threads: threads.read,
            queue_bytes: bytes(limits.queue_bytes),
            tail_bytes: bytes(limits.tail_bytes),
            stream_window_bytes: bytes(limits.stream_window_bytes),
            message_bytes_max: server::message_bytes_max(limits),
            flush_method: storage.flush_method,
            ..DataPlaneConfig::default()
        };
        let started = DataPlane::start(config, dir.clone(), ids, self.metrics.clone(), self.fatal.clone());
        let data = started.map_err(|source| StartError::System {
            doing: "starting the partition threads".to_owned(),
            source,
        })?;
        Ok(Arc::new(data))
    }

    fn serve(&self, listeners: Vec<Bound>, routes: tonic::service::Routes) -> Serving {
        let admission = self.admission.clone();
        let limits = self.config.limits.clone();
        Serving(tokio::spawn(async move {
            let drained = async move { admission.drained().await };
            if let Err(error) = server::serve(listeners, routes, &limits, drained).await {
                tracing::error!(%error, "clients are no longer served");
            }
        }))
    }

    /// Waits until this version of the metadata is in effect here.
    async fn in_effect(&self, applied: &Applied, version: MetadataVersion) -> Result<(), StartError> {
        tokio::select! {
            _ = applied.at_least(version) => Ok(()),
            reason = self.fatal.announced() => Err(StartError::Fatal(reason)),
        }
    }

    /// Says that the broker is there, where scripts and probes look.
    fn announce(&self, addresses: &Addresses, elections: usize) -> Result<(), StartError> {
        let file = self.config.data_dir.join(ADDRESSES_FILE);
        std::fs::write(&file, addresses.lines()).map_err(|source| StartError::System {
            doing: format!("writing {}", file.display()),
            source,
        })?;
        self.admission.enter(Phase::Running);
        self.health.set_ready();
        let (broker, cluster) = (addresses.broker_id, addresses.cluster_id);
        let listening = addresses.lines().trim_end().replace('\n', " ");
        tracing::info!(%broker, %cluster, %listening, leads = elections, "ready");
        Ok(())
    }

    fn running(
        self,
        addresses: Addresses,
        controller: Controller,
        data: Arc<DataPlane>,
        epoch: BrokerEpoch,
        serving: Serving,
    ) -> Running {
        Running {
            addresses,
            admission: self.admission,
            metrics: self.metrics,
            health: self.health,
            fatal: self.fatal,
            controller,
            data,
            epoch,
            data_dir: self.config.data_dir,
            drain_timeout: self.config.drain_timeout,
            cut: self.cut,
            serving,
            tasks: self.tasks,
        }
    }
}

async fn open_logs(
    data: &Arc<DataPlane>,
    image: &Arc<Image>,
    boot: &Boot,
) -> Result<OpenSummary, OpenPlaneError> {
    let (data, image, found) = (data.clone(), image.clone(), boot.logs.clone());
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
    config: &Config,
    identity: Identity,
    addresses: &Addresses,
    boot: &Boot,
    page_cache_kept: bool,
    summary: &OpenSummary,
) -> RegisterBroker {
    let listeners = addresses.listeners.iter().map(|address| Listener {
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
        rack: Some(config.broker.rack.clone()).filter(|rack| !rack.is_empty()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_level: FeatureLevel::SUPPORTED,
        clean_epoch: boot.clean_shutdown,
        page_cache_kept,
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

/// Runs what blocks on a thread of its own. A panic there is one here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime is going down, and nobody waits for the answer any more.
            Err(_) => std::future::pending().await,
        },
    }
}
