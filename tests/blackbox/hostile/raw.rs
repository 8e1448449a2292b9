//! Bytes that are no requests: protobuf that lies, and connections that speak something else.

use super::Target;
use crate::support::Result;
use bytes::{Buf, BufMut, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

/// Carries bytes as they are.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> std::result::Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Protobuf whose lengths lie, whose types are wrong, or that is none.
fn lies() -> Vec<Bytes> {
    let length_delimited = |tag: u8, length: &[u8]| {
        let mut bytes = vec![tag << 3 | 2];
        bytes.extend_from_slice(length);
        Bytes::from(bytes)
    };
    let nested: Vec<u8> = std::iter::repeat_n([0x0a, 0x7f], 10_000).flatten().collect();
    vec![
        // A batch, or a name, of 2 GiB, of 2^64 - 1 bytes; of a length that never ends.
        length_delimited(1, &[0xff, 0xff, 0xff, 0xff, 0x07]),
        length_delimited(1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        length_delimited(1, &[0xff; 40]),
        // Field 0, a wire type that there is not, groups that never end.
        Bytes::from_static(&[0x00, 0x01]),
        Bytes::from_static(&[0x0f, 0x01]),
        Bytes::from(vec![0x0b; 5_000]),
        // Messages in messages in messages.
        Bytes::from(nested),
        // A name that is not UTF-8.
        Bytes::from_static(&[0x0a, 0x04, 0x0a, 0x02, 0xff, 0xfe]),
        Bytes::from(vec![0xa5; 1 << 20]),
    ]
}

#[tokio::test]
async fn protobuf_that_lies_is_refused() -> Result<()> {
    let mut target = Target::start().await?;
    let paths = [
        "/quipu.v1.ProduceService/Produce",
        "/quipu.v1.ConsumeService/Fetch",
        "/quipu.v1.ConsumeService/ListOffsets",
        "/quipu.v1.TopicService/CreateTopic",
        "/quipu.v1.ClusterService/GetRouting",
        "/quipu.v1.NoService/NoMethod",
    ];
    let mut count = 0;
    for path in paths {
        for lie in lies() {
            let mut client = tonic::client::Grpc::new(target.channel.clone());
            client.ready().await?;
            let answer = client
                .unary(Request::new(lie), PathAndQuery::from_static(path), RawCodec)
                .await;
            assert!(answer.is_err(), "{path}: a lie was accepted");
            target.look()?;
            count += 1;
        }
    }
    target.unharmed(count)
}

/// Reads until the other side closes, or for a little while; what is said does not matter.
async fn listen(stream: &mut tokio::net::TcpStream) {
    let mut answer = vec![0; 4096];
    let reading = async { while stream.read(&mut answer).await.is_ok_and(|read| read > 0) {} };
    // A broker may wait for more; that is not what is tested.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(200), reading).await;
}

#[tokio::test]
async fn connections_that_speak_something_else_are_survived() -> Result<()> {
    let mut target = Target::start().await?;
    let mut settings_then_garbage = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    settings_then_garbage.extend(std::iter::repeat_n(0xff, 70_000));
    // A headers frame of 16 MiB - 1 that never comes.
    let mut long_frame = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    long_frame.extend_from_slice(&[0xff, 0xff, 0xff, 0x01, 0x04, 0, 0, 0, 1]);
    let openings: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: quipu\r\n\r\n".to_vec(),
        // The beginning of TLS, and of Kafka's ApiVersions.
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        vec![
            0, 0, 0, 0x10, 0, 18, 0, 0, 0, 0, 0, 1, 0, 2, b'h', b'i', 0, 0, 0, 0,
        ],
        vec![0; 100_000],
        settings_then_garbage,
        long_frame,
        Vec::new(),
    ];
    for opening in &openings {
        for address in [target.broker.address(), target.broker.http()] {
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            // The broker may close before it has read all of this.
            let _ = stream.write_all(opening).await;
            listen(&mut stream).await;
        }
        target.look()?;
    }
    target.unharmed(openings.len() * 2)
}
