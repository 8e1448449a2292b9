//! The metadata on the wire, in the encoding of snapshots: an image as checksummed chunks, and changes as their records.
//! An image counts only once its last chunk has come, and what has come of it is bounded.

use quipu_controller::{ImageError, SnapshotChunk, decode_image, encode_image};
use quipu_metadata::Image;
use quipu_proto::internal::ImageChunk;
use std::sync::Arc;

/// No image has more, packed.
const IMAGE_BYTES_MAX: usize = 512 << 20;

/// Why bytes are no metadata.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadMetadata {
    /// They are no image, or no change of one.
    #[error("{0}")]
    Unreadable(#[from] ImageError),
    /// They would not end.
    #[error("the metadata has more than {IMAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// A change came before the image that it changes.
    #[error("a change of the metadata came before the metadata")]
    Early,
}

/// An image as chunks; at least one.
pub(crate) fn chunks(image: &Arc<Image>) -> Result<Vec<ImageChunk>, ImageError> {
    let chunks = encode_image(image)?;
    let last = chunks.len().saturating_sub(1);
    let message = |(at, chunk): (usize, SnapshotChunk)| ImageChunk {
        chunk: chunk.bytes,
        crc: chunk.crc,
        last: at == last,
    };
    Ok(chunks.into_iter().enumerate().map(message).collect())
}

/// Puts an image together again.
#[derive(Debug, Default)]
pub(crate) struct ImageReader {
    chunks: Vec<SnapshotChunk>,
    bytes: usize,
}

impl ImageReader {
    /// Whether chunks are still to come.
    pub(crate) fn is_open(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Takes the next chunk: the image, once it was the last.
    pub(crate) fn take(&mut self, chunk: ImageChunk) -> Result<Option<Arc<Image>>, BadMetadata> {
        self.bytes += chunk.chunk.len();
        if self.bytes > IMAGE_BYTES_MAX {
            return Err(BadMetadata::TooLarge);
        }
        self.chunks.push(SnapshotChunk {
            bytes: chunk.chunk,
            crc: chunk.crc,
        });
        if !chunk.last {
            return Ok(None);
        }
        let whole = std::mem::take(self);
        Ok(Some(decode_image(&whole.chunks)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::test_image;

    fn image() -> Arc<Image> {
        let mut image = test_image::cluster(3);
        for topic in 0..10 {
            test_image::create(&mut image, &format!("topic-{topic}"), 1000, 3);
        }
        Arc::new(image)
    }

    #[test]
    fn an_image_comes_back_from_its_chunks() {
        let image = image();
        let chunks = chunks(&image).unwrap();
        let (last, first) = chunks.split_last().unwrap();
        assert!(!first.is_empty(), "this shall take more than one");
        let mut reader = ImageReader::default();
        for chunk in first {
            assert!(matches!(reader.take(chunk.clone()), Ok(None)));
            assert!(reader.is_open());
        }
        assert!(
            reader.take(last.clone()) == Ok(Some(image)),
            "another image came out"
        );
        assert!(!reader.is_open());
    }

    #[test]
    fn damaged_missing_and_endless_chunks_are_refused() {
        let chunks = chunks(&image()).unwrap();
        let read = |chunks: Vec<ImageChunk>| {
            let mut reader = ImageReader::default();
            chunks
                .into_iter()
                .try_for_each(|chunk| reader.take(chunk).map(drop))
        };
        let mut flipped = chunks.clone();
        flipped[0].crc ^= 1;
        assert!(read(flipped).is_err());
        let mut torn = chunks.clone();
        torn.remove(0);
        assert!(read(torn).is_err());

        let mut reader = ImageReader {
            bytes: IMAGE_BYTES_MAX,
            ..ImageReader::default()
        };
        assert!(reader.take(chunks[0].clone()) == Err(BadMetadata::TooLarge));
    }
}
