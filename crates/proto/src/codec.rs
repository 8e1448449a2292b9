//! The gRPC codec of our services: prost's, but for two things that it cannot know.
//!
//! - Before a request is decoded it is weighed (`weigh.rs`): two bytes on the wire may become a hundred in memory, so the
//!   length of a message bounds nothing.
//! - Room for a whole message is made at once: a batch in many pieces would else be moved each time the buffer grows.

use crate::weigh::{self, Shape};
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{DecodeBuf, EncodeBuf};

/// Encodes `T`, decodes `U`.
#[derive(Clone, Copy, Debug)]
pub struct Codec<T, U> {
    messages: PhantomData<fn() -> (T, U)>,
}

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self {
            messages: PhantomData,
        }
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Encoder<T> {
        Encoder { message: PhantomData }
    }

    fn decoder(&mut self) -> Decoder<U> {
        Decoder {
            message: PhantomData,
            shape: weigh::shape_of::<U>(),
        }
    }
}

/// Encodes `T`.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<T> {
    message: PhantomData<fn(T)>,
}

impl<T: Message> tonic::codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.encoded_len());
        item.encode(buf)
            .map_err(|error| Status::internal(format!("a message cannot be encoded: {error}")))
    }
}

/// Decodes `U`.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<U> {
    message: PhantomData<fn() -> U>,
    /// What `U` is made of, if it must be weighed.
    shape: Option<&'static Shape>,
}

impl<U: Message + Default> tonic::codec::Decoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if let Some(shape) = self.shape {
            weigh::check(shape, &mut bytes::Buf::chunk(buf))?;
        }
        // As prost's own codec has it: whoever sends what is no message has another protocol.
        let message = U::decode(buf).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(message))
    }
}
