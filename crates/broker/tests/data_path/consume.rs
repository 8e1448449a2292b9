//! Consume.

use crate::harness::{MiniBroker, config, encode, encoded, reason, records};
use quipu_broker::{DataPlaneConfig, Phase};
use quipu_metadata::DeleteTopic;
use quipu_proto::v1;
use quipu_proto::v1::consume_request::Message as Ask;
use quipu_proto::v1::consume_response::Message as Say;
use quipu_record::Codec;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// A consume stream, held by both ends.
struct Stream {
    ask: Option<mpsc::Sender<v1::ConsumeRequest>>,
    say: Streaming<v1::ConsumeResponse>,
}

fn partition(partition: u32) -> v1::ConsumePartition {
    v1::ConsumePartition {
        topic: "t".to_owned(),
        partition,
        ..v1::ConsumePartition::default()
    }
}

fn open(partitions: Vec<v1::ConsumePartition>, format: v1::Format) -> v1::Open {
    v1::Open {
        source: Some(v1::open::Source::Partitions(v1::OpenPartitions { partitions })),
        format: format.into(),
        ..v1::Open::default()
    }
}

impl Stream {
    async fn start(broker: &MiniBroker, open: v1::Open) -> Self {
        let (ask, asked) = mpsc::channel(64);
        let first = v1::ConsumeRequest {
            message: Some(Ask::Open(open)),
        };
        ask.send(first).await.expect("room");
        let say = broker.consuming().consume(ReceiverStream::new(asked)).await;
        Self {
            ask: Some(ask),
            say: say.expect("a stream").into_inner(),
        }
    }

