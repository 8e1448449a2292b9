//! Calls about groups, to the broker that coordinates the group. What is said there goes no further.

use super::{ANSWER_BYTES_MAX, Peer, never_sent, timed};
use quipu_proto::v1::group_service_client::GroupServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident, changes: $changes:literal;)*) => { $(
        $(#[$doc])*
        pub(crate) async fn $name(
            peer: &Peer,
            mut request: v1::$request,
            patience: Duration,
        ) -> Result<v1::$response, Failure> {
            request.routing = v1::Routing::LeaderOnly.into();
            let answer = client(peer).$name(timed(request, patience)).await;
            answer
                .map(tonic::Response::into_inner)
                .map_err(|status| failed(&status, peer, $changes))
        }
    )* };
}

calls! {
    /// A member's heartbeat. Said twice, it does no harm.
    group_heartbeat(GroupHeartbeatRequest) -> GroupHeartbeatResponse, changes: false;
    /// A member leaves. Said twice, it does no harm.
    leave_group(LeaveGroupRequest) -> LeaveGroupResponse, changes: false;
    /// A commit.
    commit_offsets(CommitOffsetsRequest) -> CommitOffsetsResponse, changes: true;
    /// Committed offsets.
    get_offsets(GetOffsetsRequest) -> GetOffsetsResponse, changes: false;
    /// Groups that the other broker coordinates.
    list_groups(ListGroupsRequest) -> ListGroupsResponse, changes: false;
    /// One group.
    describe_group(DescribeGroupRequest) -> DescribeGroupResponse, changes: false;
    /// Deletes a group.
    delete_group(DeleteGroupRequest) -> DeleteGroupResponse, changes: true;
    /// Moves offsets.
    reset_offsets(ResetOffsetsRequest) -> ResetOffsetsResponse, changes: true;
}

fn client(peer: &Peer) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(peer.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// What became of a call; `changes`: it may have done something there, of which it matters whether it was done.
fn failed(status: &Status, peer: &Peer, changes: bool) -> Failure {
    let broker = peer.broker;
    if let Some(failure) = Failure::from_status(status) {
        // Addresses in it are for brokers. One that comes or goes does not coordinate.
        return match failure.code {
            ErrorCode::NotReady | ErrorCode::ShuttingDown => unavailable(peer),
            _ => failure.with_leader(None),
        };
    }
    if !changes || never_sent(status) {
        return unavailable(peer);
    }
    let told = match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => "did not answer in time",
        _ => "was lost before it answered",
    };
    Failure::new(
        ErrorCode::RequestTimedOut,
        format!("broker {broker}, which coordinates the group, {told}: the outcome is unknown"),
    )
}

fn unavailable(peer: &Peer) -> Failure {
    let broker = peer.broker;
    Failure::new(
        ErrorCode::CoordinatorNotAvailable,
        format!("broker {broker}, which coordinates the group, cannot be reached now: try again in a moment"),
    )
}
