//! `quipu demo`: real data through real processes, and the proof.
//!
//! `flights` is the data, `run` the course of events, `outage` the kill, `group` the members that consume meanwhile,
//! `read_back` the reading and `replicas` what lies on the disks; `proof` decides what holds, purely; `screen` and `report` tell it.

pub(crate) mod flights;
mod group;
mod outage;
mod proof;
mod read_back;
mod replicas;
mod report;
mod run;
mod screen;

pub(crate) use run::run;
