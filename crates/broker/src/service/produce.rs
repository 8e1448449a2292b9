//! Produce, ProduceStream, InitProducer.

mod ids;

pub use ids::ProducerIdSource;
pub(crate) use ids::ProducerIds;
