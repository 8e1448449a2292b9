//! Consume: the stream that reads partitions under credits.
