//! The contract of `proto/quipu/v1`, a file for each RPC or family of them. Each handler calls
//! [`crate::Admission::admit`] first.

pub mod consume;
mod credit;
pub mod error;
pub mod fetch;
mod lanes;
pub mod list_offsets;
pub mod produce;
mod route;
