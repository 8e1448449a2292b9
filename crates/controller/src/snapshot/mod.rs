//! Snapshots: the whole image, so that the log behind it can go.
//!
//! ```text
//! metadata/00000000000000010000.snap   the image as of entry 10,000
//! metadata/00000000000000020000.snap   the newest; the one before is kept in case this one is damaged
//! ```
//! A snapshot is written beside its name, synced, renamed, and the directory synced: under its name it is whole.

mod codec;
mod image;
mod store;
#[cfg(test)]
mod tests;

#[cfg(feature = "test-util")]
pub(crate) use codec::hostile;
pub(crate) use codec::{chunks, from_chunks};
pub use image::{ImageError, decode_delta, decode_image, encode_delta, encode_image};
pub(crate) use store::SnapshotStore;

use crate::wal::{LogPlace, MembershipMessage};
use quipu_metadata::Image;
use std::sync::Arc;

/// What a snapshot holds. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The last entry that is in it.
    pub(crate) last: Option<LogPlace>,
    /// Who is in the group as of then.
    pub(crate) membership: Arc<MembershipMessage>,
    /// The entry that said so.
    pub(crate) membership_at: Option<LogPlace>,
    /// The image as of then.
    pub(crate) image: Arc<Image>,
}
