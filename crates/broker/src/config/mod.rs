//! Configuration (landing next).
