//! The broker: the only place where the pure cores, the disk, the network and time meet. It decides nothing.
//!
//! The way of a request: a listener (`server`) accepts a connection and marks it with the listener's name; a service
//! ([`service`]) calls [`Admission::admit`] first, always, and gets a [`RequestContext`]; metadata requests are
//! answered from the controller's image, data requests go to the partition threads ([`partition`]). How a broker starts
//! and ends is in `lifecycle`.
//!
//! Invariants
//! - No request is served without having passed [`Admission::admit`]: authentication, authorization and quotas will stand
//!   there, and deadlines and draining stand there now.
//! - Every stream ends with an explicit status, when the broker drains too ([`RequestContext::drained`]).
//! - A failed fsync or a dead controller is final: whoever sees it calls [`Fatal::announce`], the process ends non-zero.
//! - What is configured is checked as a whole before anything is opened; every mistake is named at once ([`config`]).
//!
//! Elsewhere: when a batch is acknowledged is in `quipu-replication`, bytes on disk in `quipu-storage`, who leads in
//! `quipu-metadata`, agreement on that in `quipu-controller`.

#![warn(clippy::expect_used, clippy::panic)]

pub mod admit;
mod applied;
mod broker;
pub mod config;
pub mod controllers;
pub mod data_plane;
pub mod fatal;
mod groups;
pub mod health;
pub mod http;
mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod partition;
pub mod replication;
pub mod server;
pub mod service;

pub use admit::{Admission, Api, ConnectionInfo, Phase, Principal, RequestContext};
pub use broker::{Broker, Ended, run, runtime};
pub use config::Config;
pub use controllers::Controllers;
pub use data_plane::{DataPlane, DataPlaneConfig};
pub use fatal::Fatal;
pub use lifecycle::{Addresses, IdentityError, StartError, StopError};
pub use logging::LogControl;
pub use metrics::Metrics;
