//! Which partition a key belongs to: Kafka's own choice, so that two clients of different make agree.

use crate::PartitionId;
use std::num::NonZeroU32;

/// The partition of a key: murmur2 of its bytes, sign bit cleared, modulo the number of partitions.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: NonZeroU32) -> PartitionId {
    PartitionId::new((murmur2(key) & 0x7fff_ffff) % partitions)
}

/// Kafka's murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`): MurmurHash2 of 32 bits with its own fixed seed.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // The length goes in modulo 2^32, as Java's int arithmetic has it.
    let length = u32::try_from(data.len() & 0xffff_ffff).unwrap_or(0);
    let mut hash = SEED ^ length;
    let (chunks, tail) = data.as_chunks::<4>();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}
