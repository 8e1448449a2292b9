//! One stream of a group's member to whichever broker hosts it, on a connection of its own.

use super::core::End;
use crate::connection::{MESSAGE_BYTES_MAX, describe};
use crate::consumer::StreamId;
use crate::routing::Cluster;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};

/// What a member is told of its streams.
#[derive(Debug)]
pub(super) enum Event {
    Came(StreamId, v1::consume_response::Message),
    Ended(StreamId, End),
}

/// A stream that is to be.
pub(super) struct Opening {
    pub(super) stream: StreamId,
    pub(super) address: String,
    pub(super) requests: mpsc::UnboundedReceiver<v1::ConsumeRequest>,
    /// A stream without a word for so long is left, whatever the connection says.
    pub(super) silence_max: Duration,
    pub(super) tell: mpsc::UnboundedSender<Event>,
}

impl Opening {
    /// Opens the stream and tells what comes of it, until it breaks.
    pub(super) async fn run(self, cluster: Arc<Cluster>) {
        let (stream, address, tell) = (self.stream, self.address.clone(), self.tell.clone());
        let Err(end) = self.exchange(&cluster).await;
        cluster.avoid(&address);
        // The member may be gone.
        let _ = tell.send(Event::Ended(stream, end));
    }

    async fn exchange(self, cluster: &Cluster) -> Result<std::convert::Infallible, End> {
        let address = self.address;
        let broken = |why: String| End::Broken(format!("{address}: {why}"));
        let connection = cluster.pool.connect(&address).await.map_err(End::Broken)?;
        let mut client = ConsumeServiceClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opening = client.consume(UnboundedReceiverStream::new(self.requests));
        let answers = timeout(self.silence_max, opening).await;
        let answers = answers.map_err(|_| broken("the stream did not open in time".into()))?;
        let mut answers = answers
            .map_err(|status| of_status(&address, &status))?
            .into_inner();
        cluster.welcome(&address);
        loop {
            let answer = timeout(self.silence_max, answers.message()).await;
            match answer.map_err(|_| broken(format!("no sign of life for {:?}", self.silence_max)))? {
                Ok(Some(answer)) => {
                    if let Some(message) = answer.message
                        && self.tell.send(Event::Came(self.stream, message)).is_err()
                    {
                        return Err(broken("the consumer is gone".into()));
                    }
                }
                Ok(None) => return Err(End::Over),
                Err(status) => return Err(of_status(&address, &status)),
            }
        }
    }
}

fn of_status(address: &str, status: &Status) -> End {
    if let Some(failure) = Failure::from_status(status) {
        return End::Refused(failure);
    }
    let why = format!("{address}: {}", describe(status));
    if status.code() == Code::Unimplemented {
        let message = format!("{why}: a broker of another age, without consumer groups");
        return End::Refused(Failure::new(ErrorCode::InvalidRequest, message));
    }
    End::Broken(why)
}