    async fn opened(&mut self) -> Vec<v1::OpenedPartition> {
        match self.next().await {
            Ok(Some(Say::Opened(opened))) => opened.partitions,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, message: Ask) {
        let request = v1::ConsumeRequest {
            message: Some(message),
        };
        let ask = self.ask.as_ref().expect("open");
        ask.send(request).await.expect("the stream is open");
    }

    async fn credit(&self, bytes: u64, records: Option<u64>) {
        self.ask(Ask::Credit(v1::Credit { bytes, records })).await;
    }

    /// The next message that is not a heartbeat.
    async fn next(&mut self) -> Result<Option<Say>, Status> {
        loop {
            match self.say.message().await?.map(|response| response.message) {
                Some(Some(Say::Heartbeat(_))) => {}
                Some(message) => return Ok(message),
                None => return Ok(None),
            }
        }
    }

    async fn data(&mut self) -> v1::PartitionData {
        match self.next().await {
            Ok(Some(Say::Data(data))) => data,
            other => panic!("{other:?}"),
        }
    }

    /// Only signs of life for a while.
    async fn silence(&mut self) {
        for _ in 0..3 {
            let message = self
                .say
                .message()
                .await
                .expect("no error")
                .expect("no end")
                .message;
            assert!(matches!(message, Some(Say::Heartbeat(_))), "{message:?}");
        }
    }
}

fn values(data: &v1::PartitionData) -> Vec<String> {
    let value = |stored: &v1::StoredRecord| {
        let value = stored.record.as_ref().and_then(|record| record.value.clone());
        String::from_utf8(value.expect("a value").to_vec()).expect("text")
    };
    data.records.iter().map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_flows_without_credit_and_no_more_than_it() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker.produce(records("t", 0, &["a", "b", "c", "d"])).await;
    let mut stream = Stream::start(&broker, open(vec![partition(0)], v1::Format::Records)).await;
    let opened = stream.opened().await;
    assert_eq!(
        (opened[0].offset, opened[0].high_watermark, opened[0].log_start),
        (0, 4, 0)
    );
    stream.silence().await;
    stream.credit(1000, Some(1)).await;
    assert_eq!(values(&stream.data().await), ["a"]);
    stream.silence().await;
    stream.credit(0, Some(2)).await;
    assert_eq!(values(&stream.data().await), ["b", "c"]);
    stream.credit(0, Some(100)).await;
    let data = stream.data().await;
    assert_eq!((values(&data), data.next_offset), (vec!["d".to_owned()], 4));
    broker.produce(records("t", 0, &["e"])).await;
    assert_eq!(values(&stream.data().await), ["e"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_credit_is_exhausted_by_the_record_that_passes_it() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker
        .produce(records("t", 0, &["12345", "12345", "12345", "12345"]))
        .await;
    let mut stream = Stream::start(&broker, open(vec![partition(0)], v1::Format::Records)).await;
    stream.opened().await;
    stream.credit(6, None).await;
    assert_eq!(
        values(&stream.data().await).len(),
        2,
        "5 bytes are less than 6, 10 are not"
    );
    stream.silence().await;
    stream.credit(u64::MAX, None).await;
    assert_eq!(values(&stream.data().await).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_batches_follow_the_credit_batch_by_batch() {
    for tail_bytes in [32 << 20, 0] {
        let mut broker = MiniBroker::with(DataPlaneConfig {
            tail_bytes,
            ..config()
        })
        .await;
        broker.create("t", 1);
        for _ in 0..3 {
            broker
                .produce(encoded("t", 0, encode(&["x", "y"], Codec::None, None)))
                .await;
        }
        let mut stream = Stream::start(&broker, open(vec![partition(0)], v1::Format::Encoded)).await;
        stream.opened().await;
        stream.credit(1 << 20, Some(3)).await;
        let data = stream.data().await;
        assert_eq!(
            data.next_offset, 4,
            "the second batch passes three records, by one that is owed"
        );
        stream.silence().await;
        stream.credit(0, Some(1)).await;
        stream.silence().await;
        stream.credit(0, Some(1)).await;
        let data = stream.data().await;
        let bytes = data.encoded.expect("encoded").into_bytes();
        assert_eq!(quipu_record::iter_batches(bytes).count(), 1);
        assert_eq!(data.next_offset, 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_share_a_stream() {
    const PARTITIONS: u32 = 50;
    let mut broker = MiniBroker::start().await;
    broker.create("t", PARTITIONS);
    let all = (0..PARTITIONS).map(partition).collect();
    let mut stream = Stream::start(&broker, open(all, v1::Format::Records)).await;
    assert_eq!(stream.opened().await.len(), 50);
    stream.credit(u64::MAX, None).await;
    for round in 0..3u64 {
        for n in 0..PARTITIONS {
            broker.produce(records("t", n, &["x"])).await;
        }
        let mut seen = std::collections::HashMap::new();
        while seen.len() < PARTITIONS as usize {
            let data = stream.data().await;
            assert_eq!(data.records[0].offset, round);
            assert_eq!(seen.insert(data.partition, data.next_offset), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seek_and_pause_move_one_partition() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 2);
    broker.produce(records("t", 0, &["a", "b", "c"])).await;
    let mut stream = Stream::start(
        &broker,
        open(vec![partition(0), partition(1)], v1::Format::Records),
    )
    .await;
    stream.opened().await;
    stream.credit(u64::MAX, None).await;
    assert_eq!(values(&stream.data().await), ["a", "b", "c"]);

    let to = |position| {
        Ask::Seek(v1::Seek {
            topic: "t".to_owned(),
            partition: 0,
            to: Some(v1::StartPosition {
                position: Some(position),
            }),
        })
    };
    stream.ask(to(v1::start_position::Position::Offset(1))).await;
    match stream.next().await {
        Ok(Some(Say::Sought(sought))) => assert_eq!((sought.offset, sought.error), (1, None)),
        other => panic!("{other:?}"),
    }
    assert_eq!(values(&stream.data().await), ["b", "c"]);
    stream.ask(to(v1::start_position::Position::Offset(77))).await;
    match stream.next().await {
        Ok(Some(Say::Sought(sought))) => {
            assert_eq!(reason(sought.error.as_ref()), v1::ErrorReason::OffsetOutOfRange);
            assert_eq!(sought.offset, 3, "the cursor stays");
        }
        other => panic!("{other:?}"),
    }

    let pause = |paused| {
        Ask::Pause(v1::Pause {
            topic: "t".to_owned(),
            partition: 0,
            paused,
        })
    };
    stream.ask(pause(true)).await;
    // Commands are obeyed in order: once this seek is answered, the pause holds.
    stream
        .ask(to(v1::start_position::Position::Latest(v1::Latest {})))
        .await;
    assert!(matches!(stream.next().await, Ok(Some(Say::Sought(_)))));
    broker.produce(records("t", 0, &["d"])).await;
    broker.produce(records("t", 1, &["other"])).await;
    assert_eq!(values(&stream.data().await), ["other"]);
    stream.silence().await;
    stream.ask(pause(false)).await;
    assert_eq!(values(&stream.data().await), ["d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_where_it_is_told() {
    use v1::start_position::Position;
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    for (value, time) in [("a", 1_000), ("b", 2_000), ("c", 3_000)] {
        let mut batch = records("t", 0, &[value]);
        if let Some(v1::batch::Payload::Records(list)) = &mut batch.payload {
            list.records[0].timestamp_ms = Some(time);
        }
        broker.produce(batch).await;
    }
    let cases = [
        (Position::Earliest(v1::Earliest {}), 0),
        (Position::Latest(v1::Latest {}), 3),
        (Position::Offset(2), 2),
        (Position::TimestampMs(1_500), 1),
        (Position::TimestampMs(9_999), 3),
    ];
    for (position, offset) in cases {
        let mut asked = partition(0);
        asked.start = Some(v1::StartPosition {
            position: Some(position),
        });
        let mut stream = Stream::start(&broker, open(vec![asked], v1::Format::Records)).await;
        let opened = stream.opened().await;
        assert_eq!(opened[0].offset, offset, "{position:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_opened_says_so_and_the_others_go_on() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker.produce(records("t", 0, &["x"])).await;
    let mut stream = Stream::start(
        &broker,
        open(vec![partition(9), partition(0)], v1::Format::Records),
    )
    .await;
    let opened = stream.opened().await;
    let first = reason(opened[0].error.as_ref());
    assert_eq!(first, v1::ErrorReason::UnknownTopicOrPartition);
    assert_eq!(opened[1].error, None);
    stream.credit(1000, None).await;
    assert_eq!(stream.data().await.partition, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_ends_its_partition_and_a_draining_broker_its_streams() {
    let mut broker = MiniBroker::start().await;
    let topic_id = broker.create("t", 1);
    let mut stream = Stream::start(&broker, open(vec![partition(0)], v1::Format::Records)).await;
    stream.opened().await;
    stream.credit(1000, None).await;
    broker.run(DeleteTopic { topic_id });
    let data = stream.data().await;
    let expected = v1::ErrorReason::UnknownTopicOrPartition;
    assert_eq!(reason(data.error.as_ref()), expected);
    stream.silence().await;
    broker.admission.enter(Phase::Draining);
    let status = stream.next().await.expect_err("an explicit end");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_said_its_last_word_gets_what_it_paid_for_and_an_end() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker.produce(records("t", 0, &["a", "b", "c"])).await;
    let mut stream = Stream::start(&broker, open(vec![partition(0)], v1::Format::Records)).await;
    stream.opened().await;
    stream.credit(1000, Some(2)).await;
    stream.ask = None;
    assert_eq!(values(&stream.data().await), ["a", "b"]);
    assert!(matches!(stream.next().await, Ok(None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_otherwise_is_refused() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let (ask, asked) = mpsc::channel(4);
    let credit = Ask::Credit(v1::Credit {
        bytes: 1,
        records: None,
    });
    let request = v1::ConsumeRequest {
        message: Some(credit),
    };
    ask.send(request).await.expect("room");
    let say = broker.consuming().consume(ReceiverStream::new(asked)).await;
    let status = say
        .expect("a stream")
        .into_inner()
        .message()
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);

    let twice = open(vec![partition(0), partition(0)], v1::Format::Records);
    let mut stream = Stream::start(&broker, twice).await;
    assert_eq!(
        stream.next().await.expect_err("twice").code(),
        Code::InvalidArgument
    );
}
