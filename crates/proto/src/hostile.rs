//! What must hold of the decoders in this crate that are not prost's own, for any bytes at all. Each body takes bytes as
//! an enemy chose them and panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as
//! property tests.

use crate::EncodedBatches;
use bytes::Bytes;
use prost::Message;

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[("encoded_batches", encoded_batches)];

/// The same message as prost itself derives it.
#[derive(Clone, PartialEq, Message)]
struct Derived {
    #[prost(bytes = "bytes", tag = "1")]
    batches: Bytes,
}

/// Our decoder takes and refuses what prost's takes and refuses, and encodes as prost does.
pub fn encoded_batches(data: &[u8]) {
    let derived = Derived::decode(data);
    let ours = EncodedBatches::decode(Bytes::copy_from_slice(data));
    assert_eq!(ours.is_ok(), derived.is_ok());
    let (Ok(ours), Ok(derived)) = (ours, derived) else {
        return;
    };
    assert_eq!(ours.encoded_len(), derived.encoded_len());
    assert_eq!(ours.encode_to_vec(), derived.encode_to_vec());
    assert_eq!(ours.into_bytes(), derived.batches);
}
