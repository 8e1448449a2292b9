//! Style as a test: what the project promises about its own shape is checked here, so that it stays true.

mod bans;
mod dead;
mod dependencies;
mod fuzz;
mod layering;
mod lengths;
mod source;
