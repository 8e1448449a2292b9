//! Why a broker does not start.

use super::IdentityError;
use crate::data_plane::OpenPlaneError;
use crate::server::BindError;
use quipu_controller::{BootstrapError, ProposeError, StartError as ControllerStartError};
use quipu_metadata::RegisterBrokerError;
use quipu_storage::DataDirError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// Why a broker does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It cannot listen where it should.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error("data.dir {}: {source}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: DataDirError,
    },
    /// The system refuses something that cannot be done without.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// What it says.
        source: io::Error,
    },
    /// The data directory is not this broker's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The controller does not start.
    #[error("the controller does not start: {0}")]
    Controller(#[from] ControllerStartError),
    /// No cluster can be made of the configured controllers.
    #[error("{0}")]
    Bootstrap(BootstrapError),
    /// The controllers do not tell this process of the metadata, and never will.
    #[error("the controllers refuse this process: {0}")]
    OtherCluster(String),
    /// The logs do not open.
    #[error("the logs do not open: {0}")]
    Logs(#[from] OpenPlaneError),
    /// The cluster does not take this broker.
    #[error("the broker cannot register: {0}")]
    Register(ProposeError<RegisterBrokerError>),
    /// Something unrecoverable happened on the way.
    #[error("{0}")]
    Fatal(Arc<str>),
}
