//! A record to send: borrowed, so that it is copied once, into its batch.

use quipu_record::{Header, PartitionId, Timestamp};

/// A record to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record<'a> {
    /// The key; records of one key go to one partition, in order. `None`: to any.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: &'a [Header<'a>],
    /// Its time; `None`: now, to within a tick of the clock (some milliseconds).
    pub timestamp: Option<Timestamp>,
    /// Its partition; `None`: by the key.
    pub partition: Option<PartitionId>,
}

impl<'a> Record<'a> {
    /// A record without a key.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self {
            key: None,
            value: Some(value),
            headers: &[],
            timestamp: None,
            partition: None,
        }
    }

    /// A record with a key.
    #[must_use]
    pub const fn keyed(key: &'a [u8], value: &'a [u8]) -> Self {
        Self {
            key: Some(key),
            ..Self::new(value)
        }
    }

    /// The same, with headers.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }

    /// The same, at this time.
    #[must_use]
    pub const fn at(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The same, to this partition whatever the key.
    #[must_use]
    pub const fn to(mut self, partition: PartitionId) -> Self {
        self.partition = Some(partition);
        self
    }
}
