//! Consumes a topic as a member of a group, until it is interrupted.
//!
//!     cargo run --example consume -- GROUP TOPIC [HOST:PORT[,HOST:PORT...]]
#![allow(clippy::print_stdout)]

use quipu_client::{Client, ClientConfig, GroupConfig};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let group = arguments.next().ok_or("which group?")?;
    let topic = arguments.next().ok_or("which topic?")?;
    let brokers = arguments.next().unwrap_or("127.0.0.1:4600".to_owned());

    let client = Client::connect(ClientConfig::new(brokers.split(','))).await?;
    let mut consumer = client.group_consumer(GroupConfig::new(group).with_topics([topic]))?;
    loop {
        // What was handed out before is processed once the next is asked for, and committed then.
        let batch = tokio::select! {
            batch = consumer.next() => batch?,
            _ = tokio::signal::ctrl_c() => break,
        };
        for record in &batch {
            let record = record?;
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            println!(
                "{} {} {} {}",
                batch.partition(),
                record.offset,
                text(record.key),
                text(record.value)
            );
        }
    }
    Ok(consumer.close().await?)
}
