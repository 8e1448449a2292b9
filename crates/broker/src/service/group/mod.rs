//! `quipu.v1.GroupService`. Any broker answers: what another one coordinates goes one hop, to its internal listener; what
//! came in there is answered here or refused.
//!
//! Requests are read here (`groups/convert`), the coordinator decides, and what it cannot know is added here: names of
//! topics, lag, and where a reset leads to.

mod admin;
mod lag;
mod members;
mod reset;

use super::call::Calls;
use super::forward::may_forward;
use crate::admit::{Api, RequestContext};
use crate::groups::{Groups, failure_of};
use quipu_coordinator::{GroupError, GroupId};
use quipu_metadata::Image;
use quipu_proto::v1::group_service_server::{GroupService, GroupServiceServer};
use quipu_proto::{Failure, LeaderHint, v1};
use quipu_record::{ErrorCode, LeaderEpoch};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// How long a call may take whose client named no deadline.
const PATIENCE: Duration = Duration::from_secs(30);
/// Offsets come by the thousand; the rest is small.
const REQUEST_BYTES_MAX: usize = 512 << 10;

/// The service.
pub(crate) struct GroupRpcs {
    calls: Calls,
    groups: Groups,
}

/// The service as a server takes it.
pub(crate) fn server(calls: Calls, groups: Groups) -> GroupServiceServer<GroupRpcs> {
    GroupServiceServer::new(GroupRpcs { calls, groups }).max_decoding_message_size(REQUEST_BYTES_MAX)
}

/// One call: who asks, until when, and whether it may go on to another broker.
struct Asking<'c> {
    groups: &'c Groups,
    context: &'c RequestContext,
    until: Instant,
    forward: bool,
    /// The leader epoch of the coordinator that is meant, if the broker that passed it on says so.
    epoch: Option<LeaderEpoch>,
}

impl<'c> Asking<'c> {
    fn new(groups: &'c Groups, context: &'c RequestContext, routing: i32) -> Result<Self, Failure> {
        Self::within(groups, context, routing, PATIENCE)
    }

    fn within(
        groups: &'c Groups,
        context: &'c RequestContext,
        routing: i32,
        patience: Duration,
    ) -> Result<Self, Failure> {
        Ok(Self {
            groups,
            context,
            // A little before the client gives up: it shall hear why.
            until: Instant::now() + context.at_most(patience).mul_f32(0.95),
            forward: may_forward(context, routing)?,
            epoch: None,
        })
    }

    /// Only the coordinator of this epoch is meant.
    fn of_epoch(mut self, epoch: Option<u32>) -> Self {
        self.epoch = epoch.map(LeaderEpoch::new);
        self
    }

    /// Has the coordinator answer a request of a member or an administrator.
    async fn ask(
        &self,
        group: &GroupId,
        request: quipu_coordinator::Request,
    ) -> Result<quipu_coordinator::Response, Failure> {
        let answered = match self.forward {
            true => self.groups.ask(group, request, self.until).await,
            false => {
                let here = self.groups.ask_here_in(self.epoch, group, request, self.until);
                here.await
            }
        };
        answered.map_err(|error| self.told(group, &error))
    }

    /// As the client is told: where the coordinator is, on the listener that it came in by.
    fn told(&self, group: &GroupId, error: &GroupError) -> Failure {
        let failure = failure_of(error);
        match failure.code {
            ErrorCode::NotCoordinator => failure.with_leader(self.hint(group)),
            _ => failure,
        }
    }

    fn hint(&self, group: &GroupId) -> Option<LeaderHint> {
        let at = self.groups.partition_of(group)?;
        let image = self.image();
        let state = image.partition(at)?;
        super::route::leader_hint(&image, state.leader?, state.leader_epoch, &self.context.listener)
    }

    fn image(&self) -> Arc<Image> {
        self.groups.plane().image.load_full()
    }
}

/// Has this broker answer if it coordinates the group, or must not pass the request on; else the one that does.
macro_rules! anywhere {
    ($asking:expr, $group:expr, $here:expr, |$peer:ident, $patience:ident| $there:expr) => {{
        if !$asking.forward {
            return $here.await;
        }
        let mut tries = $asking.groups.tries($group, $asking.until);
        loop {
            let result = match tries.coordinator().await {
                Ok($crate::groups::Coordinator::Here) => $here.await,
                Ok($crate::groups::Coordinator::At($peer, _)) => {
                    let $patience = $asking
                        .until
                        .saturating_duration_since(tokio::time::Instant::now());
                    $there.await
                }
                Ok($crate::groups::Coordinator::Nobody) => {
                    Err($crate::groups::failure_of(&$crate::groups::nobody()))
                }
                Err(error) => Err($crate::groups::failure_of(&error)),
            };
            match result {
                Err(failure) if tries.again(failure.code).await => {}
                settled => break settled,
            }
        }
    }};
}
use anywhere;

macro_rules! rpcs {
    ($($name:ident($request:ident) -> $response:ident = $api:ident, $answer:path;)*) => {
        #[tonic::async_trait]
        impl GroupService for GroupRpcs { $(
            async fn $name(
                &self,
                request: Request<v1::$request>,
            ) -> Result<Response<v1::$response>, Status> {
                let (context, request) = self.calls.admit(Api::$api, request)?;
                let answer = async {
                    let mut response: v1::$response = $answer(&self.groups, &context, request).await?;
                    response.throttle_ms = context.throttle_ms();
                    Ok(response)
                };
                self.calls.run(&context, answer).await
            }
        )* }
    };
}

rpcs! {
    list_groups(ListGroupsRequest) -> ListGroupsResponse = ListGroups, admin::list;
    describe_group(DescribeGroupRequest) -> DescribeGroupResponse = DescribeGroup, admin::describe;
    delete_group(DeleteGroupRequest) -> DeleteGroupResponse = DeleteGroup, admin::delete;
    commit_offsets(CommitOffsetsRequest) -> CommitOffsetsResponse = CommitOffsets, members::commit;
    get_offsets(GetOffsetsRequest) -> GetOffsetsResponse = GetOffsets, members::get;
    reset_offsets(ResetOffsetsRequest) -> ResetOffsetsResponse = ResetOffsets, reset::reset;
    group_heartbeat(GroupHeartbeatRequest) -> GroupHeartbeatResponse = GroupHeartbeat, members::heartbeat;
    leave_group(LeaveGroupRequest) -> LeaveGroupResponse = LeaveGroup, members::leave;
}

/// An answer of another kind than the request: a bug.
fn unexpected() -> Failure {
    failure_of(&crate::groups::unexpected())
}
