//! The SDK: producer, consumer, admin; routing, retries, batching.
