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

/// A debug build on a machine that others use takes longer; `QUIPU_SLACK_MS=0` holds it to the figures.
#[cfg(test)]
fn slack() -> std::time::Duration {
    let told = std::env::var("QUIPU_SLACK_MS")
        .ok()
        .and_then(|told| told.parse().ok());
    std::time::Duration::from_millis(told.unwrap_or(5000))
}
