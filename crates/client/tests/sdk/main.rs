//! The SDK against brokers in this process that refuse, break, hang, move and die.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod consumer;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod group;
#[cfg(test)]
mod producer;
