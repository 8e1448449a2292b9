//! Every service behind the listeners.

use super::Tasks;
use super::boot::Core;
use super::group::{self, Group};
use crate::admit::Admission;
use crate::config::Config;
use crate::health::Health;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::replication;
use crate::service::cluster::Cluster;
use crate::service::topics::Topics;
use crate::service::{self, Calls};
use crate::service::{consume, produce};
use quipu_proto::v1::cluster_service_server::ClusterServiceServer;
use quipu_proto::v1::topic_service_server::TopicServiceServer;
use std::sync::Arc;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::server::HealthReporter;

/// Requests about metadata carry names and numbers. Decoded, a hostile one takes twenty times its size (names of one letter),
/// so it must not be large.
const METADATA_REQUEST_BYTES_MAX: usize = 256 << 10;

/// What services are made of.
pub(super) struct Services<'a> {
    pub(super) config: &'a Config,
    pub(super) admission: &'a Arc<Admission>,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) health: &'a Health,
    pub(super) logs: &'a LogControl,
    pub(super) group: &'a Group,
    pub(super) core: &'a Core,
}

impl Services<'_> {
    /// What clients get: health and reflection too.
    pub(super) fn routes(&self, tasks: &mut Tasks) -> Routes {
        let mut routes = Routes::builder();
        let names = self.add_public(&mut routes);
        let reporter = HealthReporter::new();
        let health = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
        let health = tonic_health::pb::health_server::HealthServer::new(health);
        tasks.spawn(self.health.clone().report(reporter, names));
        routes.add_service(health);
        add_reflection(&mut routes);
        routes.routes().prepare()
    }

    /// What other brokers and controllers get: the same for clients whom they stand for, and what is theirs.
    pub(super) fn internal(&self) -> Routes {
        let mut routes = Routes::builder();
        self.add_public(&mut routes);
        let Group {
            controllers,
            sessions,
            ..
        } = self.group;
        group::add_services(&mut routes, controllers, sessions.as_ref());
        routes.add_service(replication::server(
            self.core.data.clone(),
            self.admission.clone(),
        ));
        routes.routes().prepare()
    }

    /// Adds the contract's services; their names.
    fn add_public(&self, routes: &mut RoutesBuilder) -> Vec<String> {
        let calls = Calls::new(self.admission.clone(), self.metrics.clone());
        let topics = Topics::new(
            calls.clone(),
            self.group.controllers.clone(),
            self.core.applied.clone(),
            self.config.topics.clone(),
            self.core.data.clone(),
        );
        let groups = service::group::server(calls.clone(), self.core.groups.clone());
        let cluster = Cluster::new(
            calls,
            self.group.controllers.clone(),
            self.core.applied.clone(),
            self.config.broker.id,
            self.logs.clone(),
            self.core.local.clone(),
            self.core.groups.clone(),
        );
        let topics = TopicServiceServer::new(topics).max_decoding_message_size(METADATA_REQUEST_BYTES_MAX);
        let cluster =
            ClusterServiceServer::new(cluster).max_decoding_message_size(METADATA_REQUEST_BYTES_MAX);
        let produce = produce::server(self.core.data.clone(), self.admission.clone());
        let consume = consume::server_of_groups(
            self.core.data.clone(),
            self.admission.clone(),
            self.core.members.clone(),
        );
        let names = vec![
            name(&topics),
            name(&cluster),
            name(&produce),
            name(&consume),
            name(&groups),
        ];
        routes
            .add_service(topics)
            .add_service(cluster)
            .add_service(produce)
            .add_service(consume)
            .add_service(groups);
        names
    }
}

fn name<S: NamedService>(_: &S) -> String {
    S::NAME.to_owned()
}

/// Both versions: tools ask for either. They describe what was compiled in, so they cannot fail to build but by a bug,
/// which is said and costs reflection alone.
fn add_reflection(routes: &mut RoutesBuilder) {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(quipu_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            routes.add_service(v1).add_service(v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "reflection is not served"),
    }
}
