//! Histories of what clients saw, and what may not happen in them; linear time; no I/O.
