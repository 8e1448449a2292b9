//! ListOffsets: earliest, latest, by time.
