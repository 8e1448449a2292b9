//! The contract of `proto/quipu/v1`, a file for each RPC or family of them. Each handler calls
//! [`crate::Admission::admit`] first.

mod call;
pub mod check;
pub mod cluster;
pub mod consume;
mod controllers;
mod credit;
mod decode;
pub mod delete_records;
mod describe;
pub mod error;
pub mod fetch;
pub(crate) mod forward;
pub(crate) mod group;
mod lanes;
pub mod list_offsets;
mod position;
pub mod produce;
pub(crate) mod read;
pub(crate) mod route;
#[cfg(test)]
pub(crate) mod test_image;
pub mod topics;
mod watch_routing;

pub use call::Calls;
