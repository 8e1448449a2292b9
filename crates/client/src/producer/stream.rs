//! One link: a produce stream to one broker, on a connection of its own.

use super::body::{Carrying, Outgoing};
use super::sender::Event;
use super::shared::Shared;
use crate::connection::describe;
use bytes::Bytes;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::{plain_frame, v1};
use quipu_record::BrokerId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Brokers send a sign of life every 5 seconds or so: after three of them missing the stream is dead, whatever the
/// connection says.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The request that asks for a sign of life has this number, and no batch has.
const HELLO: u64 = u64::MAX;

/// A request that is answered at once, so that a broker answers whatever else it waits for.
pub(super) fn hello() -> Outgoing {
    let hello = v1::ProduceStreamRequest {
        request_id: HELLO,
        ..v1::ProduceStreamRequest::default()
    };
    Outgoing {
        head: plain_frame(&hello),
        batch: Bytes::new(),
    }
}

/// Which link of which broker: a later one has a greater number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkId {
    pub(super) broker: BrokerId,
    pub(super) number: u64,
}

/// Opens the stream and tells the sender what comes of it, until it breaks.
pub(super) async fn run(
    shared: Arc<Shared>,
    link: LinkId,
    address: Option<String>,
    requests: mpsc::UnboundedReceiver<Outgoing>,
) {
    let Err(why) = match address {
        Some(address) => exchange(&shared, link, &address, requests).await,
        None => Err(format!("the address of broker {} is not known", link.broker)),
    };
    tracing::debug!(broker = %link.broker, why, "no produce stream");
    shared.tell(Event::LinkDown { link, why });
}

async fn exchange(
    shared: &Shared,
    link: LinkId,
    address: &str,
    requests: mpsc::UnboundedReceiver<Outgoing>,
) -> Result<std::convert::Infallible, String> {
    let connection = shared.cluster.pool.connect(address).await?;
    let mut client = ProduceServiceClient::new(Carrying::new(connection, requests));
    // What tonic would encode is none: the body is ours.
    let nothing = tokio_stream::empty::<v1::ProduceStreamRequest>();
    let opening = timeout(
        shared.cluster.config.connect_timeout,
        client.produce_stream(nothing),
    )
    .await;
    let answers = opening.map_err(|_| format!("{address}: the produce stream did not open in time"))?;
    let mut answers = answers
        .map_err(|status| format!("{address}: {}", describe(&status)))?
        .into_inner();
    shared.tell(Event::LinkUp { link });
    loop {
        let answer = timeout(SILENCE_MAX, answers.message()).await;
        match answer.map_err(|_| format!("{address}: no sign of life for {SILENCE_MAX:?}"))? {
            Ok(Some(answer)) => shared.tell(Event::Answer {
                link,
                answer: Box::new(answer),
            }),
            Ok(None) => return Err(format!("{address}: the broker ended the stream")),
            Err(status) => return Err(format!("{address}: {}", describe(&status))),
        }
    }
}
