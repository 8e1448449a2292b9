//! Produce, ProduceStream, InitProducer.
