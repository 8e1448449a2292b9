//! Consumer groups: who is a member, who shall have which partition, and how far each was processed. Pure.
//!
//! A coordinator is the state of one partition of `__consumer_offsets`. Every request is decided into records, which are
//! stored as one batch and replayed; the answer leaves once they are committed.
