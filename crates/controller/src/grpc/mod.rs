//! The way between controllers over gRPC: `quipu.internal.v1`, on the internal listener.

mod client;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::GrpcTransport;
pub use message::{member, member_message, peer_status, status_message};
pub use server::{RaftServer, raft_service};

/// The largest message: a whole entry of the log, and what is said around it.
const MESSAGE_MAX: usize = 17 * 1024 * 1024;
/// The largest snapshot that is taken from another controller.
const SNAPSHOT_MAX: usize = 1024 * 1024 * 1024;
