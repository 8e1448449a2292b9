//! Records and commands as bytes: prost messages of our own, each in an envelope that says its type and version.
//!
//! What is not known stops the reader: an unknown type or version is an error, never skipped, for the state after it
//! would not be the other members' state. Within a version fields are never added: prost would pass over one that it does
//! not know, so a new field is a new version. The bytes are in `docs/format.md` and held by golden tests.

mod command;
mod command_message;
mod election_message;
mod partition;
mod record;
mod record_message;
mod refusal;
mod reply;
#[cfg(test)]
mod tests;
mod words;

pub use reply::REPLY_BYTES_MAX;

use prost::Message;

/// The largest encoded record.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// The largest encoded command.
pub const COMMAND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// More of anything in a list is an error.
const LIST_MAX: usize = 250_000;

/// Why bytes are not a record or a command that this version understands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Larger than any can be.
    #[error("{len} bytes, more than the {max} that one can have")]
    TooLarge {
        /// How large.
        len: usize,
        /// How large it may be.
        max: usize,
    },
    /// Not a message.
    #[error("not a message: {0}")]
    Malformed(String),
    /// Written by a newer version.
    #[error(
        "{what} type {kind}, version {version}, is not known to this version of Quipu: upgrade before reading this"
    )]
    Unknown {
        /// Record or command.
        what: &'static str,
        /// Its type.
        kind: u32,
        /// The version of its layout.
        version: u32,
    },
    /// A field has a value it cannot have.
    #[error("field {field} has a value that it cannot have")]
    Field {
        /// Which one.
        field: &'static str,
    },
}

/// The envelope of everything stored.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    version: u32,
    #[prost(bytes = "bytes", tag = "3")]
    body: bytes::Bytes,
}

/// A list of broker ids, as every list of them is stored.
type Ids = Vec<u32>;

fn seal(kind: u32, version: u32, body: &impl Message) -> Vec<u8> {
    Envelope {
        kind,
        version,
        body: body.encode_to_vec().into(),
    }
    .encode_to_vec()
}

fn open(bytes: &[u8], max: usize) -> Result<Envelope, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLarge {
            len: bytes.len(),
            max,
        });
    }
    body::<Envelope>(bytes)
}

fn body<M: Message + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))
}

fn field<T>(field: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Field { field })
}

fn uuid(name: &'static str, bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    field(name, bytes.try_into().ok())
}

/// Converts a list whose length is sane.
fn list<A, B>(
    name: &'static str,
    items: Vec<A>,
    convert: impl FnMut(A) -> Result<B, DecodeError>,
) -> Result<Vec<B>, DecodeError> {
    if items.len() > LIST_MAX {
        return Err(DecodeError::Field { field: name });
    }
    items.into_iter().map(convert).collect()
}
