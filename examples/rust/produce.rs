//! Sends each line of standard input as a record, keyed by what is before its first ':'; prints where each went.
//!
//!     cargo run --example produce -- TOPIC [HOST:PORT[,HOST:PORT...]]
#![allow(clippy::print_stdout)]

use quipu_client::{Client, ClientConfig, ProducerConfig, Record};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().ok_or("which topic?")?;
    let brokers = arguments.next().unwrap_or("127.0.0.1:4600".to_owned());

    let client = Client::connect(ClientConfig::new(brokers.split(','))).await?;
    let producer = client.producer(ProducerConfig::default()).await?;
    let mut deliveries = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let (key, value) = line.split_once(':').unwrap_or((&line, ""));
        let record = Record::keyed(key.as_bytes(), value.as_bytes());
        deliveries.push(producer.send(&topic, record).await?);
    }
    for delivery in deliveries {
        let stored = delivery.await?;
        println!("{topic}-{} offset {:?}", stored.partition, stored.offset);
    }
    Ok(producer.close().await?)
}
