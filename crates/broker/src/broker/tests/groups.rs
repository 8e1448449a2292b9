//! Consumer groups as clients see them: GroupService of whole brokers, over real sockets.

use super::*;
use quipu_proto::v1::group_service_client::GroupServiceClient;
use quipu_record::PlantedBug;
use tokio::time::Instant;

mod failover;
mod members;
mod writing;

/// What takes longer than this will never come.
const PATIENCE: Duration = Duration::from_secs(60);

fn client(channel: &Channel) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(channel.clone())
}

pub(super) fn offset(topic: &str, partition: u32, offset: u64) -> v1::OffsetCommit {
    v1::OffsetCommit {
        topic: topic.to_owned(),
        partition,
        offset,
        metadata: format!("at {offset}"),
        ..v1::OffsetCommit::default()
    }
}

/// Commits as an administrator does, or as a member.
pub(super) async fn try_commit(
    channel: &Channel,
    group: &str,
    member: Option<(&str, u32)>,
    offsets: &[v1::OffsetCommit],
) -> Result<Vec<Option<v1::ErrorReason>>, Status> {
    let request = v1::CommitOffsetsRequest {
        group: group.to_owned(),
        member_id: member.map(|(id, _)| id.to_owned()),
        member_epoch: member.map_or(0, |(_, epoch)| epoch),
        offsets: offsets.to_vec(),
        ..v1::CommitOffsetsRequest::default()
    };
    let results = client(channel)
        .commit_offsets(request)
        .await?
        .into_inner()
        .results;
    let results = results.iter();
    Ok(results
        .map(|result| result.error.as_ref().map(v1::ItemError::reason))
        .collect())
}

pub(super) async fn commit(channel: &Channel, group: &str, offsets: &[v1::OffsetCommit]) {
    let results = try_commit(channel, group, None, offsets).await.unwrap();
    assert_eq!(results, vec![None; offsets.len()]);
}

/// What is committed of partitions of one topic.
pub(super) async fn committed(
    channel: &Channel,
    group: &str,
    topic: &str,
    partitions: u32,
) -> Vec<Option<u64>> {
    let wanted = (0..partitions).map(|partition| v1::OffsetWanted {
        topic: topic.to_owned(),
        partition,
        ..v1::OffsetWanted::default()
    });
    let request = v1::GetOffsetsRequest {
        group: group.to_owned(),
        partitions: wanted.collect(),
        ..v1::GetOffsetsRequest::default()
    };
    let offsets = client(channel)
        .get_offsets(request)
        .await
        .unwrap()
        .into_inner()
        .offsets;
    for (n, offset) in (0..).zip(&offsets) {
        assert_eq!(
            (&*offset.topic, offset.partition, &offset.error),
            (topic, n, &None)
        );
    }
    offsets.into_iter().map(|offset| offset.offset).collect()
}

pub(super) async fn describe(channel: &Channel, group: &str) -> Result<v1::DescribeGroupResponse, Status> {
    let request = v1::DescribeGroupRequest {
        group: group.to_owned(),
        ..v1::DescribeGroupRequest::default()
    };
    Ok(client(channel).describe_group(request).await?.into_inner())
}

async fn list(channel: &Channel) -> v1::ListGroupsResponse {
    let request = v1::ListGroupsRequest::default();
    client(channel).list_groups(request).await.unwrap().into_inner()
}

pub(super) async fn reset(
    channel: &Channel,
    group: &str,
    to: v1::reset_target::To,
    validate_only: bool,
) -> Result<Vec<(u32, Option<u64>, u64)>, Status> {
    let request = v1::ResetOffsetsRequest {
        group: group.to_owned(),
        target: Some(v1::ResetTarget { to: Some(to) }),
        validate_only,
        ..v1::ResetOffsetsRequest::default()
    };
    let resets = client(channel).reset_offsets(request).await?.into_inner().resets;
    let resets = resets.into_iter().map(|reset| {
        assert_eq!(reset.error, None);
        (reset.partition, reset.from, reset.to)
    });
    Ok(resets.collect())
}

