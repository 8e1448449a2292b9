//! `quipu.v1.EncodedBatches` by hand: the same bytes on the wire as prost would write, from pieces of memory that
//! stay where they are until the one copy into the send buffer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint};

const BATCHES_TAG: u32 = 1;

/// Whole batches, one after another, held in any number of pieces.
#[derive(Clone, Debug, Default)]
pub struct EncodedBatches {
    pieces: Vec<Bytes>,
    len: usize,
}

impl EncodedBatches {
    /// With room for so many pieces.
    #[must_use]
    pub fn with_capacity(pieces: usize) -> Self {
        Self {
            pieces: Vec::with_capacity(pieces),
            len: 0,
        }
    }

    /// Adds a piece at the end; pieces need not end where batches end.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Adds another's pieces at the end.
    pub fn append(&mut self, other: Self) {
        self.len += other.len;
        self.pieces.extend(other.pieces);
    }

    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// All of it in one piece; copies only if there is more than one.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.swap_remove(0);
        }
        let mut joined = BytesMut::with_capacity(self.len);
        for piece in &self.pieces {
            joined.put_slice(piece);
        }
        joined.freeze()
    }
}

impl From<Bytes> for EncodedBatches {
    fn from(piece: Bytes) -> Self {
        let mut batches = Self::with_capacity(1);
        batches.push(piece);
        batches
    }
}

/// Equal as the bytes are, however they are cut.
impl PartialEq for EncodedBatches {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.pieces.iter().flatten().eq(other.pieces.iter().flatten())
    }
}

impl Eq for EncodedBatches {}

impl std::hash::Hash for EncodedBatches {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Equal bytes may lie in different pieces.
        self.len.hash(state);
    }
}

impl prost::Message for EncodedBatches {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if self.len > 0 {
            encode_key(BATCHES_TAG, WireType::LengthDelimited, buf);
            encode_varint(self.len as u64, buf);
            for piece in &self.pieces {
                buf.put_slice(piece);
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != BATCHES_TAG {
            return prost::encoding::skip_field(wire_type, tag, buf, context);
        }
        // Splits the bytes off the receive buffer without copying, and refuses a length that lies.
        let mut batches = Bytes::new();
        prost::encoding::bytes::merge(wire_type, &mut batches, buf, context)?;
        *self = Self::from(batches);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        if self.len == 0 {
            return 0;
        }
        prost::encoding::key_len(BATCHES_TAG) + encoded_len_varint(self.len as u64) + self.len
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    /// The same message as prost itself derives it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Derived {
        #[prost(bytes = "bytes", tag = "1")]
        batches: Bytes,
    }

    fn in_pieces(bytes: &[u8], mut cuts: Vec<usize>) -> EncodedBatches {
        cuts.sort_unstable();
        let mut batches = EncodedBatches::default();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            let to = cut.min(bytes.len());
            batches.push(Bytes::copy_from_slice(&bytes[from..to]));
            from = to;
        }
        batches
    }

    proptest! {
        #[test]
        fn however_cut_it_is_what_prost_writes(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            cuts in proptest::collection::vec(0usize..400, 0..6),
        ) {
            let ours = in_pieces(&bytes, cuts);
            let derived = Derived { batches: Bytes::from(bytes.clone()) };
            prop_assert_eq!(ours.encoded_len(), derived.encoded_len());
            prop_assert_eq!(ours.encode_to_vec(), derived.encode_to_vec());
            let back = EncodedBatches::decode(derived.encode_to_vec().as_slice()).unwrap();
            prop_assert_eq!(&back, &ours);
            prop_assert_eq!(back.into_bytes(), Bytes::from(bytes));
        }

        #[test]
        fn any_input_is_taken_or_refused_as_prost_would(
            input in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let ours = EncodedBatches::decode(input.as_slice()).map(|b| b.into_bytes());
            let derived = Derived::decode(input.as_slice()).map(|d| d.batches);
            match (ours, derived) {
                (Ok(ours), Ok(derived)) => prop_assert_eq!(ours, derived),
                (Err(_), Err(_)) => {}
                (ours, derived) => prop_assert!(false, "{ours:?} but {derived:?}"),
            }
        }
    }

    #[test]
    fn decoding_takes_the_bytes_without_copying() {
        let wire = Bytes::from(
            Derived {
                batches: Bytes::from(vec![7u8; 1000]),
            }
            .encode_to_vec(),
        );
        let at = wire.as_ptr() as usize;
        let back = EncodedBatches::decode(wire.clone()).unwrap().into_bytes();
        assert_eq!(back.as_ptr() as usize, at + (wire.len() - 1000));
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let lying = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
        assert!(EncodedBatches::decode(lying.as_slice()).is_err());
    }
}
