//! From a configuration to a broker that serves.

use super::group::Group;
use super::identity::{self, Identity, IdentityError};
use super::local::LocalState;
use super::machine::{FileBudget, INTERNAL_CONNECTIONS, PageCache};
use super::producer_ids::ControllerIds;
use super::services::Services;
use super::{
    ADDRESSES_FILE, Addresses, Internal, Running, RunningBroker, Serving, StartError, Tasks, join, machine,
};
use crate::admit::{Admission, Phase};
use crate::applied::Applied;
use crate::config::{Config, LimitsConfig, Role};
use crate::data_plane::{DataPlane, DataPlaneConfig};
use crate::fatal::Fatal;
use crate::groups::Groups;
use crate::health::{CatchingUp, Health};
use crate::http;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::metrics::collect::BrokerCollector;
use crate::partition::cleaner::CleanerConfig;
use crate::replication::ReplicationConfig;
use crate::server::{self, Address, BindError, Bound, Served};
use crate::service::consume::Members;
use quipu_coordinator::GroupConfig;
use quipu_metadata::{DirectoryId, Image};
use quipu_record::BrokerId;
use quipu_storage::{Boot, DataDir, DataDirError, DataDirOptions, RealDisk};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;
use uuid::Uuid;

/// Calls at once over one connection of another broker.
const INTERNAL_STREAMS: u32 = 65_536;

/// Starts a broker, or a controller alone; on return it serves.
pub(crate) async fn boot(config: Config, logs: LogControl) -> Result<Running, StartError> {
    let mut shell = Shell::new(config, logs);
    let listeners = shell.bind().await?;
    let internal = shell.bind_internal().await?;
    let http = shell.serve_http().await?;
    let opened = shell.open().await?;
    let (bound, own) = (addresses(&listeners), internal.address.clone());
    let group = Group::start(&mut shell, &opened, internal).await?;
    let feed = group.joined(&shell).await?;
    let identity = shell.settle_identity(&opened, feed.image()).await?;
    group.controllers.settle(identity.cluster);
    group.check(&shell, identity.cluster).await?;
    let addresses = Addresses {
        broker_id: identity.broker,
        cluster_id: identity.cluster,
        listeners: bound,
        internal: own,
        http,
    };
    let member = Member {
        opened,
        identity,
        group,
        addresses,
    };
    if !shell.config.broker.has(Role::Broker) {
        shell.announce(&member.addresses)?;
        shell.health.set_ready();
        return Ok(shell.running(member, None));
    }
    let core = shell.core(&member, Applied::new(feed.image().clone()))?;
    // Clients are told that the broker is starting, which is more than a port that does not answer.
    let routes = shell.routes(&member, &core);
    let serving = shell.serve(listeners, routes);
    let joined = join::join(&shell, &member, &core, feed).await?;
    shell.announce(&member.addresses)?;
    shell.tell_when_ready(&core, identity.broker);
    let broker = RunningBroker {
        data: core.data,
        epoch: joined.epoch,
        life: joined.life,
        following: joined.following,
        cut: shell.cut.clone(),
        serving,
    };
    Ok(shell.running(member, Some(broker)))
}

fn addresses(listeners: &[Bound]) -> Vec<Address> {
    listeners.iter().map(|bound| bound.address.clone()).collect()
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
    pub(super) tasks: Tasks,
}

/// The data directory, and who it says it is.
pub(super) struct Opened {
    pub(super) dir: DataDir<RealDisk>,
    pub(super) boot: Boot,
    pub(super) known: Option<Identity>,
    pub(super) page_cache: PageCache,
}

/// A process that is part of a cluster.
pub(super) struct Member {
    pub(super) opened: Opened,
    pub(super) identity: Identity,
    pub(super) group: Group,
    pub(super) addresses: Addresses,
}

/// What serves clients.
pub(super) struct Core {
    pub(super) data: Arc<DataPlane>,
    pub(super) ids: Arc<ControllerIds>,
    pub(super) applied: Arc<Applied>,
    pub(super) local: Arc<LocalState>,
    pub(super) groups: Groups,
    pub(super) members: Members,
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

