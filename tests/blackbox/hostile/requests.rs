//! Requests whose fields are nonsense: names, counts, offsets, sizes, the order of a stream's messages.

use super::{Target, assert_named};
use crate::support::Result;
use quipu_proto::Failure;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::topic_service_client::TopicServiceClient;
use quipu_proto::v1::{
    Batch, ConsumePartition, ConsumeRequest, CreateTopicRequest, Credit, FetchPartition, FetchRequest,
    ListOffsetsRequest, OffsetQuery, Open, OpenPartitions, ProduceRequest, Record, RecordList, StartPosition,
    batch, consume_request, consume_response, open, start_position,
};
use quipu_record::ErrorCode;
use std::collections::HashMap;
use tonic::{Code, Status};

fn failure(case: &str, status: &Status) -> Failure {
    Failure::from_status(status).unwrap_or_else(|| panic!("{case}: not an error of the broker's: {status}"))
}

#[tokio::test]
async fn topics_with_nonsense_are_refused_by_name() -> Result<()> {
    let mut target = Target::start().await?;
    let mut client = TopicServiceClient::new(target.channel.clone());
    let named = |name: &str| CreateTopicRequest {
        name: name.to_owned(),
        ..CreateTopicRequest::default()
    };
    let config = |key: &str, value: &str| CreateTopicRequest {
        configs: HashMap::from([(key.to_owned(), value.to_owned())]),
        ..named("u")
    };
    let many: HashMap<_, _> = (0..5_000)
        .map(|n| (format!("nonsense.{n}"), "x".repeat(20)))
        .collect();
    let cases = vec![
        ("no name", named(""), ErrorCode::InvalidTopic, "empty"),
        ("a dot", named("."), ErrorCode::InvalidTopic, "."),
        ("two dots", named(".."), ErrorCode::InvalidTopic, ".."),
        ("a path", named("../../etc/passwd"), ErrorCode::InvalidTopic, "/"),
        ("a null byte", named("a\0b"), ErrorCode::InvalidTopic, "name"),
        ("another script", named("テスト"), ErrorCode::InvalidTopic, "name"),
        (
            "250 letters",
            named(&"x".repeat(250)),
            ErrorCode::InvalidTopic,
            "249",
        ),
        (
            "a hundred thousand letters",
            named(&"x".repeat(100_000)),
            ErrorCode::InvalidTopic,
            "249",
        ),
        (
            "2^32 - 1 partitions",
            CreateTopicRequest {
                partitions: u32::MAX,
                ..named("u")
            },
            ErrorCode::InvalidTopic,
            "partitions",
        ),
        (
            "2^32 - 1 replicas",
            CreateTopicRequest {
                replication_factor: u32::MAX,
                ..named("u")
            },
            ErrorCode::InvalidReplicationFactor,
            "replica",
        ),
        (
            "an unknown config",
            config("retention.sm", "1"),
            ErrorCode::InvalidConfig,
            "retention.sm",
        ),
        (
            "a config that is no number",
            config("retention.ms", "soon"),
            ErrorCode::InvalidConfig,
            "retention.ms",
        ),
        (
            "a config beyond its limits",
            config("segment.bytes", "1"),
            ErrorCode::InvalidConfig,
            "segment.bytes",
        ),
        (
            "a config of a megabyte",
            config("retention.ms", &"9".repeat(100_000)),
            ErrorCode::InvalidConfig,
            "retention.ms",
        ),
        (
            "20,000 configs",
            CreateTopicRequest {
                configs: many,
                ..named("u")
            },
            ErrorCode::InvalidConfig,
            "nonsense.",
        ),
    ];
    let count = cases.len();
    for (case, request, code, word) in cases {
        let status = client
            .create_topic(request)
            .await
            .err()
            .ok_or_else(|| format!("{case} was accepted"))?;
        assert_named(case, &failure(case, &status), code, word);
        target.look()?;
    }
    target.unharmed(count)
}

