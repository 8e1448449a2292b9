//! Tests of the sequence rules.
