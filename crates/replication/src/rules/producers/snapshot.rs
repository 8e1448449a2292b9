//! Producers as bytes.
