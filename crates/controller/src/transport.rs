//! The way between controllers: opaque bytes from one to another. Production's is gRPC (`grpc`), a simulation's is a bus.

use crate::ControllerId;
use bytes::Bytes;
use quipu_metadata::ClusterId;
use quipu_record::MetadataVersion;
use std::future::Future;
use std::time::Duration;
use thiserror::Error;

/// Who speaks to whom. Whoever is not meant refuses: an address may have come to belong to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The cluster; `None`: it has none yet, or the sender does not know it yet.
    pub cluster: Option<ClusterId>,
    /// The controller that sends.
    pub from: ControllerId,
    /// The controller that is meant.
    pub to: ControllerId,
}

/// A piece of a snapshot, with its checksum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotChunk {
    /// The next bytes.
    pub bytes: Bytes,
    /// CRC-32C of them.
    pub crc: u32,
}

impl SnapshotChunk {
    /// Checksums these bytes.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let crc = crc32c::crc32c(&bytes);
        Self { bytes, crc }
    }

    /// Whether the bytes are those that were checksummed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        crc32c::crc32c(&self.bytes) == self.crc
    }
}

/// A controller, and where it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// Its id.
    pub id: ControllerId,
    /// host:port of its internal listener.
    pub address: String,
}

/// What a controller says of itself to whoever asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Its id.
    pub id: ControllerId,
    /// Its cluster, once it knows it.
    pub cluster: Option<ClusterId>,
    /// The active controller, as far as it knows.
    pub leader: Option<Member>,
    /// Raft's term.
    pub term: u64,
    /// The last entry in its log.
    pub last_log: Option<u64>,
    /// The version of its image.
    pub version: MetadataVersion,
    /// The voters, as it knows them.
    pub voters: Vec<Member>,
    /// Those who follow and do not vote.
    pub learners: Vec<Member>,
    /// The voters that it was configured with, in order.
    pub configured: Vec<String>,
}

impl PeerStatus {
    /// Whether it is part of no group, and never was: the slightest trace of one counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cluster.is_none() && self.voters.is_empty() && self.last_log.is_none() && self.term == 0
    }
}

/// Why a message got no answer.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TransportError {
    /// Nobody answers there, or not now.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// What went wrong.
        why: String,
    },
    /// Whoever answers there is not meant, or does not understand.
    #[error("{address} refuses: {why}")]
    Refused {
        /// Where.
        address: String,
        /// Its words.
        why: String,
    },
}

/// Carries messages to other controllers. Each call ends after `ttl` at the latest, and may end unheard: messages can be
/// lost, repeated and late.
pub trait Transport: Send + Sync + 'static {
    /// Entries or a heartbeat; the answer.
    fn append(
        &self,
        address: &str,
        header: Header,
        payload: Bytes,
        ttl: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send;

    /// A candidate's request; the answer.
    fn vote(
        &self,
        address: &str,
        header: Header,
        payload: Bytes,
        ttl: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send;

    /// A whole snapshot; the answer.
    fn snapshot(
        &self,
        address: &str,
        header: Header,
        meta: Bytes,
        chunks: Vec<SnapshotChunk>,
        ttl: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send;

    /// Asks who is there. The one question that any controller answers, of any cluster or none.
    fn status(
        &self,
        address: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<PeerStatus, TransportError>> + Send;
}

/// No way leads anywhere: for a controller that is alone, and stays so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Nowhere {
    fn unreachable<T>(address: &str) -> Result<T, TransportError> {
        Err(TransportError::Unreachable {
            address: address.to_owned(),
            why: "this controller runs alone".to_owned(),
        })
    }
}

impl Transport for Nowhere {
    async fn append(&self, address: &str, _: Header, _: Bytes, _: Duration) -> Result<Bytes, TransportError> {
        Self::unreachable(address)
    }

    async fn vote(&self, address: &str, _: Header, _: Bytes, _: Duration) -> Result<Bytes, TransportError> {
        Self::unreachable(address)
    }

    async fn snapshot(
        &self,
        address: &str,
        _: Header,
        _: Bytes,
        _: Vec<SnapshotChunk>,
        _: Duration,
    ) -> Result<Bytes, TransportError> {
        Self::unreachable(address)
    }

    async fn status(&self, address: &str, _: Duration) -> Result<PeerStatus, TransportError> {
        Self::unreachable(address)
    }
}
