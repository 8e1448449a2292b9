//! The bare stream: a tonic server that takes batches and throws them away, or gives out the same batches for ever; and
//! its clients. The same messages, windows and frame sizes as Quipu's, and nothing behind them: what is left is what
//! gRPC itself costs on this machine.

use bytes::Bytes;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::v1::consume_service_server::{ConsumeService, ConsumeServiceServer};
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::produce_service_server::{ProduceService, ProduceServiceServer};
use quipu_proto::v1::{
    Batch, BatchResult, ConsumeRequest, ConsumeResponse, Credit, FetchRequest, FetchResponse,
    InitProducerRequest, InitProducerResponse, ListOffsetsRequest, ListOffsetsResponse, PartitionData,
    ProduceRequest, ProduceResponse, ProduceStreamRequest, ProduceStreamResponse, batch, consume_request,
    consume_response,
};
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_BYTES: u32 = 1 << 20;
const MESSAGE_BYTES: usize = 64 << 20;
/// Messages waiting on either side.
const DEPTH: usize = 16;

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The server: a sink for produced batches, a source of `batch` for consumers.
#[derive(Clone)]
struct Bare {
    batch: Bytes,
}

/// Serves on a free port, which goes to standard output, until the process is killed.
pub(crate) async fn serve(batch: Bytes) -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    tell!("{}", listener.local_addr()?);
    let bare = Bare { batch };
    let incoming = TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    });
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .add_service(ProduceServiceServer::new(bare.clone()).max_decoding_message_size(MESSAGE_BYTES))
        .add_service(ConsumeServiceServer::new(bare).max_encoding_message_size(MESSAGE_BYTES))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl ProduceService for Bare {
    type ProduceStreamStream = Messages<ProduceStreamResponse>;

    async fn produce(&self, _: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let message = message?;
            let result = BatchResult {
                base_offset: Some(message.request_id),
                ..BatchResult::default()
            };
            Ok(ProduceStreamResponse {
                request_id: Some(message.request_id),
                result: Some(result),
                ..ProduceStreamResponse::default()
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn init_producer(
        &self,
        _: Request<InitProducerRequest>,
    ) -> Result<Response<InitProducerResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }
}

#[tonic::async_trait]
impl ConsumeService for Bare {
    type ConsumeStream = Messages<ConsumeResponse>;

    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<FetchResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }

    /// Gives the batch out, once for each byte of credit: the credit is the number of batches here.
    async fn consume(
        &self,
        request: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let first = request.into_inner().message().await?;
        let Some(consume_request::Message::Credit(Credit { bytes: batches, .. })) =
            first.and_then(|m| m.message)
        else {
            return Err(Status::invalid_argument("the first message is a credit"));
        };
        let batch = self.batch.clone();
        let messages = (0..batches).map(move |at| {
            let data = PartitionData {
                next_offset: at,
                encoded: Some(batch.clone().into()),
                ..PartitionData::default()
            };
            let message = Some(consume_response::Message::Data(data));
            Ok(ConsumeResponse {
                message,
                ..ConsumeResponse::default()
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn list_offsets(
        &self,
        _: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }
}

async fn channel(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .tcp_nodelay(true)
        .connect()
        .await
}

/// Sends the batch `count` times on one stream and waits for every answer: how long that took.
pub(crate) async fn produce(
    address: &str,
    batch: Bytes,
    count: u64,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut client = ProduceServiceClient::new(channel(address).await?);
    let (sender, receiver) = mpsc::channel(DEPTH);
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        for request_id in 0..count {
            let batch = Batch {
                topic: "bare".into(),
                partition: Some(0),
                payload: Some(batch::Payload::Encoded(batch.clone())),
                ..Batch::default()
            };
            let message = ProduceStreamRequest {
                request_id,
                batch: Some(batch),
                ..ProduceStreamRequest::default()
            };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut answers = client
        .produce_stream(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    let mut answered = 0;
    while answers.message().await?.is_some() {
        answered += 1;
    }
    sending.await?;
    if answered != count {
        return Err(format!("{answered} answers to {count} batches").into());
    }
    Ok(started.elapsed())
}

/// Receives the server's batch `count` times on one stream: how many bytes came, and how long that took.
pub(crate) async fn consume(
    address: &str,
    count: u64,
) -> Result<(u64, Duration), Box<dyn std::error::Error>> {
    let mut client =
        ConsumeServiceClient::new(channel(address).await?).max_decoding_message_size(MESSAGE_BYTES);
    let credit = Credit {
        bytes: count,
        records: None,
    };
    let first = ConsumeRequest {
        message: Some(consume_request::Message::Credit(credit)),
    };
    let started = Instant::now();
    let mut messages = client.consume(tokio_stream::iter([first])).await?.into_inner();
    let mut bytes = 0;
    while let Some(message) = messages.message().await? {
        if let Some(consume_response::Message::Data(data)) = message.message {
            bytes += data.encoded.map_or(0, |batches| batches.len() as u64);
        }
    }
    Ok((bytes, started.elapsed()))
}
