//! quipu-metadata on openraft: log store, state machine, network, snapshots. The only crate that names openraft.
