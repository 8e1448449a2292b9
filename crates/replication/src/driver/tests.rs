//! The driver on a fake disk.
