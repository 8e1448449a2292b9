//! Events about topics: the cluster's metadata as one map with a version.

use super::names::Topic;
use super::numbers::optional_version;
use quipu_record::MetadataVersion;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change of the metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MetadataWrite {
    /// Of which topic.
    pub topic: Topic,
    /// To what: how many partitions it has from now on; absent: it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// The metadata version that holds the change; only in an `ok`, where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_version")]
    pub version: Option<MetadataVersion>,
}

/// A read of the metadata.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MetadataRead {
    /// Whether the answer must hold all that was acknowledged before the question; else it may lag.
    #[serde(default, skip_serializing_if = "super::log::is_false")]
    pub linearizable: bool,
    /// The version of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_version")]
    pub version: Option<MetadataVersion>,
    /// The topics in it, with how many partitions each has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<Topic, u32>,
}
