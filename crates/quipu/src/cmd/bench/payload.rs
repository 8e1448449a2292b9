//! What is sent: letters that compress about as badly as Kafka's tool's do, made once.

/// Values are cut one after another out of a block this long. Read in order, so that the measuring itself costs little: out
/// of order each value is fetched from far memory, which cost more than all that the producer does with it.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_MASK: u64 = BLOCK_BYTES as u64 - 1;

/// Values of one size.
pub(super) struct Payload {
    block: Vec<u8>,
    size: usize,
}

impl Payload {
    pub(super) fn new(size: usize) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut letter = || {
            // xorshift64: quick, and the same letters in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'A' + (state % 26) as u8
        };
        let block = (0..BLOCK_BYTES + size).map(|_| letter()).collect();
        Self { block, size }
    }

    /// The value of record `index`.
    pub(super) fn value(&self, index: u64) -> &[u8] {
        let begin = index.wrapping_mul(self.size as u64) & BLOCK_MASK;
        let begin = usize::try_from(begin).unwrap_or(0);
        &self.block[begin..begin + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_differ() {
        let payload = Payload::new(100);
        assert_eq!(payload.value(0).len(), 100);
        assert_ne!(payload.value(0), payload.value(1));
        assert!(payload.value(u64::MAX).iter().all(u8::is_ascii_uppercase));
        assert!(Payload::new(0).value(7).is_empty());
    }
}
