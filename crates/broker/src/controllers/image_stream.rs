//! The metadata on the wire: an image as checksummed chunks of records, and changes as their records. Bytes from a socket
//! are hostile: lengths are checked, and an image counts only once its last chunk has come.

use bytes::Bytes;
use quipu_metadata::{Delta, Image, RECORD_BYTES_MAX, Record};
use quipu_proto::internal::{ImageChunk, MetadataDelta};
use quipu_record::MetadataVersion;

/// A chunk is closed once it has so many bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// What a chunk can have at most: it is closed after the record that fills it.
const CHUNK_MAX: usize = CHUNK_BYTES + 4 + RECORD_BYTES_MAX;

/// Why bytes are no metadata.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the metadata that came is not to be used: {0}")]
pub(crate) struct BadMetadata(String);

impl BadMetadata {
    /// A change came before the image that it changes.
    pub(crate) fn early() -> Self {
        bad("a change came before its image")
    }
}

fn bad(what: impl ToString) -> BadMetadata {
    BadMetadata(what.to_string())
}

/// An image as chunks; at least one.
pub(crate) fn chunks(image: &Image) -> impl Iterator<Item = ImageChunk> {
    let version = image.version().get();
    let mut records = image.records().peekable();
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            let Some(record) = records.next() else { break };
            let bytes = record.encode();
            // A record has at most a mebibyte.
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            chunk.extend_from_slice(&len.to_le_bytes());
            chunk.extend_from_slice(&bytes);
        }
        ended = records.peek().is_none();
        Some(ImageChunk {
            crc: crc32c::crc32c(&chunk),
            chunk: chunk.into(),
            last: ended,
            version,
        })
    })
}

/// Puts an image together again.
#[derive(Debug, Default)]
pub(crate) struct ImageReader {
    image: Option<Image>,
}

impl ImageReader {
    /// Whether chunks are still to come.
    pub(crate) fn is_open(&self) -> bool {
        self.image.is_some()
    }

    /// Takes the next chunk: the image, once it was the last.
    pub(crate) fn take(&mut self, chunk: &ImageChunk) -> Result<Option<Image>, BadMetadata> {
        if chunk.chunk.len() > CHUNK_MAX {
            return Err(bad("a chunk is too large"));
        }
        if crc32c::crc32c(&chunk.chunk) != chunk.crc {
            return Err(bad("the checksum of a chunk does not match"));
        }
        let version = MetadataVersion::new(chunk.version);
        let mut image = self.image.take().unwrap_or_else(|| {
            let mut image = Image::default();
            image.advance_to(version);
            image
        });
        if image.version() != version {
            return Err(bad("its chunks are of two versions"));
        }
        let mut rest = &chunk.chunk[..];
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let (record, after) = after.split_at_checked(len).ok_or_else(|| bad("half a record"))?;
            image.replay(&Record::decode(record).map_err(bad)?).map_err(bad)?;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(bad("half a length"));
        }
        if chunk.last {
            return Ok(Some(image));
        }
        self.image = Some(image);
        Ok(None)
    }
}

/// A change as it travels.
pub(crate) fn delta(delta: &Delta) -> MetadataDelta {
    MetadataDelta {
        version: delta.version.get(),
        records: delta
            .records
            .iter()
            .map(|record| Bytes::from(record.encode()))
            .collect(),
    }
}

/// A change as it came.
pub(crate) fn read_delta(delta: &MetadataDelta) -> Result<Delta, BadMetadata> {
    let records = delta.records.iter().map(|record| Record::decode(record));
    Ok(Delta {
        version: MetadataVersion::new(delta.version),
        records: records.collect::<Result<_, _>>().map_err(bad)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::test_image;

    fn image() -> Image {
        let mut image = test_image::cluster(3);
        test_image::create(&mut image, "flights", 5000, 3);
        image
    }

    #[test]
    fn an_image_comes_back_from_its_chunks() {
        let image = image();
        let chunks: Vec<_> = chunks(&image).collect();
        assert!(chunks.len() > 1, "this shall take more than one");
        let mut reader = ImageReader::default();
        let (last, first) = chunks.split_last().unwrap();
        for chunk in first {
            assert_eq!(reader.take(chunk), Ok(None));
            assert!(reader.is_open());
        }
        assert!(reader.take(last) == Ok(Some(image)), "another image came out");
        assert!(!reader.is_open());

        let empty = Image::default();
        let only: Vec<_> = super::chunks(&empty).collect();
        assert_eq!(only.len(), 1);
        assert_eq!(ImageReader::default().take(&only[0]), Ok(Some(empty)));
    }

    #[test]
    fn damaged_chunks_are_refused() {
        let chunk = chunks(&image()).next().unwrap();
        let resealed = |bytes: Vec<u8>| ImageChunk {
            crc: crc32c::crc32c(&bytes),
            chunk: bytes.into(),
            ..chunk.clone()
        };
        let flipped = ImageChunk {
            crc: chunk.crc ^ 1,
            ..chunk.clone()
        };
        let half = resealed(chunk.chunk[..chunk.chunk.len() - 1].to_vec());
        let length = resealed(vec![1, 2, 3]);
        let huge = resealed(vec![0; CHUNK_MAX + 1]);
        for bad in [flipped, half, length, huge] {
            assert!(ImageReader::default().take(&bad).is_err());
        }
        let mut reader = ImageReader::default();
        reader.take(&chunk).unwrap();
        let other = ImageChunk {
            version: chunk.version + 1,
            ..chunk
        };
        assert!(reader.take(&other).is_err());
    }

    #[test]
    fn a_change_comes_back() {
        let image = image();
        let records = image.records().take(5).collect();
        let version = image.version();
        let change = Delta { version, records };
        assert_eq!(read_delta(&delta(&change)), Ok(change));
    }
}