#[tokio::test]
async fn what_an_administrator_commits_is_read_described_reset_and_deleted() {
    let running = Running::start().await;
    running.create("flights", 2).await;
    let channel = &running.channel;
    for n in 0..5 {
        assert_eq!(produce(&running, "flights", "x").await, n);
    }
    assert_eq!(committed(channel, "g", "flights", 2).await, [None, None]);
    assert_eq!(list(channel).await.groups, []);
    assert_eq!(
        code(&describe(channel, "g").await.unwrap_err()),
        ErrorCode::UnknownGroup
    );

    commit(channel, "g", &[offset("flights", 0, 3), offset("flights", 1, 0)]).await;
    assert_eq!(committed(channel, "g", "flights", 2).await, [Some(3), Some(0)]);
    let listed = list(channel).await;
    assert_eq!(listed.errors, []);
    let [group] = &listed.groups[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (&*group.group, group.state(), group.members),
        ("g", v1::GroupState::Empty, 0)
    );

    let described = describe(channel, "g").await.unwrap();
    assert_eq!(described.state(), v1::GroupState::Empty);
    assert!(described.expires_at_ms.is_some());
    let first = &described.offsets[0];
    let partition = first.partition.as_ref().unwrap();
    assert_eq!((&*partition.topic, partition.partition), ("flights", 0));
    assert_eq!(
        (first.offset, first.log_start, first.high_watermark),
        (Some(3), Some(0), Some(5))
    );
    assert_eq!((&*first.metadata, first.expired), ("at 3", false));
    assert!(first.committed_at_ms > 0);

    use v1::reset_target::To;
    let would = reset(channel, "g", To::Latest(v1::Latest {}), true)
        .await
        .unwrap();
    assert_eq!(would, [(0, Some(3), 5), (1, Some(0), 0)]);
    assert_eq!(
        committed(channel, "g", "flights", 1).await,
        [Some(3)],
        "only looked"
    );
    let shifted = reset(channel, "g", To::ShiftBy(-2), false).await.unwrap();
    assert_eq!(shifted, [(0, Some(3), 1), (1, Some(0), 0)]);
    assert_eq!(committed(channel, "g", "flights", 1).await, [Some(1)]);
    let far = reset(channel, "g", To::Offset(1_000), false).await.unwrap();
    assert_eq!(far, [(0, Some(1), 5), (1, Some(0), 0)], "never beyond the log");
    let early = reset(channel, "g", To::TimestampMs(0), false).await.unwrap();
    assert_eq!(early[0], (0, Some(5), 0));

    let delete = |validate_only| v1::DeleteGroupRequest {
        group: "g".to_owned(),
        validate_only,
        ..v1::DeleteGroupRequest::default()
    };
    client(channel).delete_group(delete(true)).await.unwrap();
    assert_eq!(list(channel).await.groups.len(), 1);
    client(channel).delete_group(delete(false)).await.unwrap();
    assert_eq!(list(channel).await.groups, []);
    assert_eq!(committed(channel, "g", "flights", 2).await, [None, None]);
    let again = client(channel).delete_group(delete(false)).await.unwrap_err();
    assert_eq!(code(&again), ErrorCode::UnknownGroup);
    running.stop().await;
}

/// What was held up on its way to the coordinator before is not taken by the next one: it may be older than what that one has.
#[tokio::test]
async fn a_commit_for_the_coordinator_of_another_epoch_is_refused() {
    let running = Running::start().await;
    running.create("flights", 1).await;
    let channel = &running.channel;
    commit(channel, "g", &[offset("flights", 0, 3)]).await;
    let meant_for = |epoch: u32| v1::CommitOffsetsRequest {
        group: "g".to_owned(),
        offsets: vec![offset("flights", 0, 1)],
        routing: v1::Routing::LeaderOnly.into(),
        coordinator_epoch: Some(epoch),
        ..v1::CommitOffsetsRequest::default()
    };
    let mut taken = Vec::new();
    for epoch in 0..4 {
        let answer = client(channel).commit_offsets(meant_for(epoch)).await;
        match answer {
            Ok(_) => taken.push(epoch),
            Err(refused) => assert_eq!(code(&refused), ErrorCode::NotCoordinator),
        }
        let now = committed(channel, "g", "flights", 1).await;
        assert_eq!(now, [Some(if taken.is_empty() { 3 } else { 1 })]);
    }
    assert_eq!(taken.len(), 1, "it leads in one epoch: {taken:?}");
    running.stop().await;
}

