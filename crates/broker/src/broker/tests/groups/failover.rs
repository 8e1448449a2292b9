//! Groups of a whole cluster: asked for through any broker, and after their coordinator is gone.

use super::super::cluster::{Node, places, start_all, stop_all, until};
use super::*;

const GROUPS: u32 = 12;

fn name(n: u32) -> String {
    format!("group-{n}")
}

async fn start() -> Vec<Node> {
    let nodes = start_all(places(3)).await;
    until("all are unfenced", async || {
        nodes[0]
            .cluster()
            .await
            .brokers
            .iter()
            .filter(|b| !b.fenced)
            .count()
            == 3
    })
    .await;
    nodes[0].create("flights").await;
    nodes
}

/// Commits the offset for every group, by one broker. Right after the topic was made the broker may not know it yet.
async fn commit_all(channel: &Channel, at: u64) {
    for n in 0..GROUPS {
        let committed = async || {
            let offsets = [offset("flights", 1, at)];
            match try_commit(channel, &name(n), None, &offsets).await {
                Ok(results) => results == [None],
                Err(_) => false,
            }
        };
        until("it is committed", committed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thin_client_finds_every_group_through_any_broker() {
    let nodes = start().await;
    let channel = nodes[0].channel().await;
    commit_all(&channel, 3).await;
    for node in &nodes {
        let channel = node.channel().await;
        for n in 0..GROUPS {
            assert_eq!(committed(&channel, &name(n), "flights", 2).await, [None, Some(3)]);
        }
        let listed = list(&channel).await;
        assert_eq!(listed.errors, []);
        assert_eq!(listed.groups.len(), GROUPS as usize);
        let coordinators: BTreeSet<_> = listed.groups.iter().map(|group| group.coordinator_id).collect();
        assert!(
            coordinators.len() > 1,
            "several brokers coordinate: {coordinators:?}"
        );
        let described = describe(&channel, &name(0)).await.unwrap();
        assert_eq!(
            (
                described.offsets[0].log_start,
                described.offsets[0].high_watermark
            ),
            (Some(0), Some(0))
        );
    }
    // A smart client is told where to go.
    let listed = list(&channel).await;
    let other = listed
        .groups
        .iter()
        .find(|group| group.coordinator_id != nodes[0].id())
        .unwrap();
    let request = v1::DescribeGroupRequest {
        group: other.group.clone(),
        routing: v1::Routing::LeaderOnly.into(),
    };
    let elsewhere = client(&channel).describe_group(request).await.unwrap_err();
    let failure = Failure::from_status(&elsewhere).unwrap();
    assert_eq!(failure.code, ErrorCode::NotCoordinator);
    assert_eq!(
        failure.leader.unwrap().broker,
        BrokerId::new(other.coordinator_id)
    );
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_lost_with_a_coordinator() {
    let mut nodes = start().await;
    let channel = nodes[0].channel().await;
    commit_all(&channel, 3).await;
    // One goes as by a crash, one after it came back goes in order.
    let gone = nodes.remove(1).crash();
    commit_all(&channel, 4).await;
    for n in 0..GROUPS {
        assert_eq!(committed(&channel, &name(n), "flights", 2).await, [None, Some(4)]);
    }
    nodes.push(gone.start().await);
    let back = nodes[2].id();
    until("it is back", async || nodes[0].sees_unfenced(back).await).await;
    until("all replicas are in sync", async || {
        nodes[0].findings().await.is_empty()
    })
    .await;
    let gone = nodes.remove(1).stop().await;
    for n in 0..GROUPS {
        assert_eq!(committed(&channel, &name(n), "flights", 2).await, [None, Some(4)]);
    }
    commit_all(&channel, 5).await;
    nodes.push(gone.start().await);
    stop_all(nodes).await;
}
