//! What every client is told once: where the cluster is, who it is itself, and how long things may take.

use std::time::Duration;
use thiserror::Error;

/// How a [`Client`](crate::Client) reaches the cluster.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses to begin with, `host:port`; any broker will do, and the others are learnt from it.
    pub bootstrap: Vec<String>,
    /// What the brokers' logs, metrics and quotas call this client.
    pub client_id: String,
    /// Time for one attempt to connect to one broker.
    pub connect_timeout: Duration,
    /// Time for a whole call, retries included (calls of [`Admin`](crate::Admin), and every look-up).
    pub call_timeout: Duration,
    /// The first pause before a retry; it doubles, jittered.
    pub backoff_min: Duration,
    /// The longest pause before a retry.
    pub backoff_max: Duration,
    /// How often a silent connection is asked for a sign of life.
    pub keep_alive_interval: Duration,
    /// How long the sign of life may take; then the connection is given up.
    pub keep_alive_timeout: Duration,
}

impl ClientConfig {
    /// The defaults, with these addresses (`host:port`).
    pub fn new<A: Into<String>>(bootstrap: impl IntoIterator<Item = A>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            client_id: "quipu-client".to_owned(),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(30),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }

    /// The same, with this client id.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The same, with this much time for a call.
    #[must_use]
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, and what to do.
    pub problem: String,
}
