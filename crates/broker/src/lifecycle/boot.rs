//! From a configuration to a broker that serves.

use super::follow::Following;
use super::identity::{self, Identity, IdentityError};
use super::local::LocalState;
use super::machine::{FileBudget, INTERNAL_CONNECTIONS};
use super::producer_ids::ControllerIds;
use super::services::Services;
use super::{ADDRESSES_FILE, Addresses, Running, Serving, StartError, Tasks, join, machine};
use crate::admit::{Admission, Phase};
use crate::applied::Applied;
use crate::config::{Config, LimitsConfig};
use crate::data_plane::{DataPlane, DataPlaneConfig};
use crate::fatal::Fatal;
use crate::health::Health;
use crate::http;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::metrics::collect::BrokerCollector;
use crate::replication::ReplicationConfig;
use crate::server::{self, BindError, Bound, Served};
use quipu_controller::{Controller, ControllerConfig, Nowhere};
use quipu_metadata::DirectoryId;
use quipu_record::BrokerEpoch;
use quipu_storage::{Boot, DataDir, DataDirError, DataDirOptions, RealDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;
use uuid::Uuid;

/// Where the controller keeps its log and snapshots, in the data directory.
const CONTROLLER_DIR: &str = "metadata";

/// Starts a broker; on return it serves.
pub(crate) async fn boot(config: Config, logs: LogControl) -> Result<Running, StartError> {
    let mut shell = Shell::new(config, logs);
    let listeners = shell.bind().await?;
    let internal = shell.bind_internal().await?;
    let http = shell.serve_http().await?;
    let opened = shell.open().await?;
    let addresses = Addresses {
        broker_id: opened.identity.broker,
        cluster_id: opened.identity.cluster,
        listeners: listeners.iter().map(|bound| bound.address.clone()).collect(),
        internal: internal.address.clone(),
        http,
    };
    let subscription = opened.controller.subscribe();
    let core = shell.core(&opened, Applied::new(subscription.image().clone()))?;
    // Clients are told that the broker is starting, which is more than a port that does not answer.
    let routes = shell.routes(&opened, &core);
    let internal = shell.serve_internal(internal, routes.clone());
    let serving = shell.serve(listeners, routes);
    let (epoch, following) = join::join(&shell, &opened, &core, subscription, &addresses).await?;
    shell.announce(&addresses)?;
    Ok(shell.running(opened, core, addresses, (serving, internal), (epoch, following)))
}

/// What is there before anything of the data is read.
pub(super) struct Shell {
    pub(super) config: Config,
    files: FileBudget,
    logs: LogControl,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    pub(super) fatal: Fatal,
    pub(super) health: Health,
    cut: watch::Sender<bool>,
    tasks: Tasks,
}

/// The data directory, who it is, and the metadata in it.
pub(super) struct Opened {
    dir: DataDir<RealDisk>,
    pub(super) boot: Boot,
    pub(super) identity: Identity,
    pub(super) page_cache_kept: bool,
    pub(super) controller: Controller,
}

/// What serves clients.
pub(super) struct Core {
    pub(super) data: Arc<DataPlane>,
    pub(super) ids: Arc<ControllerIds>,
    pub(super) applied: Arc<Applied>,
    pub(super) local: Arc<LocalState>,
}

impl Shell {
    fn new(config: Config, logs: LogControl) -> Self {
        let admission = Arc::new(Admission::default());
        let fatal = Fatal::default();
        let files = machine::file_budget(config.storage.open_files, config.limits.connections);
        Self {
            config,
            files,
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
        let slots = Arc::new(Semaphore::new(self.files.connections));
        let mut listeners = Vec::with_capacity(self.config.listeners.len());
        for listener in &self.config.listeners {
            listeners.push(Bound::bind(listener, slots.clone(), &self.metrics).await?);
        }
        Ok(listeners)
    }

    /// Others find their places beside those of clients: a flood of clients must not keep a controller out.
    async fn bind_internal(&self) -> Result<Bound, BindError> {
        let slots = Arc::new(Semaphore::new(INTERNAL_CONNECTIONS));
        Bound::bind(&self.config.internal, slots, &self.metrics).await
    }

    async fn serve_http(&mut self) -> Result<Option<SocketAddr>, BindError> {
        let Some(bind) = &self.config.http.bind else {
            return Ok(None);
        };
        let (listener, address) = server::listener::bind("http.bind", bind).await?;
        self.tasks
            .spawn(http::serve(listener, self.health.clone(), self.metrics.clone()));
        Ok(Some(address))
    }

    async fn open(&mut self) -> Result<Opened, StartError> {
        self.health.step("opening the data directory");
        let (dir, boot) = self.open_data_dir().await?;
        let known = self.known_identity(&dir).await?;
        let asked = dir.clone();
        let kept = blocking(move || machine::page_cache_kept(asked.disk(), asked.root())).await;
        let page_cache_kept = kept.map_err(|source| self.data_dir_error(source))?;

        self.health.step("starting the controller");
        let config = ControllerConfig::new(dir.root().join(CONTROLLER_DIR));
        let controller = Controller::start(config, dir.disk().clone(), Nowhere).await?;
        let (failing, fatal) = (controller.clone(), self.fatal.clone());
        self.tasks
            .spawn(async move { fatal.announce(failing.failed().await) });
        let identity = self.settle_identity(known, &controller, &dir).await?;
        Ok(Opened {
            dir,
            boot,
            identity,
            page_cache_kept,
            controller,
        })
    }

    async fn open_data_dir(&self) -> Result<(DataDir<RealDisk>, Boot), StartError> {
        let root = self.config.data_dir.clone();
        let options = DataDirOptions {
            open_files: self.files.segments,
            open_files_max: self.files.segments_max,
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

    /// Who the directory is, if it says so.
    async fn known_identity(&self, dir: &DataDir<RealDisk>) -> Result<Option<Identity>, IdentityError> {
        let dir = dir.clone();
        let known = blocking(move || Identity::read(dir.disk(), dir.root())).await?;
        if let Some(identity) = &known {
            identity.check(&self.config, &self.config.data_dir)?;
        }
        Ok(known)
    }

    /// Holds the directory's identity against the controller's cluster; writes one if the directory is new.
    async fn settle_identity(
        &self,
        known: Option<Identity>,
        controller: &Controller,
        dir: &DataDir<RealDisk>,
    ) -> Result<Identity, StartError> {
        let image = controller.image();
        let root = &self.config.data_dir;
        let no_cluster = || StartError::Fatal("the controller has started without a cluster".into());
        let cluster = image.cluster_id().ok_or_else(no_cluster)?;
        if let Some(identity) = known {
            identity.check_cluster(cluster, root)?;
            return Ok(identity);
        }
        let broker = self.config.broker.id;
        if image.broker_count() > 0 {
            let file = identity::path(root);
            return Err(IdentityError::Missing { file }.into());
        }
        let identity = Identity {
            cluster,
            broker,
            directory: DirectoryId::from_u128(Uuid::new_v4().as_u128()),
        };
        identity.check(&self.config, root)?;
        let dir = dir.clone();
        blocking(move || identity.write(dir.disk(), dir.root())).await?;
        Ok(identity)
    }

    fn core(&self, opened: &Opened, applied: Applied) -> Result<Core, StartError> {
        let ids = Arc::new(ControllerIds::new(
            opened.controller.clone(),
            opened.identity.broker,
        ));
        let started = DataPlane::start(
            self.data_plane_config(),
            opened.dir.clone(),
            ids.clone(),
            self.metrics.clone(),
            self.fatal.clone(),
        );
        let data = started.map_err(|source| StartError::System {
            doing: "starting the partition threads".to_owned(),
            source,
        })?;
        let core = Core {
            data: Arc::new(data),
            ids,
            applied: Arc::new(applied),
            local: Arc::new(LocalState::new(opened.dir.root().to_owned())),
        };
        self.metrics.add_collector(BrokerCollector {
            broker: opened.identity.broker,
            controller: opened.controller.clone(),
            applied: core.applied.clone(),
            data: Arc::downgrade(&core.data),
            data_dir: opened.dir.root().to_owned(),
        });
        Ok(core)
    }

    fn data_plane_config(&self) -> DataPlaneConfig {
        let Config {
            limits,
            threads,
            storage,
            broker,
            replication,
            ..
        } = &self.config;
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        DataPlaneConfig {
            broker: broker.id,
            partition_threads: threads.partition,
            read_threads: threads.read,
            queue_bytes: bytes(limits.queue_bytes),
            tail_bytes: bytes(limits.tail_bytes),
            stream_window_bytes: bytes(limits.stream_window_bytes),
            message_bytes_max: server::message_bytes_max(limits),
            flush_method: storage.flush_method,
            replication: ReplicationConfig {
                fetch_wait: replication.fetch_wait,
                fetch_bytes: bytes(replication.fetch_bytes),
                lag_max: replication.lag_max,
            },
            ..DataPlaneConfig::default()
        }
    }

    fn routes(&mut self, opened: &Opened, core: &Core) -> Routes {
        let services = Services {
            config: &self.config,
            admission: &self.admission,
            metrics: &self.metrics,
            health: &self.health,
            logs: &self.logs,
            controller: &opened.controller,
            core,
        };
        services.routes(&mut self.tasks)
    }

    fn serve(&self, listeners: Vec<Bound>, routes: Routes) -> Serving {
        let admission = self.admission.clone();
        let limits = self.config.limits.clone();
        let cut = self.cut.subscribe();
        Serving(tokio::spawn(async move {
            let drained = async move { admission.drained().await };
            server::serve(listeners, routes, limits, drained, cut).await;
        }))
    }

    /// Serves other brokers and controllers until the very end: they go on while this one drains.
    fn serve_internal(&self, listener: Bound, routes: impl Into<Served>) -> Serving {
        let served = routes.into();
        let limits = LimitsConfig {
            connections: INTERNAL_CONNECTIONS,
            ..self.config.limits.clone()
        };
        // It ends with its task.
        let (_, never_cut) = watch::channel(false);
        Serving(tokio::spawn(server::serve(
            vec![listener],
            served,
            limits,
            std::future::pending(),
            never_cut,
        )))
    }

    /// Says that the broker is there, where scripts and probes look.
    fn announce(&self, addresses: &Addresses) -> Result<(), StartError> {
        let file = self.config.data_dir.join(ADDRESSES_FILE);
        std::fs::write(&file, addresses.lines()).map_err(|source| StartError::System {
            doing: format!("writing {}", file.display()),
            source,
        })?;
        self.admission.enter(Phase::Running);
        self.health.set_ready();
        let (broker, cluster) = (addresses.broker_id, addresses.cluster_id);
        let addresses = addresses.lines().trim_end().replace('\n', " ");
        tracing::info!(%broker, %cluster, addresses, "ready");
        Ok(())
    }

    fn running(
        self,
        opened: Opened,
        core: Core,
        addresses: Addresses,
        (serving, internal): (Serving, Serving),
        (epoch, following): (BrokerEpoch, Following),
    ) -> Running {
        Running {
            addresses,
            admission: self.admission,
            fatal: self.fatal,
            controller: opened.controller,
            data: core.data,
            epoch,
            data_dir: self.config.data_dir,
            drain_timeout: self.config.drain_timeout,
            cut: self.cut,
            serving,
            internal,
            following,
            tasks: self.tasks,
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
