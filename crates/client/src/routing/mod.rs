//! Whom to ask, and where partitions are led: connections and routes that all of a client's parts share.

mod call;
mod preference;
mod table;
mod watch;

pub(crate) use call::{Operation, timed};
pub(crate) use table::{Route, Topic};

use crate::backoff::{Backoff, BackoffLimits, Jitter};
use crate::config::{ClientConfig, ConfigError};
use crate::connection::Pool;
use crate::error::CallError;
use preference::Preference;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_proto::{Failure, LeaderHint, v1};
use quipu_record::{BrokerId, MetadataVersion, PartitionId, TopicId};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use table::Table;

/// Routes are asked for at least so often: partitions may have been added.
pub(crate) const ROUTES_AGE_MAX: Duration = Duration::from_secs(300);

/// The cluster as one client sees it.
pub(crate) struct Cluster {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    table: Mutex<Table>,
    jitter: Mutex<Jitter>,
    preference: Mutex<Preference>,
    /// How long the next look without news watches for some.
    watching: Mutex<Backoff>,
    /// Held by whoever looks a topic up, so that many who miss the same one ask once.
    looking_up: tokio::sync::Mutex<()>,
}

impl Cluster {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        if config.bootstrap.is_empty() {
            return Err(ConfigError {
                field: "bootstrap",
                problem: "no address: give at least one broker's host:port".into(),
            });
        }
        let favourite = config.bootstrap[0].clone();
        Ok(Self {
            pool: Pool::new(config.clone())?,
            config,
            table: Mutex::default(),
            jitter: Mutex::new(Jitter::new(rand::random())),
            preference: Mutex::new(Preference::new(favourite)),
            watching: Mutex::default(),
            looking_up: tokio::sync::Mutex::default(),
        })
    }

    /// Asks whoever answers which cluster this is, and who is in it.
    pub(crate) async fn greet(&self) -> Result<(), CallError> {
        let cluster = self.describe().await?;
        let news = v1::GetRoutingResponse {
            brokers: cluster.brokers,
            metadata_version: cluster.metadata_version,
            cluster_id: cluster.cluster_id,
            ..v1::GetRoutingResponse::default()
        };
        let taken = self.table().take(&news);
        taken.map_err(|failure| bad_answer("describe the cluster", &failure))
    }

    pub(crate) async fn describe(&self) -> Result<v1::GetClusterResponse, CallError> {
        let operation = Operation::look("describe the cluster", self.config.call_timeout);
        self.call(operation, |connection, left| async move {
            let request = timed(v1::GetClusterRequest {}, left);
            ClusterServiceClient::new(connection).get_cluster(request).await
        })
        .await
    }

    pub(crate) fn cluster_id(&self) -> String {
        self.table().cluster_id().to_owned()
    }

    pub(crate) fn backoff_limits(&self) -> BackoffLimits {
        BackoffLimits {
            min: self.config.backoff_min,
            max: self.config.backoff_max,
        }
    }

    /// Where a broker is, if known.
    pub(crate) fn address(&self, broker: BrokerId) -> Option<String> {
        self.table().address(broker).map(str::to_owned)
    }

    /// A topic as known without asking.
    pub(crate) fn known_topic(&self, name: &str) -> Option<Topic> {
        self.table().topic(name).cloned()
    }

    /// A topic; asks the cluster if it is not known. `None`: there is none.
    pub(crate) async fn topic(&self, name: &str) -> Result<Option<Topic>, CallError> {
        if let Some(topic) = self.known_topic(name) {
            return Ok(Some(topic));
        }
        let _alone = self.looking_up.lock().await;
        if let Some(topic) = self.known_topic(name) {
            return Ok(Some(topic));
        }
        self.look_up(&[name]).await?;
        Ok(self.known_topic(name))
    }

    /// Asks the cluster where these topics are led.
    async fn look_up(&self, topics: &[&str]) -> Result<(), CallError> {
        let topics = topics.iter().map(|&name| name.to_owned()).collect();
        self.routing(topics).await.map(drop)
    }

    /// Asks the cluster where these topics are led (all of them if none is named), and remembers it.
    pub(crate) async fn routing(&self, topics: Vec<String>) -> Result<v1::GetRoutingResponse, CallError> {
        let floor = self.floor();
        self.routing_from(topics, floor).await
    }

    /// The same for who shows what is answered: brokers differ in how far they are, and it is never older than what this
    /// client was told before.
    pub(crate) async fn routing_in_order(
        &self,
        topics: Vec<String>,
    ) -> Result<v1::GetRoutingResponse, CallError> {
        let known = {
            let table = self.table();
            table.version().max(table.floor())
        };
        self.routing_from(topics, known).await
    }

    async fn routing_from(
        &self,
        topics: Vec<String>,
        least: MetadataVersion,
    ) -> Result<v1::GetRoutingResponse, CallError> {
        let request = v1::GetRoutingRequest {
            topics,
            min_version: least.get(),
        };
        let operation = Operation::look("look up routes", self.config.call_timeout);
        let answer = self
            .call(operation, |connection, left| {
                let request = timed(request.clone(), left);
                async move { ClusterServiceClient::new(connection).get_routing(request).await }
            })
            .await?;
        let mut table = self.table();
        let news = answer.metadata_version > table.version().get();
        table
            .take(&answer)
            .map_err(|failure| bad_answer(operation.name, &failure))?;
        if !news {
            // It may be cut off from the controllers.
            lock(&self.preference).no_news(table.addresses());
        }
        drop(table);
        Ok(answer)
    }

    /// A broker's address for a stream that any can host: another one each time.
    pub(crate) fn somebody(&self) -> Option<String> {
        let table = self.table();
        let random = lock(&self.jitter).next();
        let mut known = table.addresses().peekable();
        let preference = lock(&self.preference);
        if known.peek().is_some() {
            return preference.any(known, random);
        }
        preference.any(self.config.bootstrap.iter().map(String::as_str), random)
    }

    /// A stream at this address broke, or did not come to be.
    pub(crate) fn avoid(&self, address: &str) {
        lock(&self.preference).failed(address);
    }

    /// A stream stands at this address.
    pub(crate) fn welcome(&self, address: &str) {
        lock(&self.preference).well(address);
    }

    /// Takes a broker's word about a leader; says whether it was news.
    pub(crate) fn hint(&self, name: &str, id: TopicId, partition: PartitionId, hint: &LeaderHint) -> bool {
        self.table().hint(name, id, partition, hint)
    }

    /// The metadata version that this client has seen made, and wants to see.
    pub(crate) fn floor(&self) -> MetadataVersion {
        self.table().floor()
    }

    /// Forgets a topic that proved to be gone or another.
    pub(crate) fn forget(&self, name: &str) {
        self.table().forget(name);
    }

    /// This client changed the metadata: what it asks from now on is no older.
    pub(crate) fn changed(&self, name: &str, version: MetadataVersion) {
        let mut table = self.table();
        table.raise_floor(version);
        table.forget(name);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What is in there is whole even if a thread died holding it: every change is one assignment or one call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that makes no sense.
pub(crate) fn bad_answer(operation: &'static str, failure: &Failure) -> CallError {
    CallError::BadAnswer {
        operation,
        problem: failure.message.clone(),
    }
}