#[tokio::test]
async fn produce_requests_with_nonsense_are_refused() -> Result<()> {
    let mut target = Target::start().await?;
    let mut client = ProduceServiceClient::new(target.channel.clone());
    let record = |value: Vec<u8>| Record {
        value: Some(value.into()),
        ..Record::default()
    };
    let plain = |topic: &str, partition: Option<u32>, records: Vec<Record>| Batch {
        topic: topic.to_owned(),
        partition,
        payload: Some(batch::Payload::Records(RecordList {
            records,
            ..RecordList::default()
        })),
        ..Batch::default()
    };
    let one = || vec![record(b"v".to_vec())];
    let other_id = Batch {
        topic_id: Some("not a uuid".into()),
        ..plain("t", Some(0), one())
    };
    let stranger_id = Batch {
        topic_id: Some("00000000-0000-4000-8000-000000000000".into()),
        ..plain("t", Some(0), one())
    };
    let cases = vec![
        (
            "no topic",
            plain("", Some(0), one()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "an unknown topic",
            plain("nowhere", Some(0), one()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "an unknown partition",
            plain("t", Some(u32::MAX), one()),
            ErrorCode::UnknownTopicOrPartition,
        ),
        ("an id that is none", other_id, ErrorCode::InvalidRequest),
        ("the id of another topic", stranger_id, ErrorCode::UnknownTopicId),
        (
            "no records",
            plain("t", Some(0), Vec::new()),
            ErrorCode::InvalidRequest,
        ),
        (
            "no payload",
            Batch {
                payload: None,
                ..plain("t", Some(0), one())
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "a record of 3 MiB",
            plain("t", Some(0), vec![record(vec![7; 3 << 20])]),
            ErrorCode::BatchTooLarge,
        ),
    ];
    let count = cases.len() + 3;
    for (case, batch, code) in cases {
        let request = ProduceRequest {
            batches: vec![batch],
            ..ProduceRequest::default()
        };
        let found = match client.produce(request).await {
            Ok(answer) => {
                let result = answer.into_inner().results.remove(0);
                Failure::from(result.error.ok_or_else(|| format!("{case} was accepted"))?)
            }
            Err(status) => failure(case, &status),
        };
        assert_named(case, &found, code, "");
        target.look()?;
    }

    // A partition twice in one request is no nonsense: what a thin client keys may come to one. In the order given.
    let twice = ProduceRequest {
        batches: vec![plain("t", Some(0), one()); 2],
        ..ProduceRequest::default()
    };
    let results = client.produce(twice).await?.into_inner().results;
    let offsets: Vec<u64> = results.iter().filter_map(|result| result.base_offset).collect();
    assert!(offsets.len() == 2 && offsets[1] == offsets[0] + 1, "{results:?}");
    // A number that no enum has.
    let acks = ProduceRequest {
        batches: vec![plain("t", Some(0), one())],
        acks: 99,
        ..ProduceRequest::default()
    };
    let status = client.produce(acks).await.err().ok_or("acks 99 were accepted")?;
    assert_named(
        "acks 99",
        &failure("acks 99", &status),
        ErrorCode::InvalidRequest,
        "acks",
    );
    // 48 MiB in one message: more than any request may have.
    let mut large = client.clone().max_encoding_message_size(usize::MAX);
    let batch = plain("t", Some(0), vec![record(vec![7; 48 << 20])]);
    let too_large = large
        .produce(ProduceRequest {
            batches: vec![batch],
            ..ProduceRequest::default()
        })
        .await;
    let status = too_large.err().ok_or("48 MiB were accepted")?;
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status}"
    );
    target.look()?;
    target.unharmed(count)
}

#[tokio::test]
async fn fetches_with_nonsense_are_refused() -> Result<()> {
    let mut target = Target::start().await?;
    let mut client = ConsumeServiceClient::new(target.channel.clone()).max_decoding_message_size(64 << 20);
    let at = |topic: &str, partition: u32, offset: u64| FetchPartition {
        topic: topic.to_owned(),
        partition,
        offset,
        ..FetchPartition::default()
    };
    let cases = vec![
        (
            "an unknown topic",
            at("nowhere", 0, 0),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "an unknown partition",
            at("t", u32::MAX, 0),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            "an offset beyond the end",
            at("t", 0, u64::from(u32::MAX)),
            ErrorCode::OffsetOutOfRange,
        ),
        (
            "an offset of 2^64 - 1",
            at("t", 0, u64::MAX),
            ErrorCode::InvalidRequest,
        ),
    ];
    let mut count = cases.len();
    for (case, partition, code) in cases {
        let request = FetchRequest {
            partitions: vec![partition],
            ..FetchRequest::default()
        };
        let found = match client.fetch(request).await {
            Ok(answer) => {
                let data = answer.into_inner().partitions.remove(0);
                Failure::from(data.error.ok_or_else(|| format!("{case} was accepted"))?)
            }
            Err(status) => failure(case, &status),
        };
        assert_named(case, &found, code, "");
        target.look()?;
    }
    let greedy = FetchRequest {
        partitions: vec![at("t", 0, 0)],
        max_bytes: u32::MAX,
        ..FetchRequest::default()
    };
    let status = client.fetch(greedy).await.err().ok_or("4 GiB were promised")?;
    assert_named(
        "4 GiB",
        &failure("4 GiB", &status),
        ErrorCode::InvalidRequest,
        "max_bytes",
    );
    // 100,000 partitions that are not there, and one partition 10,000 times.
    for partitions in [
        (0..100_000).map(|n| at("t", n + 1, 0)).collect(),
        vec![at("t", 0, 0); 10_000],
    ] {
        let request = FetchRequest {
            partitions,
            max_wait_ms: u32::MAX,
            min_bytes: u32::MAX,
            ..FetchRequest::default()
        };
        match client.fetch(request).await {
            Err(status) => assert_ne!(failure("many", &status).code, ErrorCode::Internal, "{status}"),
            Ok(answer) => assert!(answer.get_ref().partitions.iter().any(|p| p.error.is_some())),
        }
        target.look()?;
        count += 1;
    }
    let nonsense = OffsetQuery {
        topic: "t".into(),
        partition: 9,
        ..OffsetQuery::default()
    };
    let request = ListOffsetsRequest {
        queries: vec![nonsense],
        ..ListOffsetsRequest::default()
    };
    match client.list_offsets(request).await {
        Err(status) => assert_ne!(
            failure("list offsets", &status).code,
            ErrorCode::Internal,
            "{status}"
        ),
        Ok(answer) => assert!(answer.get_ref().results[0].error.is_some()),
    }
    target.unharmed(count + 1)
}

#[tokio::test]
async fn consume_streams_with_nonsense_end_with_a_status() -> Result<()> {
    let mut target = Target::start().await?;
    let client = ConsumeServiceClient::new(target.channel.clone());
    let message = |message| ConsumeRequest {
        message: Some(message),
    };
    let credit = |bytes, records| message(consume_request::Message::Credit(Credit { bytes, records }));
    let start = |position| {
        Some(StartPosition {
            position: Some(position),
        })
    };
    let opened = |topic: &str, at| {
        let partition = ConsumePartition {
            topic: topic.into(),
            partition: 0,
            start: at,
            ..ConsumePartition::default()
        };
        let partitions = OpenPartitions {
            partitions: vec![partition],
        };
        message(consume_request::Message::Open(Open {
            source: Some(open::Source::Partitions(partitions)),
            ..Open::default()
        }))
    };
    let nothing = message(consume_request::Message::Open(Open::default()));
    let zero = || start(start_position::Position::Offset(0));
    let cases: Vec<(&str, Vec<ConsumeRequest>)> = vec![
        ("a credit first", vec![credit(1, None)]),
        ("an empty message", vec![ConsumeRequest { message: None }]),
        ("nothing to consume", vec![nothing]),
        ("opened twice", vec![opened("t", zero()), opened("t", zero())]),
    ];
    let count = cases.len();
    for (case, messages) in cases {
        // The client's half stays open: it is the broker that must end the stream.
        let requests = tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending());
        let ended = async {
            let mut answers = client.clone().consume(requests).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        let ended = tokio::time::timeout(crate::support::PATIENCE, ended).await;
        let status = ended
            .map_err(|_| format!("{case}: the stream never ended"))?
            .err();
        let status = status.ok_or_else(|| format!("{case} was accepted"))?;
        assert_named(case, &failure(case, &status), ErrorCode::InvalidRequest, "");
        target.look()?;
    }
    // A place that is none stops its partition, not the stream.
    let nowhere = [opened("t", start(start_position::Position::Offset(u64::MAX)))];
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter(nowhere), tokio_stream::pending());
    let answer = client
        .clone()
        .consume(requests)
        .await?
        .into_inner()
        .message()
        .await?;
    let Some(consume_response::Message::Opened(opening)) = answer.and_then(|answer| answer.message) else {
        return Err("the first answer is that the stream is open".into());
    };
    let error = opening.partitions[0]
        .error
        .clone()
        .ok_or("an offset of 2^64 - 1 was accepted")?;
    assert_named(
        "an offset",
        &Failure::from(error),
        ErrorCode::InvalidRequest,
        "offset",
    );
    // Credits that overflow are no error; they are just very many.
    let plenty = [
        opened("t", zero()),
        credit(u64::MAX, Some(u64::MAX)),
        credit(u64::MAX, Some(u64::MAX)),
    ];
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter(plenty), tokio_stream::pending());
    let mut answers = client.clone().consume(requests).await?.into_inner();
    for _ in 0..3 {
        assert!(answers.message().await?.is_some());
    }
    drop(answers);
    target.unharmed(count + 1)
}
