//! Quipu from outside: real processes, the shipped command line, the public contract.

#[path = "../support/mod.rs"]
#[cfg(test)]
mod support;

#[cfg(test)]
mod basics;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod dev;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod load;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod workloads;
