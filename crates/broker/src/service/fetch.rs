//! Fetch: reads once, waits for data if there is none.
