//! The wire: code generated from `proto/`, and its conversions to and from `quipu-record`.
//!
//! Why generated at build time: the contract is `proto/`, and nothing here may differ from it. `protox` compiles it,
//! so that no `protoc` needs to be installed.
//!
//! Invariants
//! - A payload is carried, not copied: `bytes` fields are [`bytes::Bytes`], [`EncodedBatches`] holds pieces, and
//!   [`Deframer`] slices frames.
//! - Every conversion from the wire checks; none panics.
//! - A request is weighed before it is decoded: many small parts are refused, not allocated.
//!
//! Elsewhere: what a request means is in `quipu-broker/src/service`, how a client sends it in `quipu-client`.

#![warn(clippy::expect_used, clippy::panic)]

mod codec;
mod deframe;
mod encoded_batches;
mod failure;
mod framing;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod not_controller;
pub mod scalars;
mod weigh;

pub use codec::{Codec, Decoder, Encoder};
pub use deframe::Deframer;
pub use encoded_batches::EncodedBatches;
pub use failure::{ERROR_DOMAIN, Failure, LeaderHint};
pub use framing::{frame_of_encoded, plain_frame};
pub use not_controller::{active_controller, not_controller};

/// The public contract, `quipu.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::large_futures
)]
pub mod v1 {
    tonic::include_proto!("quipu.v1");
}

/// Broker to broker, `quipu.internal.v1`: spoken on the internal listener only, between versions that are one apart.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::large_futures
)]
pub mod internal {
    tonic::include_proto!("quipu.internal.v1");
}

/// The compiled descriptors of `proto/`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
