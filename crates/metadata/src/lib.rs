//! The cluster's truth: brokers, topics, partitions, configs. Decide, then replay. Pure.
