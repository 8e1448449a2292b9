//! What is asked and answered survives the way over the wire; what cannot be is refused.

use super::*;
use proptest::prelude::*;
use quipu_coordinator::{
    AssignedPartition, AssignmentEpoch, Committed, GroupId, Heartbeat, HeartbeatAnswer, InstanceId,
    MemberEpoch, MemberId, StreamId, StreamNumber, Subscription,
};
use quipu_proto::v1;
use quipu_record::{ErrorCode, LeaderEpoch, Offset, Timestamp};

fn millis_of(span: std::ops::Range<u32>) -> impl Strategy<Value = Duration> {
    span.prop_map(|millis| Duration::from_millis(millis.into()))
}

prop_compose! {
    fn places()(places in prop::collection::btree_set((any::<u128>(), any::<u32>()), 0..5)) -> Vec<TopicPartition> {
        places.into_iter().map(|(topic, partition)| at(TopicId::from_u128(topic), partition)).collect()
    }
}

prop_compose! {
    fn heartbeats()(
        epoch in prop::option::of(1..u32::MAX),
        instance in prop::option::of("[a-z]{1,8}"),
        rack in prop::option::of("[a-z]{1,8}"),
        wanted in prop::option::of((prop::collection::vec("[a-z]{1,8}", 0..3), prop::option::of("[a-z.*]{0,8}"))),
        assignor in prop::option::of("[a-z]{1,8}"),
        owned in prop::option::of(places()),
        session in prop::option::of(millis_of(1..u32::MAX)),
        revocation in prop::option::of(millis_of(1..u32::MAX)),
        stream in prop::option::of(1..u64::MAX),
        number in prop::option::of(1..u64::MAX),
        max_wait in millis_of(0..u32::MAX),
    ) -> Heartbeat {
        Heartbeat {
            group: GroupId::new("g").unwrap(),
            member: MemberId::new("m").unwrap(),
            epoch: epoch.map(MemberEpoch::new),
            instance: instance.map(|id| InstanceId::new(&id).unwrap()),
            rack: rack.map(Into::into),
            subscription: wanted.map(|(topics, pattern)| Subscription {
                topics: topics.into_iter().map(Into::into).collect(),
                pattern: pattern.map(Into::into),
            }),
            assignor,
            owned,
            session_timeout: session,
            revocation_timeout: revocation,
            client_id: "client".into(),
            client_host: "host".into(),
            stream: stream.map(StreamId::new),
            stream_number: number.map(StreamNumber::new),
            max_wait,
        }
    }
}

proptest! {
    #[test]
    fn a_heartbeat_arrives_as_it_was_sent(heartbeat in heartbeats()) {
        let wire = heartbeat_request_to_wire(heartbeat.clone());
        prop_assert_eq!(heartbeat_request_from_wire(wire).unwrap(), heartbeat);
    }

    #[test]
    fn an_assignment_arrives_as_it_was_sent(
        epoch in any::<u32>(),
        spans in (millis_of(0..u32::MAX), millis_of(0..u32::MAX)),
        assigned in prop::option::of((places(), places())),
        left in prop::option::of(millis_of(0..u32::MAX)),
    ) {
        let since = |places: Vec<TopicPartition>| {
            let epoch = AssignmentEpoch::new(epoch);
            places.into_iter().map(|at| AssignedPartition { at, epoch }).collect()
        };
        let (assigned, revoking) = match assigned {
            Some((assigned, revoking)) => (Some(since(assigned)), since(revoking)),
            None => (None, Vec::new()),
        };
        let answer = HeartbeatAnswer {
            epoch: MemberEpoch::new(epoch),
            heartbeat_interval: spans.0,
            session_timeout: spans.1,
            assignment: assigned,
            revoking,
            revocation_left: left,
        };
        let wire = heartbeat_to_wire(&Image::default(), answer.clone());
        prop_assert_eq!(heartbeat_from_wire(wire).unwrap(), answer);
    }

    #[test]
    fn offsets_arrive_as_they_were_sent(
        places in places(),
        offset in prop::option::of(0..1u64 << 63),
        epoch in prop::option::of(any::<u32>()),
        metadata in ".{0,20}",
        time in any::<i64>(),
    ) {
        let committed = offset.map(|offset| Committed {
            offset: Offset::new(offset),
            leader_epoch: epoch.map(LeaderEpoch::new),
            metadata: metadata.as_str().into(),
            at: Timestamp::new(time),
        });
        let offsets: Vec<_> = places.into_iter().map(|at| (at, committed.clone())).collect();
        let wire = v1::GetOffsetsResponse {
            offsets: offsets_to_wire(&Image::default(), offsets.clone()),
            throttle_ms: 0,
        };
        prop_assert_eq!(offsets_from_wire(wire).unwrap(), offsets);
    }
}

#[test]
fn what_is_no_heartbeat_is_refused() {
    let good = v1::GroupHeartbeatRequest {
        group: "g".to_owned(),
        member_id: "m".to_owned(),
        ..v1::GroupHeartbeatRequest::default()
    };
    assert!(heartbeat_request_from_wire(good.clone()).is_ok());
    let bad = |change: &dyn Fn(&mut v1::GroupHeartbeatRequest)| {
        let mut request = good.clone();
        change(&mut request);
        heartbeat_request_from_wire(request).unwrap_err().code
    };
    assert_eq!(
        bad(&|request| request.group = String::new()),
        ErrorCode::InvalidGroup
    );
    assert_eq!(
        bad(&|request| request.member_id = "m".repeat(65)),
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        bad(&|request| request.instance_id = Some(String::new())),
        ErrorCode::InvalidRequest
    );
    let owned = |topic_id: &str, count| v1::OwnedPartitions {
        partitions: vec![
            v1::OwnedPartition {
                topic_id: topic_id.to_owned(),
                partition: 0,
            };
            count
        ],
    };
    assert_eq!(
        bad(&|request| request.owned = Some(owned("flights", 1))),
        ErrorCode::InvalidRequest
    );
    let id = TopicId::from_u128(1).to_string();
    assert_eq!(
        bad(&|request| request.owned = Some(owned(&id, 10_001))),
        ErrorCode::InvalidRequest
    );
    let long = heartbeat_request_from_wire(v1::GroupHeartbeatRequest {
        client_id: "é".repeat(1000),
        ..good.clone()
    });
    assert!(long.unwrap().client_id.len() <= 256);
}
