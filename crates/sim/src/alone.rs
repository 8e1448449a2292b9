//! A broker by itself: a partition of one replica, and every way in which its disk can fail. What a storage engine must
//! not lose is tried here without the help of other copies.

mod broker;
mod clients;
mod ghost;
mod invariants;
mod message;
mod nemesis;
mod network;
mod plan;
mod shared;
mod world;

pub(crate) use world::run;
