//! Images and deltas for those who follow the metadata without a controller of their own: in the encoding of snapshots.

use super::{Contents, codec};
use crate::SnapshotChunk;
use bytes::Bytes;
use quipu_metadata::{Delta, Image, Record};
use quipu_record::MetadataVersion;
use std::sync::Arc;
use thiserror::Error;

/// Why bytes are not an image, or not what changed in one.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the metadata cannot be read: {0}")]
pub struct ImageError(String);

impl ImageError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// An image in pieces of some 100 KiB, each with its checksum.
///
/// # Errors
/// [`ImageError`] if there is no memory to compress it.
pub fn encode_image(image: &Arc<Image>) -> Result<Vec<SnapshotChunk>, ImageError> {
    let contents = Contents {
        image: Arc::clone(image),
        ..Contents::default()
    };
    codec::chunks(&contents).map_err(ImageError::new)
}

/// The image in these pieces, all of them and in order.
///
/// # Errors
/// [`ImageError`]: a record that is not known stops the reader, for skipping it would make another image.
pub fn decode_image(chunks: &[SnapshotChunk]) -> Result<Arc<Image>, ImageError> {
    let contents = codec::from_chunks(chunks).map_err(ImageError::new)?;
    Ok(contents.image)
}

/// The records of a delta, one by one.
#[must_use]
pub fn encode_delta(delta: &Delta) -> Vec<Bytes> {
    delta
        .records
        .iter()
        .map(|record| record.encode().into())
        .collect()
}

/// The delta to `version` with these records.
///
/// # Errors
/// [`ImageError`], as with [`decode_image`].
pub fn decode_delta(version: MetadataVersion, records: &[Bytes]) -> Result<Delta, ImageError> {
    let records: Result<Vec<Record>, _> = records.iter().map(|bytes| Record::decode(bytes)).collect();
    Ok(Delta {
        version,
        records: records.map_err(ImageError::new)?,
    })
}
