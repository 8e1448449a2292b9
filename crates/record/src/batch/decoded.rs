//! Decompression within a limit.
