//! Seeded harness: scheduler, fake network, disk and clock, one file per invariant.
