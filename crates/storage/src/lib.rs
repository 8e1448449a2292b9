//! One partition's log on disk: segments, indexes, recovery, truncation, retention, flush rounds.
