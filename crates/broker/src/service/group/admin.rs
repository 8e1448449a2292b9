//! What administrators ask for: the groups, one of them, and to delete one.

use super::lag;
use super::{Asking, anywhere, unexpected};
use crate::admit::RequestContext;
use crate::groups::{Coordinator, Groups, convert, failure_of};
use crate::service::forward::{self, Peer};
use quipu_coordinator::{GroupId, Request, Response};
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ErrorCode};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How long one coordinator may take to list its groups.
const LIST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn list(
    groups: &Groups,
    context: &RequestContext,
    request: v1::ListGroupsRequest,
) -> Result<v1::ListGroupsResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?;
    let until = asking.until.min(Instant::now() + LIST);
    let me = groups.plane().config.broker;
    if !asking.forward {
        return Ok(v1::ListGroupsResponse {
            groups: listed_here(groups, me, until).await?,
            ..v1::ListGroupsResponse::default()
        });
    }
    let (coordinators, leaderless) = groups.coordinators();
    let mut asked = JoinSet::new();
    for (broker, coordinator) in coordinators {
        let groups = groups.clone();
        asked.spawn(async move {
            match coordinator {
                Coordinator::Here => listed_here(&groups, me, until).await,
                Coordinator::At(peer, _) => listed_there(&peer, until).await,
                Coordinator::Nobody => Err(unreachable(broker)),
            }
        });
    }
    let mut response = v1::ListGroupsResponse::default();
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok(Ok(some)) => response.groups.extend(some),
            Ok(Err(failure)) => response.errors.push(failure.into()),
            // It panicked, and has said so itself.
            Err(_) => response.errors.push(unexpected().into()),
        }
    }
    if leaderless > 0 {
        let told = format!("{leaderless} partitions of the topic that groups are stored in have no leader");
        let failure = Failure::new(ErrorCode::CoordinatorNotAvailable, told);
        response.errors.push(failure.into());
    }
    response.groups.sort_by(|a, b| a.group.cmp(&b.group));
    // While a partition changes hands two brokers may tell of its groups.
    response.groups.dedup_by(|a, b| a.group == b.group);
    Ok(response)
}

async fn listed_here(
    groups: &Groups,
    me: BrokerId,
    until: Instant,
) -> Result<Vec<v1::GroupSummary>, Failure> {
    loop {
        match groups.list_here(until).await {
            Ok(listed) => {
                let summary = |group: quipu_coordinator::GroupSummary| v1::GroupSummary {
                    group: group.group.to_string(),
                    state: convert::state_to_wire(group.state).into(),
                    members: u32::try_from(group.members).unwrap_or(u32::MAX),
                    coordinator_id: me.get(),
                };
                return Ok(listed.into_iter().map(summary).collect());
            }
            Err(error) if error.retryable() && Instant::now() + PAUSE < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(failure_of(&error)),
        }
    }
}

async fn listed_there(peer: &Peer, until: Instant) -> Result<Vec<v1::GroupSummary>, Failure> {
    let patience = until.saturating_duration_since(Instant::now());
    let asked = forward::list_groups(peer, v1::ListGroupsRequest::default(), patience);
    match timeout_at(until, asked).await {
        Ok(answer) => Ok(answer?.groups),
        Err(_) => Err(unreachable(peer.broker)),
    }
}

fn unreachable(broker: BrokerId) -> Failure {
    let told = format!("broker {broker} did not tell in time which groups it coordinates");
    Failure::new(ErrorCode::CoordinatorNotAvailable, told)
}

pub(super) async fn describe(
    groups: &Groups,
    context: &RequestContext,
    request: v1::DescribeGroupRequest,
) -> Result<v1::DescribeGroupResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?;
    let described = asking.describe(&request.group).await?;
    // One broker that asks for another joins the lag itself.
    match asking.is_for_a_client() {
        true => Ok(lag::join(groups.plane(), context, described).await),
        false => Ok(described),
    }
}

impl Asking<'_> {
    /// Whether whoever asks is no broker.
    fn is_for_a_client(&self) -> bool {
        *self.context.listener != *crate::config::INTERNAL
    }

    /// One group without its lag.
    pub(super) async fn describe(&self, name: &str) -> Result<v1::DescribeGroupResponse, Failure> {
        let group = convert::group(name)?;
        let request = v1::DescribeGroupRequest {
            group: name.to_owned(),
            ..v1::DescribeGroupRequest::default()
        };
        anywhere!(self, &group, self.describe_here(&group), |peer, patience| {
            forward::describe_group(&peer, request.clone(), patience)
        })
    }

    async fn describe_here(&self, group: &GroupId) -> Result<v1::DescribeGroupResponse, Failure> {
        let request = Request::Describe(group.clone());
        let answer = self.groups.ask_here(group, request, self.until).await;
        match answer.map_err(|error| self.told(group, &error))? {
            Response::Group(described) => {
                let me = self.groups.plane().config.broker;
                Ok(convert::described(&self.image(), me, *described))
            }
            _ => Err(unexpected()),
        }
    }
}

pub(super) async fn delete(
    groups: &Groups,
    context: &RequestContext,
    request: v1::DeleteGroupRequest,
) -> Result<v1::DeleteGroupResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?;
    let group = convert::group(&request.group)?;
    let validate_only = request.validate_only;
    anywhere!(
        asking,
        &group,
        delete_here(&asking, &group, validate_only),
        |peer, patience| forward::delete_group(&peer, request.clone(), patience)
    )
}

async fn delete_here(
    asking: &Asking<'_>,
    group: &GroupId,
    validate_only: bool,
) -> Result<v1::DeleteGroupResponse, Failure> {
    let delete = Request::Delete {
        group: group.clone(),
        validate_only,
    };
    let answer = asking.groups.ask_here(group, delete, asking.until).await;
    match answer.map_err(|error| asking.told(group, &error))? {
        Response::Deleted => Ok(v1::DeleteGroupResponse::default()),
        _ => Err(unexpected()),
    }
}