    /// Where clients connect: a controller alone has nothing for them.
    async fn bind(&self) -> Result<Vec<Bound>, BindError> {
        if !self.config.broker.has(Role::Broker) {
            return Ok(Vec::new());
        }
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
        let page_cache = blocking(move || PageCache::look(asked.disk(), asked.root())).await;
        Ok(Opened {
            dir,
            boot,
            known,
            page_cache,
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

    pub(super) fn data_dir_error(&self, source: DataDirError) -> StartError {
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

    /// Holds the directory's identity against the cluster's; writes one if the directory is new.
    async fn settle_identity(&self, opened: &Opened, image: &Image) -> Result<Identity, StartError> {
        let root = &self.config.data_dir;
        let no_cluster = || StartError::Fatal("the controllers have started without a cluster".into());
        let cluster = image.cluster_id().ok_or_else(no_cluster)?;
        if let Some(identity) = opened.known {
            identity.check_cluster(cluster, root)?;
            return Ok(identity);
        }
        let broker = self.config.broker.id;
        // Where this process alone is the cluster, its brokers are this directory's; elsewhere they are others.
        let alone = self.config.controllers.voters.is_empty() && image.broker_count() > 0;
        if alone || !opened.boot.logs.is_empty() {
            let file = identity::path(root);
            return Err(IdentityError::Missing { file }.into());
        }
        let identity = Identity {
            cluster,
            broker,
            directory: DirectoryId::from_u128(Uuid::new_v4().as_u128()),
        };
        identity.check(&self.config, root)?;
        let dir = opened.dir.clone();
        blocking(move || identity.write(dir.disk(), dir.root())).await?;
        Ok(identity)
    }

    fn core(&self, member: &Member, applied: Applied) -> Result<Core, StartError> {
        let Member {
            opened,
            identity,
            group,
            ..
        } = member;
        let ids = Arc::new(ControllerIds::new(group.controllers.clone(), identity.broker));
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
        let (data, applied) = (Arc::new(data), Arc::new(applied));
        let groups = Groups::start(
            data.clone(),
            group.controllers.clone(),
            applied.clone(),
            GroupConfig::default(),
        );
        let core = Core {
            data,
            ids,
            applied,
            members: Members::new(groups.clone()),
            groups,
            local: Arc::new(LocalState::new(opened.dir.root().to_owned())),
        };
        self.metrics.add_collector(BrokerCollector {
            broker: identity.broker,
            controllers: group.controllers.clone(),
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
            direct_bytes: storage.direct_bytes,
            cleaner: CleanerConfig {
                bytes_per_second: storage.cleaner_bytes_per_second,
                memory_bytes: bytes(storage.cleaner_memory_bytes),
                backoff: storage.cleaner_backoff,
            },
            replication: ReplicationConfig {
                fetch_wait: replication.fetch_wait,
                fetch_bytes: bytes(replication.fetch_bytes),
                lag_max: replication.lag_max,
            },
            ..DataPlaneConfig::default()
        }
    }

    /// What clients are served; the internal listener serves the same from now on, beside what it did.
    fn routes(&mut self, member: &Member, core: &Core) -> Routes {
        let services = Services {
            config: &self.config,
            admission: &self.admission,
            metrics: &self.metrics,
            health: &self.health,
            logs: &self.logs,
            group: &member.group,
            core,
        };
        member.group.served.replace(services.internal());
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

    /// Serves other brokers and controllers until it is ended.
    pub(super) fn serve_internal(&self, listener: Bound, served: Served) -> Internal {
        let limits = LimitsConfig {
            connections: INTERNAL_CONNECTIONS,
            // One connection of a broker carries what its clients wait for here: a long poll for each group member.
            streams: INTERNAL_STREAMS,
            ..self.config.limits.clone()
        };
        let cut = watch::Sender::new(false);
        let (mut ending, ended) = (cut.subscribe(), cut.subscribe());
        let serving = Serving(tokio::spawn(async move {
            let drain = async move {
                // Whoever could say so is gone: that is the end as well.
                let _ = ending.wait_for(|end| *end).await;
            };
            server::serve(vec![listener], served, limits, drain, ended).await;
        }));
        Internal { serving, cut }
    }

    /// Says that the broker is there, where scripts and probes look.
    fn announce(&self, addresses: &Addresses) -> Result<(), StartError> {
        let file = self.config.data_dir.join(ADDRESSES_FILE);
        std::fs::write(&file, addresses.lines()).map_err(|source| StartError::System {
            doing: format!("writing {}", file.display()),
            source,
        })?;
        self.admission.enter(Phase::Running);
        let (broker, cluster) = (addresses.broker_id, addresses.cluster_id);
        let addresses = addresses.lines().trim_end().replace('\n', " ");
        tracing::info!(%broker, %cluster, addresses, "ready");
        Ok(())
    }

    /// Ready once each replica of this broker has caught up.
    fn tell_when_ready(&mut self, core: &Core, broker: BrokerId) {
        let mut catching_up = CatchingUp::new(broker);
        let mut images = core.applied.subscribe();
        if catching_up.is_over(&images.borrow_and_update()) {
            return self.health.set_ready();
        }
        self.health.step("waiting for this broker's replicas to catch up");
        let health = self.health.clone();
        self.tasks.spawn(async move {
            while images.changed().await.is_ok() {
                if catching_up.is_over(&images.borrow_and_update()) {
                    return health.set_ready();
                }
            }
        });
    }

    fn running(self, member: Member, broker: Option<RunningBroker>) -> Running {
        Running {
            addresses: member.addresses,
            admission: self.admission,
            fatal: self.fatal,
            controller: member.group.controllers.local().cloned(),
            broker,
            data_dir: self.config.data_dir,
            drain_timeout: self.config.drain_timeout,
            internal: member.group.internal,
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
