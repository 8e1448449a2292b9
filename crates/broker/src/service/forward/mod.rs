//! For thin clients: what is asked here of a partition that another broker leads goes one hop, to that broker's internal
//! listener, and says there that it goes no further. What comes in by the internal listener is never forwarded.
//!
//! Nothing is tried twice here: whether a batch without a sequence was appended cannot be found out, and who has a
//! sequence tries again by itself.

mod delete_records;
mod fetch;
mod group;
mod lane;
mod list_offsets;
mod produce;

pub(crate) use delete_records::delete_records;
pub(crate) use fetch::{Elsewhere, GRACE, Placed, fetch, fetch_from, nothing};
pub(crate) use group::{
    commit_offsets, delete_group, describe_group, get_offsets, group_heartbeat, leave_group, list_groups,
    reset_offsets,
};
pub(crate) use lane::{Lane, Passed};
pub(crate) use list_offsets::list_offsets;
pub(crate) use produce::produce;

use crate::admit::RequestContext;
use crate::config::INTERNAL;
use crate::data_plane::DataPlane;
use crate::partition::topics::TopicInfo;
use crate::replication::endpoint;
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ErrorCode, PartitionId, TopicPartition};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// What a call between brokers may take beyond what its client waits.
const SLACK: Duration = Duration::from_secs(2);
/// The largest answer of another broker.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Connections to other brokers, made when they are first wanted.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    channels: Mutex<HashMap<BrokerId, (String, Channel)>>,
}

/// Another broker, which leads something.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Which.
    pub(crate) broker: BrokerId,
    channel: Channel,
}

impl Peers {
    fn channel(&self, broker: BrokerId, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = channels.get(&broker)
            && known == address
        {
            return Some(channel.clone());
        }
        let channel = endpoint(address).ok()?.connect_lazy();
        channels.insert(broker, (address.to_owned(), channel.clone()));
        Some(channel)
    }
}

/// Whether a request may go on to another broker.
pub(crate) fn may_forward(context: &RequestContext, routing: i32) -> Result<bool, Failure> {
    let leader_only = v1::Routing::from_wire(routing)? == v1::Routing::LeaderOnly;
    Ok(!leader_only && *context.listener != *INTERNAL)
}

/// A partition that another broker leads.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Who leads it.
    pub(crate) peer: Peer,
    /// Which partition.
    pub(crate) at: TopicPartition,
    /// Its topic.
    pub(crate) topic: Arc<TopicInfo>,
}

impl DataPlane {
    /// The broker that leads a partition, if it is another one and can be reached.
    pub(crate) fn elsewhere(&self, at: TopicPartition) -> Option<Peer> {
        let image = self.image.load();
        let leader = image.partition(at)?.leader?;
        if leader == self.config.broker {
            return None;
        }
        let listeners = &image.broker(leader)?.listeners;
        let internal = listeners.iter().find(|listener| listener.name == INTERNAL)?;
        Some(Peer {
            broker: leader,
            channel: self.peers.channel(leader, &internal.advertised)?,
        })
    }

    /// Where to forward what is asked of a partition; `None`: it is to be answered here, be it with a failure.
    pub(crate) fn target(&self, name: &str, id: Option<&str>, partition: u32) -> Option<Target> {
        let topic = self.topic(name, id).ok()?;
        let partition = PartitionId::new(partition);
        let here = topic.replica(partition)?;
        if here.is_some_and(|replica| replica.view().leading.is_some()) {
            return None;
        }
        let at = TopicPartition {
            topic: topic.info.id,
            partition,
        };
        Some(Target {
            peer: self.elsewhere(at)?,
            at,
            topic: Arc::clone(&topic.info),
        })
    }

    /// What a client is told of another broker's failure: addresses in it are for brokers.
    pub(crate) fn relayed(&self, failure: Failure, target: &Target, listener: &str) -> Failure {
        if failure.code == ErrorCode::NotLeader {
            return self.not_leader(target.at, &target.topic.name, listener);
        }
        failure.with_leader(None)
    }

    /// As [`DataPlane::relayed`], for an item of an answer.
    pub(crate) fn relayed_item(
        &self,
        error: Option<v1::ItemError>,
        target: &Target,
        listener: &str,
    ) -> Option<v1::ItemError> {
        error.map(|error| self.relayed(Failure::from(error), target, listener).into())
    }
}

/// A request between brokers, with the time that is left.
fn timed<T>(message: T, patience: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience + SLACK);
    request
}

/// What became of a call to another broker; `changes`: it may have done something there before it failed.
fn failed(status: &Status, peer: &Peer, changes: bool) -> Failure {
    if let Some(failure) = Failure::from_status(status) {
        return failure.with_leader(None);
    }
    let broker = peer.broker;
    if !changes || never_sent(status) {
        return Failure::new(
            ErrorCode::LeaderNotAvailable,
            format!(
                "broker {broker}, which leads the partition, cannot be reached now: try again in a moment"
            ),
        );
    }
    let told = match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => "did not answer in time",
        _ => "was lost before it answered",
    };
    Failure::new(
        ErrorCode::RequestTimedOut,
        format!("broker {broker}, which leads the partition, {told}: the outcome is unknown"),
    )
}

/// Whether the transport says that a request cannot have reached the broker.
fn never_sent(status: &Status) -> bool {
    let mut cause: Option<&dyn Error> = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
