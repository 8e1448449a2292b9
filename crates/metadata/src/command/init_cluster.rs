//! Gives the cluster its id, once.

use super::{Decision, Refusal};
use crate::{ClusterId, FeatureLevel, Image, Record};
use quipu_record::ErrorCode;

/// The first command of every cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitCluster {
    /// The id it shall have, if it has none yet.
    pub cluster_id: ClusterId,
    /// What its metadata may hold.
    pub feature_level: FeatureLevel,
}

/// The cluster has its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClusterInitialized {
    /// Its id: another one than asked for if somebody was first.
    pub cluster_id: ClusterId,
}

/// Why a cluster cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitClusterError {
    /// The level is newer than this version.
    #[error(
        "feature level {asked} is above {}, the greatest that this version understands",
        FeatureLevel::SUPPORTED
    )]
    TooNew {
        /// What was asked.
        asked: FeatureLevel,
    },
}

impl Refusal for InitClusterError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

impl InitCluster {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        if let Some(cluster_id) = image.cluster_id() {
            return Decision::done(Vec::new(), ClusterInitialized { cluster_id });
        }
        if self.feature_level > FeatureLevel::SUPPORTED {
            return Decision::refused(InitClusterError::TooNew {
                asked: self.feature_level,
            });
        }
        let record = Record::Cluster {
            cluster_id: self.cluster_id,
            feature_level: self.feature_level,
        };
        Decision::done(
            vec![record],
            ClusterInitialized {
                cluster_id: self.cluster_id,
            },
        )
    }
}
