//! Between our types and the messages of the wire. Whatever comes in is checked.

use crate::transport::{Header, Member, PeerStatus};
use crate::{ControllerId, SnapshotChunk};
use quipu_metadata::ClusterId;
use quipu_proto::internal as wire;
use quipu_record::MetadataVersion;

pub(super) fn header_message(header: &Header) -> wire::RaftHeader {
    wire::RaftHeader {
        // Absent: not known yet.
        cluster_id: header.cluster.map(|id| id.to_string()).unwrap_or_default(),
        from: header.from.get(),
        to: header.to.get(),
    }
}

pub(super) fn header(message: Option<wire::RaftHeader>) -> Result<Header, String> {
    let message = message.ok_or("no header")?;
    let cluster = match message.cluster_id.as_str() {
        "" => None,
        text => Some(ClusterId::parse(text).ok_or("the cluster's id is no UUID")?),
    };
    Ok(Header {
        cluster,
        from: ControllerId::new(message.from),
        to: ControllerId::new(message.to),
    })
}

/// A controller and where it is, for the wire.
#[must_use]
pub fn member_message(member: &Member) -> wire::ControllerAddress {
    wire::ControllerAddress {
        controller_id: member.id.get(),
        address: member.address.clone(),
    }
}

/// A controller and where it is, from the wire.
#[must_use]
pub fn member(message: wire::ControllerAddress) -> Member {
    Member {
        id: ControllerId::new(message.controller_id),
        address: message.address,
    }
}

/// The answer to whoever asks a controller who it is.
#[must_use]
pub fn status_message(status: &PeerStatus) -> wire::GetStatusResponse {
    wire::GetStatusResponse {
        cluster_id: status.cluster.map(|id| id.to_string()),
        controller_id: status.id.get(),
        leader: status.leader.as_ref().map(member_message),
        term: status.term,
        last_log: status.last_log,
        metadata_version: status.version.get(),
        voters: status.voters.iter().map(member_message).collect(),
        learners: status.learners.iter().map(member_message).collect(),
        configured: status.configured.clone(),
    }
}

/// What a controller says of itself.
///
/// # Errors
/// What is wrong with the message.
pub fn peer_status(message: wire::GetStatusResponse) -> Result<PeerStatus, String> {
    let cluster = match message.cluster_id {
        None => None,
        Some(text) => Some(ClusterId::parse(&text).ok_or("the cluster's id is no UUID")?),
    };
    Ok(PeerStatus {
        id: ControllerId::new(message.controller_id),
        cluster,
        leader: message.leader.map(member),
        term: message.term,
        last_log: message.last_log,
        version: MetadataVersion::new(message.metadata_version),
        voters: message.voters.into_iter().map(member).collect(),
        learners: message.learners.into_iter().map(member).collect(),
        configured: message.configured,
    })
}

pub(super) fn chunk_message(chunk: SnapshotChunk) -> wire::InstallSnapshotRequest {
    wire::InstallSnapshotRequest {
        header: None,
        meta: bytes::Bytes::new(),
        chunk: chunk.bytes,
        crc: chunk.crc,
    }
}
