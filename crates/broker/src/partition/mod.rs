//! The data path: partition threads, flusher, tail ring, read pool, and the views that readers see.
