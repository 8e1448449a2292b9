//! The data path from socket to file and back, in one process: the services over a real data directory.

mod cluster;
mod consume;
mod fetch;
mod forwarding;
mod frames;
mod harness;
mod lists;
mod pressure;
mod produce;
mod replication;
mod restart;
mod vouch;
