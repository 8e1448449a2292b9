//! One file a command.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod consume;
pub(crate) mod controller;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod produce;
pub(crate) mod serve;
pub(crate) mod topic;