#[tokio::test]
async fn mistakes_are_named_and_change_nothing() {
    let running = Running::start().await;
    running.create("flights", 1).await;
    let channel = &running.channel;
    let nameless = try_commit(channel, "", None, &[offset("flights", 0, 1)]).await;
    assert_eq!(code(&nameless.unwrap_err()), ErrorCode::InvalidGroup);
    let stranger = try_commit(
        channel,
        "g",
        None,
        &[offset("flights", 0, 1), offset("fligths", 0, 1)],
    )
    .await;
    let unknown = Some(v1::ErrorReason::UnknownTopicOrPartition);
    assert_eq!(stranger.unwrap(), [unknown, unknown], "all or none");
    let beyond = try_commit(
        channel,
        "g",
        None,
        &[offset("flights", 0, 1), offset("flights", 7, 1)],
    )
    .await;
    assert!(beyond.unwrap().iter().all(Option::is_some));
    let late = try_commit(channel, "g", Some(("m", 3)), &[offset("flights", 0, 1)]).await;
    let late = match late {
        Ok(results) => results[0].unwrap(),
        Err(status) => {
            v1::ErrorReason::from_str_name(&format!("ERROR_REASON_{}", code(&status).name())).unwrap()
        }
    };
    assert!(
        matches!(
            late,
            v1::ErrorReason::UnknownMember | v1::ErrorReason::UnknownGroup
        ),
        "{late:?}"
    );
    assert_eq!(committed(channel, "g", "flights", 1).await, [None]);

    let nowhere = v1::ResetOffsetsRequest {
        group: "g".to_owned(),
        ..v1::ResetOffsetsRequest::default()
    };
    let nowhere = client(channel).reset_offsets(nowhere).await.unwrap_err();
    assert_eq!(code(&nowhere), ErrorCode::InvalidRequest);
    let many = vec![offset("flights", 0, 1); 10_001];
    let many = many.into_iter().map(|one| v1::OffsetCommit {
        metadata: String::new(),
        ..one
    });
    let refused = try_commit(channel, "g", None, &many.collect::<Vec<_>>())
        .await
        .unwrap_err();
    assert_eq!(code(&refused), ErrorCode::InvalidRequest);
    running.stop().await;
}

/// What is committed once the broker was started again, cleanly or as after a crash.
async fn committed_after_restart(clean: bool) -> Vec<Option<u64>> {
    let running = Running::start().await;
    running.create("flights", 3).await;
    for n in 1..=20 {
        let group = format!("g{}", n % 3);
        let offsets = [offset("flights", 0, n), offset("flights", 2, n * 2)];
        commit(&running.channel, &group, &offsets).await;
    }
    let dir = match clean {
        true => running.stop().await,
        false => running.crash(),
    };
    let running = Running::again(dir).await;
    let offsets = committed(&running.channel, "g2", "flights", 3).await;
    running.stop().await;
    offsets
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_after_a_crash() {
    for clean in [true, false] {
        assert_eq!(
            committed_after_restart(clean).await,
            [Some(20), None, Some(40)],
            "clean: {clean}"
        );
    }
}

#[test]
fn a_coordinator_that_serves_before_it_has_loaded_is_caught() {
    // One thread runs all of the broker: the bug is planted on it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let offsets = PlantedBug::ServeBeforeLoaded.plant(|| runtime.block_on(committed_after_restart(true)));
    assert_eq!(offsets, [None; 3], "the check above sees the difference");
}

#[tokio::test]
async fn groups_are_counted_and_their_lag_is_shown() {
    let running = Running::start().await;
    running.create("flights", 1).await;
    for _ in 0..7 {
        produce(&running, "flights", "x").await;
    }
    commit(&running.channel, "g", &[offset("flights", 0, 3)]).await;
    let metrics = running.broker.addresses().http.unwrap();
    let lag = "quipu_group_lag{group=\"g\",topic=\"flights\",partition=\"0\"} 4";
    let shown = async {
        loop {
            let page = page(metrics, "/metrics").await;
            if page.contains(lag) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let page = tokio::time::timeout(PATIENCE, shown)
        .await
        .expect("the lag is shown");
    for line in [
        "quipu_groups{state=\"empty\"} 1",
        "quipu_groups{state=\"stable\"} 0",
        "quipu_group_members 0",
        "quipu_group_partitions_active 16",
        "quipu_group_partitions_failed 0",
        "quipu_group_commits 1",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
    }
    running.stop().await;
}

async fn page(at: std::net::SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
