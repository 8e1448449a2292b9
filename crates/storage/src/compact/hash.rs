//! SipHash-2-4 with 128 bits: what stands for a key. Keyed by the broker, so that nobody can make two keys of one hash,
//! which would cost one of them its record.

/// The hash's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashSeed {
    k0: u64,
    k1: u64,
}

impl HashSeed {
    /// From 128 bits that nobody can guess.
    #[must_use]
    pub const fn new(k0: u64, k1: u64) -> Self {
        Self { k0, k1 }
    }

    /// The hash of some bytes.
    pub(crate) fn hash(&self, bytes: &[u8]) -> [u64; 2] {
        let mut state = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            absorb(&mut state, u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        last[7] = bytes.len().to_le_bytes()[0];
        absorb(&mut state, u64::from_le_bytes(last));
        state[2] ^= 0xee;
        let first = finish(&mut state);
        state[1] ^= 0xdd;
        [first, finish(&mut state)]
    }
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

fn finish(state: &mut [u64; 4]) -> u64 {
    for _ in 0..4 {
        round(state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

const fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v2 = v2.wrapping_add(*v3);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v1);
    *v0 = v0.wrapping_add(*v3);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference() {
        let seed = HashSeed::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let hex = |len: u8| {
            let bytes: Vec<u8> = (0..len).collect();
            let [a, b] = seed.hash(&bytes);
            format!("{:016x}{:016x}", a.swap_bytes(), b.swap_bytes())
        };
        assert_eq!(hex(0), "a3817f04ba25a8e66df67214c7550293");
        assert_eq!(hex(1), "da87c1d86b99af44347659119b22fc45");
        assert_eq!(hex(8), "3b62a9ba6258f5610f83e264f31497b4");
        assert_eq!(hex(15), "5493e99933b0a8117e08ec0f97cfc3d9");
    }
}
