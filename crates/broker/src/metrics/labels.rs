//! The labels, each of low cardinality.

use crate::admit::Api;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use quipu_record::ErrorCode;
use std::fmt::{self, Write};

/// The parts of a request's time, as Kafka cuts it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Waiting for the partition's thread.
    Queue,
    /// Checking and appending, or reading.
    Local,
    /// Waiting for the flush and for other replicas, or for data to come.
    Remote,
    /// Waiting for the client to take the answer.
    Response,
    /// From admission to the answer.
    Total,
}

impl Stage {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Queue,
        Self::Local,
        Self::Remote,
        Self::Response,
        Self::Total,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Response => "response",
            Self::Total => "total",
        }
    }
}

impl EncodeLabelValue for Stage {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

impl EncodeLabelValue for Api {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

/// Of the request histograms.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RequestLabels {
    /// The RPC.
    pub api: Api,
    /// The part of its time.
    pub stage: Stage,
}

/// Of what is counted by topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct TopicLabels {
    topic: String,
}

impl TopicLabels {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(super) struct ApiCode {
    api: Api,
    code: &'static str,
}

impl ApiCode {
    pub(super) fn new(api: Api, code: ErrorCode) -> Self {
        Self {
            api,
            code: code.name(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(super) struct ListenerLabels {
    listener: String,
}

impl ListenerLabels {
    pub(super) fn new(listener: &str) -> Self {
        Self {
            listener: listener.to_owned(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(super) struct BuildLabels {
    pub(super) version: &'static str,
}
