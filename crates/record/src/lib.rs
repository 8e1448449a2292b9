//! What is stored and sent: ids, offsets, epochs, record batches, error codes, limits.
