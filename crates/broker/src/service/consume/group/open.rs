//! The first message of a group's stream.

use super::super::open::invalid;
use super::{Hosting, Seats};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::groups::{Groups, convert, failure_of};
use quipu_coordinator::{
    GroupError, InstanceId, Member, MemberConfig, MemberEpoch, MemberId, StreamId, Subscription,
};
use quipu_proto::{Failure, v1};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

const SESSION_DEFAULT: Duration = Duration::from_secs(45);
const REVOCATION_DEFAULT: Duration = Duration::from_secs(60);
const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Less would be a commit for every acknowledgement.
const COMMIT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Makes a stream a member's. The group has not heard of it yet.
pub(in super::super) async fn open(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    groups: Groups,
    seats: &Arc<Seats>,
    peer: Option<SocketAddr>,
    asked: v1::OpenGroup,
) -> Result<Hosting, Failure> {
    let start = asked.start;
    if start.is_some_and(|start| start.position.is_none()) {
        return Err(invalid(
            "open.start is empty: give offset, earliest, latest or timestamp_ms, or leave it out",
        ));
    }
    let config = config(context, peer, asked)?;
    let group = config.group.clone();
    let seat = seats.take(&group, &config.member, config.stream_number).await;
    let seat = seat.map_err(|error| failure_of(&error))?;
    let now = plane.clock.tick(std::time::Instant::now());
    let mut hosting = Hosting {
        plane: Arc::clone(plane),
        context: context.clone(),
        groups,
        group,
        member: Member::new(config, now),
        start,
        names: BTreeMap::new(),
        keys: BTreeMap::new(),
        answers: JoinSet::new(),
        finds: JoinSet::new(),
        finding: BTreeMap::new(),
        effects: Vec::new(),
        timer: Box::pin(tokio::time::sleep_until(Instant::now())),
        armed: None,
        seat,
        replaced: false,
        failed: None,
        done: false,
    };
    hosting.keep_time();
    Ok(hosting)
}

fn config(
    context: &RequestContext,
    peer: Option<SocketAddr>,
    asked: v1::OpenGroup,
) -> Result<MemberConfig, Failure> {
    let refused = |error: GroupError| failure_of(&error);
    let group = convert::group(&asked.group)?;
    if asked.topics.is_empty() && asked.topic_pattern.is_none() {
        return Err(invalid(
            "open.group names neither topics nor a topic_pattern: say what to consume",
        ));
    }
    let (member, epoch) = match &asked.member_id {
        Some(id) if asked.member_epoch > 0 => {
            let epoch = MemberEpoch::new(asked.member_epoch);
            (MemberId::new(id).map_err(refused)?, Some(epoch))
        }
        None if asked.member_epoch > 0 => {
            return Err(invalid("member_epoch without member_id: whose is it?"));
        }
        // Who joins is a new member, whatever it was before: requests of an earlier stream that come late are not its own.
        _ => (MemberId::new(&Uuid::new_v4().to_string()).map_err(refused)?, None),
    };
    let instance = asked.instance_id.as_deref().map(InstanceId::new);
    let auto_commit = match v1::CommitMode::from_wire(asked.commit)? {
        v1::CommitMode::Manual => None,
        _ => Some(or(asked.auto_commit_interval_ms, COMMIT_INTERVAL_DEFAULT).max(COMMIT_INTERVAL_MIN)),
    };
    let client_id = match asked.client_id.as_str() {
        "" => Arc::clone(&context.client_id),
        given => Arc::from(given),
    };
    Ok(MemberConfig {
        group,
        member,
        epoch,
        // Zero would be no stream.
        stream: StreamId::new(Uuid::new_v4().as_u64_pair().0 | 1),
        stream_number: convert::stream_number(asked.stream_number),
        instance: instance.transpose().map_err(refused)?,
        rack: asked.rack.map(Arc::from),
        subscription: Subscription {
            topics: asked.topics.into_iter().map(Arc::from).collect(),
            pattern: asked.topic_pattern.map(Arc::from),
        },
        assignor: asked.assignor,
        session_timeout: or(asked.session_timeout_ms, SESSION_DEFAULT),
        revocation_timeout: or(asked.revocation_timeout_ms, REVOCATION_DEFAULT),
        auto_commit,
        acknowledges_revocations: asked.acknowledges_revocations,
        client_id,
        client_host: peer.map_or_else(|| Arc::from(""), |peer| Arc::from(peer.ip().to_string())),
    })
}

/// Milliseconds, or what zero means.
fn or(millis: u32, default: Duration) -> Duration {
    match millis {
        0 => default,
        given => Duration::from_millis(given.into()),
    }
}
