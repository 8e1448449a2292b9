//! A broker's life: locked, opened, registered, unfenced, serving; drained, flushed, gone.
//!
//! ```text
//!  bind ─▶ lock data dir ─▶ controllers, cluster ─▶ identity ─▶ open logs ─▶ register ─▶ unfence ─▶ SERVING
//!                                                                                           │ shutdown
//!  exit ◀─ controller ◀─ flush, mark clean ◀─ cut what is left ◀─ streams end, GOAWAY ◀─ hand over
//! ```
//! A process without the role of a broker serves as soon as it knows its cluster: it has no logs and no clients. A failed fsync or a failed controller ends it from anywhere, unclean: the next start recovers.

mod boot;
mod drain;
mod follow;
mod group;
mod identity;
mod join;
mod local;
mod machine;
mod producer_ids;
mod services;
mod start_error;

pub use drain::StopError;
pub use identity::IdentityError;
pub use start_error::StartError;

pub(crate) use boot::boot;
pub(crate) use drain::drain;
pub(crate) use machine::{PageCache, disk_room};

use crate::admit::Admission;
use crate::controllers::Life;
use crate::data_plane::DataPlane;
use crate::fatal::Fatal;
use crate::server::Address;
use follow::Following;
use quipu_controller::Controller;
use quipu_metadata::ClusterId;
use quipu_record::{BrokerEpoch, BrokerId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where a running broker is, and who.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Its id.
    pub broker_id: BrokerId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Its listeners, by name.
    pub listeners: Vec<Address>,
    /// Where other brokers and controllers reach it.
    pub internal: Address,
    /// Probes and metrics, unless they are off.
    pub http: Option<SocketAddr>,
}

/// The file in the data directory that says where the broker listens, for scripts that let it choose its ports.
pub(crate) const ADDRESSES_FILE: &str = "addresses";

impl Addresses {
    /// A line for each, `name=host:port`.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut lines: String = self
            .listeners
            .iter()
            .chain([&self.internal])
            .map(|address| format!("{address}\n"))
            .collect();
        if let Some(http) = self.http {
            lines.push_str(&format!("http={http}\n"));
        }
        lines
    }
}

/// A running process's parts.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) admission: Arc<Admission>,
    pub(crate) fatal: Fatal,
    /// This process's own.
    pub(crate) controller: Option<Controller>,
    /// What a controller alone does not have.
    pub(crate) broker: Option<RunningBroker>,
    pub(crate) data_dir: PathBuf,
    pub(crate) drain_timeout: Duration,
    pub(crate) internal: Internal,
    pub(crate) tasks: Tasks,
}

/// What keeps partitions and serves clients.
#[derive(Debug)]
pub(crate) struct RunningBroker {
    pub(crate) data: Arc<DataPlane>,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) life: Life,
    pub(crate) following: Following,
    /// True: connections end now.
    pub(crate) cut: watch::Sender<bool>,
    /// Ends when every connection has.
    pub(crate) serving: Serving,
}

/// The server's task: ends when every connection has, or is ended.
#[derive(Debug)]
pub(crate) struct Serving(pub(crate) JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What serves other brokers and controllers: it goes on while this one drains, until it is ended.
#[derive(Debug)]
pub(crate) struct Internal {
    pub(crate) serving: Serving,
    /// True: it ends.
    pub(crate) cut: watch::Sender<bool>,
}

impl Internal {
    /// Ends it at once; on return its address is free.
    pub(crate) async fn end(mut self) {
        self.cut.send_replace(true);
        // It ends by itself, or has panicked and said so.
        let _ = (&mut self.serving.0).await;
    }
}

/// Tasks that end with the broker, however that ends.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Tasks {
    /// Ends them; on return they, and all that they held, are gone.
    pub(crate) async fn end(mut self) {
        for task in std::mem::take(&mut self.0) {
            task.abort();
            // Cancelled, or ended by itself before.
            let _ = task.await;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
