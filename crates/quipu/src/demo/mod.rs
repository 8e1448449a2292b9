//! `quipu demo`: real data through real processes, and the proof.
//!
//! `flights` is the data, `run` the course of events, `outage` the kill, `read_back` the reading; `proof` decides what
//! holds, purely; `screen` and `report` tell it.

pub(crate) mod flights;
mod outage;
mod proof;
mod read_back;
mod report;
mod run;
mod screen;

pub(crate) use run::run;
