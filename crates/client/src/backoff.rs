//! Pauses between retries.
