//! Measuring, as `quipu bench` does it: latencies, rates, the open-loop schedule, and Kafka's wording. Pure: time comes
//! in as an argument.

mod latency;
mod pace;
mod report;

pub(crate) use latency::Latencies;
pub(crate) use pace::Pace;
pub(crate) use report::{ConsumeReport, EndToEndReport, LatencyReport, ProduceReport};
