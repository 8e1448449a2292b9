//! One message for every answer: what is said, its numbers, texts, ids and parts, in the order of the type's fields.
//!
//! Answers are sent and never stored, and there are many small ones: a message of its own for each would be pages of the
//! same. What is missing or out of range is an error, never a default.

use super::{DecodeError, LIST_MAX, body, field, uuid};
use bytes::Bytes;
use prost::Message;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, PartitionId, TopicId, TopicPartition};

/// What is said.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Words {
    /// Which of the things that can be said.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, repeated, tag = "2")]
    numbers: Vec<u64>,
    #[prost(string, repeated, tag = "3")]
    texts: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    blobs: Vec<Vec<u8>>,
    /// Each of them words, encoded: how many there are is looked at before any is read.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    parts: Vec<Bytes>,
}

impl Words {
    pub(super) fn of(kind: u32) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    pub(super) fn number(mut self, number: impl Into<u64>) -> Self {
        self.numbers.push(number.into());
        self
    }

    pub(super) fn size(self, size: usize) -> Self {
        self.number(u64::try_from(size).unwrap_or(u64::MAX))
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.texts.push(text.to_owned());
        self
    }

    pub(super) fn blob(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.blobs.push(bytes.into());
        self
    }

    pub(super) fn place(self, at: TopicPartition) -> Self {
        self.blob(at.topic.into_bytes()).number(at.partition.get())
    }

    pub(super) fn parts(mut self, parts: impl Iterator<Item = Self>) -> Self {
        self.parts
            .extend(parts.map(|part| Bytes::from(part.encode_to_vec())));
        self
    }
}

/// Something that can be said in words and understood again.
pub(super) trait Spoken: Sized {
    fn say(&self) -> Words;
    fn hear(heard: &mut Heard) -> Result<Self, DecodeError>;

    fn from_words(words: Words) -> Result<Self, DecodeError> {
        Self::hear(&mut Heard::new(words))
    }
}

/// Words being understood, from the first to the last.
pub(super) struct Heard {
    pub(super) kind: u32,
    numbers: std::vec::IntoIter<u64>,
    texts: std::vec::IntoIter<String>,
    blobs: std::vec::IntoIter<Vec<u8>>,
    parts: Vec<Bytes>,
}

impl Heard {
    fn new(words: Words) -> Self {
        Self {
            kind: words.kind,
            numbers: words.numbers.into_iter(),
            texts: words.texts.into_iter(),
            blobs: words.blobs.into_iter(),
            parts: words.parts,
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        let number = self.numbers.next().and_then(|n| T::try_from(n).ok());
        field("number", number)
    }

    pub(super) fn text(&mut self) -> Result<String, DecodeError> {
        field("text", self.texts.next())
    }

    pub(super) fn blob(&mut self) -> Result<Vec<u8>, DecodeError> {
        field("bytes", self.blobs.next())
    }

    pub(super) fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        let bytes = self.blob()?;
        uuid("id", &bytes)
    }

    pub(super) fn topic(&mut self) -> Result<TopicId, DecodeError> {
        self.uuid().map(TopicId::from_bytes)
    }

    pub(super) fn place(&mut self) -> Result<TopicPartition, DecodeError> {
        Ok(TopicPartition {
            topic: self.topic()?,
            partition: PartitionId::new(self.number()?),
        })
    }

    pub(super) fn broker(&mut self) -> Result<BrokerId, DecodeError> {
        self.number().map(BrokerId::new)
    }

    pub(super) fn epoch(&mut self) -> Result<BrokerEpoch, DecodeError> {
        self.number().map(BrokerEpoch::new)
    }

    pub(super) fn version(&mut self) -> Result<MetadataVersion, DecodeError> {
        self.number().map(MetadataVersion::new)
    }

    /// The numbers that are left.
    pub(super) fn numbers(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.numbers).collect()
    }

    pub(super) fn parts<T: Spoken>(&mut self) -> Result<Vec<T>, DecodeError> {
        let parts = std::mem::take(&mut self.parts);
        if parts.len() > LIST_MAX {
            return Err(DecodeError::Field { field: "parts" });
        }
        parts
            .iter()
            .map(|part| T::from_words(body::<Words>(part)?))
            .collect()
    }

    /// What is said is not known to this version.
    pub(super) fn unknown<T>(&self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::Unknown {
            what,
            kind: self.kind,
            version: 1,
        })
    }
}
