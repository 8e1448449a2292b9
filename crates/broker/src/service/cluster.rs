//! `quipu.v1.ClusterService`: the cluster described from the image in effect here, and looked over for what is wrong.

use super::call::Calls;
use super::{check, controllers, describe, watch_routing};
use crate::admit::{Api, RequestContext};
use crate::applied::Applied;
use crate::controllers::Controllers;
use crate::groups::Groups;
use crate::logging::LogControl;
use quipu_proto::v1::cluster_service_server::ClusterService;
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ErrorCode};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// A controller that joins must catch up first.
const MEMBERSHIP: Duration = Duration::from_secs(120);

/// The service.
pub struct Cluster {
    calls: Calls,
    controllers: Controllers,
    applied: Arc<Applied>,
    broker: BrokerId,
    logs: LogControl,
    local: Arc<dyn check::LocalFindings>,
    groups: Groups,
}

impl Cluster {
    /// Of this broker; `local` knows what is wrong with its own logs and disk.
    #[must_use]
    pub(crate) fn new(
        calls: Calls,
        controllers: Controllers,
        applied: Arc<Applied>,
        broker: BrokerId,
        logs: LogControl,
        local: Arc<dyn check::LocalFindings>,
        groups: Groups,
    ) -> Self {
        Self {
            calls,
            controllers,
            applied,
            broker,
            logs,
            local,
            groups,
        }
    }

    fn cluster(&self, context: &RequestContext) -> v1::GetClusterResponse {
        let image = self.applied.image();
        let active = match self.controllers.is_active_here() {
            true => Some(self.broker),
            false => self
                .controllers
                .active_address()
                .and_then(|at| describe::broker_at(&image, &at)),
        };
        describe::cluster(&image, &context.listener, self.broker, active)
    }

    async fn routing(
        &self,
        context: &RequestContext,
        request: v1::GetRoutingRequest,
    ) -> Result<v1::GetRoutingResponse, Failure> {
        describe::check_names(&request.topics)?;
        let image = match describe::version(request.min_version) {
            Some(version) => self.applied.at_least(version).await,
            None => self.applied.image(),
        };
        let mut routing = describe::routing(&image, &request.topics, &context.listener);
        routing.throttle_ms = context.throttle_ms();
        Ok(routing)
    }

    fn brokers(&self, context: &RequestContext) -> v1::ListBrokersResponse {
        let image = self.applied.image();
        v1::ListBrokersResponse {
            brokers: describe::brokers(&image, &context.listener),
            metadata_version: image.version().get(),
        }
    }

    async fn check(&self, scope: v1::CheckScope) -> v1::CheckClusterResponse {
        let (mut findings, mut notes) = (Vec::new(), Vec::new());
        if scope != v1::CheckScope::Broker {
            findings = check::controllers(&self.controllers.survey().await, self.controllers.local());
        }
        let image = self.applied.image();
        if scope != v1::CheckScope::Broker {
            findings.extend(check::cluster(&image));
            notes = check::notes(&image);
        }
        if scope != v1::CheckScope::Metadata {
            findings.extend(self.local.findings(&image));
            findings.extend(self.groups.findings().await);
        }
        v1::CheckClusterResponse {
            notes,
            ..check::response(&image, findings)
        }
    }

    fn set_log_level(&self, request: &v1::SetLogLevelRequest) -> Result<v1::SetLogLevelResponse, Failure> {
        let previous = self.logs.set(&request.filter).map_err(|wanted| {
            let told = format!("filter {:?} is not {wanted}", request.filter);
            Failure::new(ErrorCode::InvalidRequest, told)
        })?;
        tracing::info!(filter = %request.filter, %previous, "the log filter was changed");
        Ok(v1::SetLogLevelResponse { previous })
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let (context, _) = self.calls.admit(Api::GetCluster, request)?;
        self.calls
            .run(&context, async { Ok(self.cluster(&context)) })
            .await
    }

    async fn get_routing(
        &self,
        request: Request<v1::GetRoutingRequest>,
    ) -> Result<Response<v1::GetRoutingResponse>, Status> {
        let (context, request) = self.calls.admit(Api::GetRouting, request)?;
        self.calls.run(&context, self.routing(&context, request)).await
    }

    type WatchRoutingStream = watch_routing::Stream;

    async fn watch_routing(
        &self,
        request: Request<v1::WatchRoutingRequest>,
    ) -> Result<Response<Self::WatchRoutingStream>, Status> {
        let (context, request) = self.calls.admit(Api::WatchRouting, request)?;
        describe::check_names(&request.topics)?;
        let images = self.applied.subscribe();
        Ok(Response::new(watch_routing::start(
            context,
            request.topics,
            images,
        )))
    }

    async fn list_brokers(
        &self,
        request: Request<v1::ListBrokersRequest>,
    ) -> Result<Response<v1::ListBrokersResponse>, Status> {
        let (context, _) = self.calls.admit(Api::ListBrokers, request)?;
        self.calls
            .run(&context, async { Ok(self.brokers(&context)) })
            .await
    }

    async fn check_cluster(
        &self,
        request: Request<v1::CheckClusterRequest>,
    ) -> Result<Response<v1::CheckClusterResponse>, Status> {
        let (context, request) = self.calls.admit(Api::CheckCluster, request)?;
        self.calls
            .run(&context, async { Ok(self.check(request.scope()).await) })
            .await
    }

    async fn set_log_level(
        &self,
        request: Request<v1::SetLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        let (context, request) = self.calls.admit(Api::SetLogLevel, request)?;
        self.calls
            .run(&context, async { self.set_log_level(&request) })
            .await
    }

    async fn get_controllers(
        &self,
        request: Request<v1::GetControllersRequest>,
    ) -> Result<Response<v1::GetControllersResponse>, Status> {
        let (context, _) = self.calls.admit(Api::GetControllers, request)?;
        let answer = async { Ok(controllers::describe(&self.controllers.survey().await)) };
        self.calls.run(&context, answer).await
    }

    async fn join_controller(
        &self,
        request: Request<v1::JoinControllerRequest>,
    ) -> Result<Response<v1::JoinControllerResponse>, Status> {
        let (context, request) = self.calls.admit(Api::JoinController, request)?;
        let joining = controllers::join(&self.controllers, request);
        self.calls.run_for(&context, MEMBERSHIP, joining).await
    }

    async fn leave_controller(
        &self,
        request: Request<v1::LeaveControllerRequest>,
    ) -> Result<Response<v1::LeaveControllerResponse>, Status> {
        let (context, request) = self.calls.admit(Api::LeaveController, request)?;
        let leaving = controllers::leave(&self.controllers, request);
        self.calls.run_for(&context, MEMBERSHIP, leaving).await
    }
}
