//! `quipu.v1.EncodedBatches` by hand: the same bytes on the wire as prost would write, from pieces of memory that
//! stay where they are until the one copy into the send buffer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::DecodeError;
use prost::encoding::{
    DecodeContext, WireType, decode_varint, encode_key, encode_varint, encoded_len_varint,
};

const BATCHES_TAG: u32 = 1;

/// Whole batches, one after another, held in any number of pieces.
#[derive(Clone, Debug, Default)]
pub struct EncodedBatches {
    pieces: Vec<Bytes>,
    len: usize,
}

impl EncodedBatches {
    /// Adds a piece at the end; pieces need not end where batches end.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        self.pieces.push(piece);
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
        Self {
            len: piece.len(),
            pieces: vec![piece],
        }
    }
}

/// Equal as the bytes are, however they are cut.
impl PartialEq for EncodedBatches {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.pieces.iter().flatten().eq(other.pieces.iter().flatten())
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
        prost::encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
        let claimed = decode_varint(buf)?;
        // A length that lies gets prost's own error, which only its own decoder can make.
        let Ok(len) = usize::try_from(claimed) else {
            return decode_varint(&mut &[][..]).map(drop);
        };
        if len > buf.remaining() {
            return decode_varint(&mut &[][..]).map(drop);
        }
        *self = Self::from(buf.copy_to_bytes(len));
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
