//! The cluster's metadata, agreed on: `quipu-metadata` on openraft. The only crate that names openraft, and none of its
//! names leave it.
//!
//! Invariants
//! - Nothing is answered before it is durable: entries and votes go into one write-ahead log, in order, by one writer.
//! - What is read back after a crash is what was synced, or more; never less, never with a hole.
//! - An image is published, with its deltas in order, before the proposal that made it is answered.
//! - A group is made only if every configured voter answers that it is empty, and by the first of them. Whoever lost its disk
//!   is another controller, and joins by command.
//! - What comes from another controller names the cluster and both ends, and is checked before openraft sees it.
//! - A failed sync is final: [`Controller::failed`] says so, and the broker exits.
//!
//! Elsewhere: what a command does is decided in `quipu-metadata`. `docs/format.md` has the bytes.

#![warn(clippy::expect_used, clippy::panic)]

mod bootstrap;
mod config;
mod controller;
mod entry;
mod error;
mod group;
pub mod grpc;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod log;
mod publish;
mod raft;
mod snapshot;
mod subscription;
#[cfg(any(test, feature = "test-util"))]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod test_util;
mod transport;
mod wal;

pub use bootstrap::{Bootstrap, BootstrapError};
pub use config::ControllerConfig;
pub use controller::{Activity, Committed, Controller, ControllerId, ControllerStatus};
pub use error::{Failure, MembershipError, ProposeError, RpcError, StartError, Unavailable};
pub use snapshot::{ImageError, decode_delta, decode_image, encode_delta, encode_image};
pub use subscription::{Subscription, Update};
pub use transport::{Header, Member, Nowhere, PeerStatus, SnapshotChunk, Transport, TransportError};
