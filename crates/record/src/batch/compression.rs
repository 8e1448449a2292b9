//! zstd within limits, whatever a frame claims.
//!
//! Frames are decompressed in one pass, straight into the output, and the output never grows past the caller's limit.
//! (zstd's streaming mode would instead keep a window of its own, of a size that the frame chooses, up to 128 MiB.)
//! A frame's claim to a content size serves as a hint for how much to reserve, and as grounds to refuse early.
//!
//! Contexts and scratch buffers are kept per thread: they are costly to make, hold nothing between calls, and batches
//! are many more than threads.

use super::error::BatchError;
use bytes::Bytes;
use std::cell::RefCell;
use zstd::zstd_safe::{self, CCtx, DCtx};

/// Kafka's default, and zstd's own.
const LEVEL: i32 = zstd_safe::CLEVEL_DEFAULT;

/// Scratch that grew past this is given back after use.
const SCRATCH_KEPT_MAX: usize = 2 * 1024 * 1024;

/// `ZSTD_error_dstSize_tooSmall`: one of the numbers that zstd's header declares stable.
const DST_TOO_SMALL: usize = 0usize.wrapping_sub(70);

struct Scratch {
    decompressor: DCtx<'static>,
    compressor: CCtx<'static>,
    buffer: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// Runs `body` with this thread's scratch, its buffer empty. `body` must not come back here.
fn with_scratch<T>(body: impl FnOnce(&mut Scratch) -> Result<T, BatchError>) -> Result<T, BatchError> {
    SCRATCH.with_borrow_mut(|slot| {
        let scratch = match slot {
            Some(scratch) => scratch,
            None => slot.insert(Scratch {
                decompressor: DCtx::try_create().ok_or(OUT_OF_MEMORY)?,
                compressor: CCtx::try_create().ok_or(OUT_OF_MEMORY)?,
                buffer: Vec::new(),
            }),
        };
        scratch.buffer.clear();
        let result = body(scratch);
        if scratch.buffer.capacity() > SCRATCH_KEPT_MAX {
            scratch.buffer = Vec::new();
        }
        result
    })
}

const OUT_OF_MEMORY: BatchError = BatchError::BadCompression {
    reason: "no memory for a zstd context",
};

/// Lends `read` the decompressed bytes, of which there are at most `limit`.
pub(super) fn with_decompressed<T>(
    compressed: &[u8],
    limit: usize,
    read: impl FnOnce(&[u8]) -> Result<T, BatchError>,
) -> Result<T, BatchError> {
    with_scratch(|scratch| {
        decompress(&mut scratch.decompressor, &mut scratch.buffer, compressed, limit)?;
        read(&scratch.buffer)
    })
}

/// Decompresses to at most `limit` bytes, into memory of just that size.
pub(super) fn decompressed(compressed: &[u8], limit: usize) -> Result<Bytes, BatchError> {
    with_decompressed(compressed, limit, |bytes| Ok(Bytes::copy_from_slice(bytes)))
}

fn decompress(
    context: &mut DCtx<'static>,
    out: &mut Vec<u8>,
    compressed: &[u8],
    limit: usize,
) -> Result<(), BatchError> {
    let claimed = zstd_safe::get_frame_content_size(compressed).map_err(|_| BatchError::BadCompression {
        reason: "it is not a zstd frame",
    })?;
    let limit_u64 = u64::try_from(limit).unwrap_or(u64::MAX);
    let first = match claimed {
        Some(size) if size > limit_u64 => return Err(BatchError::DecodedTooLarge { limit }),
        Some(size) => usize::try_from(size).unwrap_or(limit),
        // No claim. Reserved memory costs nothing before it is written to.
        None => limit,
    };
    for room in [first, limit] {
        out.clear();
        out.try_reserve_exact(room).map_err(|_| OUT_OF_MEMORY)?;
        match context.decompress(out, compressed) {
            // The buffer may have had more room than was asked for.
            Ok(size) if size > limit => break,
            Ok(_) => return Ok(()),
            // A second frame follows the one that made the claim.
            Err(DST_TOO_SMALL) => {}
            Err(code) => {
                let reason = zstd_safe::get_error_name(code);
                return Err(BatchError::BadCompression { reason });
            }
        }
    }
    Err(BatchError::DecodedTooLarge { limit })
}

/// Lends `read` the compressed bytes.
pub(super) fn with_compressed<T>(
    plain: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, BatchError>,
) -> Result<T, BatchError> {
    with_scratch(|scratch| {
        let room = zstd_safe::compress_bound(plain.len());
        scratch
            .buffer
            .try_reserve_exact(room)
            .map_err(|_| OUT_OF_MEMORY)?;
        let failed = |code| BatchError::BadCompression {
            reason: zstd_safe::get_error_name(code),
        };
        scratch
            .compressor
            .compress(&mut scratch.buffer, plain, LEVEL)
            .map_err(failed)?;
        read(&scratch.buffer)
    })
}
