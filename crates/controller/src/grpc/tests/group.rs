//! Several controllers in one process, over real connections.

use super::node::{Node, active, config, listener, statuses, until};
use crate::{
    Bootstrap, BootstrapError, ControllerConfig, ControllerId, MembershipError, ProposeError, Unavailable,
};
use quipu_metadata::{CreateTopic, InitCluster};
use quipu_record::TopicId;
use quipu_storage::test_util::FakeDisk;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Listeners for `n` controllers.
async fn places(n: usize) -> (Vec<TcpListener>, Vec<SocketAddr>) {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..n {
        let (listener, address) = listener().await;
        listeners.push(listener);
        addresses.push(address);
    }
    (listeners, addresses)
}

async fn group(change: impl Fn(&mut ControllerConfig)) -> Vec<Node> {
    let (listeners, addresses) = places(3).await;
    let mut nodes = Vec::new();
    for (n, listener) in listeners.into_iter().enumerate() {
        let mut config = config(addresses[n], &addresses);
        change(&mut config);
        nodes.push(Node::start(listener, config, FakeDisk::new(n as u64)).await);
    }
    for node in &nodes {
        node.controller.joined().await.expect("the voters agree");
    }
    nodes
}

/// A command that leaves a mark: there are no brokers, so a topic is refused, but the log has it. What is committed is
/// seen by its version.
fn mark() -> InitCluster {
    InitCluster {
        cluster_id: quipu_metadata::ClusterId::from_u128(1),
        feature_level: quipu_metadata::FeatureLevel::SUPPORTED,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_make_a_group_elect_one_and_survive_it() {
    let mut nodes = group(|_| ()).await;
    let leader = active(&nodes).await;
    let cluster = nodes[leader].controller.image().cluster_id();
    assert!(cluster.is_some());
    let done = nodes[leader].controller.propose(mark()).await.expect("committed");
    assert_eq!(Some(done.outcome.cluster_id), cluster, "the first id stands");

    let (id, address) = (nodes[leader].controller.id(), nodes[leader].address.to_string());
    for node in nodes.iter().filter(|node| node.controller.id() != id) {
        let image = node
            .controller
            .wait_for_version(done.version)
            .await
            .expect("runs");
        assert_eq!(image.cluster_id(), cluster);
        let refused = node.controller.propose(mark()).await.expect_err("not active");
        let elsewhere = Unavailable::NotActive {
            leader: Some(id),
            address: Some(address.clone()),
        };
        assert_eq!(refused, ProposeError::Unavailable(elsewhere));
        assert_eq!(node.controller.status().voters.len(), 3);
        assert_eq!(
            node.controller.status().leader.map(|leader| leader.address),
            Some(address.clone())
        );
    }

    let term = nodes[leader].controller.status().term;
    let (lost_config, lost_disk) = nodes.remove(leader).kill().await;
    let next = active(&nodes).await;
    let activity = *nodes[next].controller.activity().borrow();
    assert!(activity.term > term && activity.since.is_some_and(|since| since > done.version));
    let image = nodes[next]
        .controller
        .read_index()
        .await
        .expect("a majority answers");
    assert!(image.version() >= done.version && image.cluster_id() == cluster);
    let later = nodes[next]
        .controller
        .propose(mark())
        .await
        .expect("two of three");

    // It comes back under its address, and has what it missed.
    let back = TcpListener::bind(&lost_config.address)
        .await
        .expect("the same port");
    let back = Node::start(back, lost_config, lost_disk).await;
    assert_eq!(back.controller.id(), id);
    back.controller
        .wait_for_version(later.version)
        .await
        .expect("runs");
    nodes.push(back);
    for node in nodes {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_makes_a_group_while_one_is_missing_or_configured_otherwise() {
    let (mut listeners, addresses) = places(3).await;
    let last = listeners.pop().expect("three");
    let mut nodes = Vec::new();
    for (n, listener) in listeners.into_iter().enumerate() {
        nodes.push(
            Node::start(
                listener,
                config(addresses[n], &addresses),
                FakeDisk::new(n as u64),
            )
            .await,
        );
    }
    let state = |node: &Node| node.controller.bootstrap().borrow().clone();
    let missing = Bootstrap::Missing {
        addresses: vec![addresses[2].to_string()],
    };
    until("both miss the third", || {
        nodes.iter().all(|node| state(node) == missing)
    })
    .await;

    let other = [addresses[0], addresses[2], addresses[1]];
    let wrong = Node::start(last, config(addresses[2], &other), FakeDisk::new(9)).await;
    for node in &nodes {
        let error = node.controller.joined().await.expect_err("the voters differ");
        let BootstrapError::VotersDiffer { address, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*address, addresses[2].to_string());
    }
    assert!(
        statuses(&nodes)
            .iter()
            .all(|status| status.voters.is_empty() && status.term == 0)
    );

    let (_, disk) = wrong.kill().await;
    let again = TcpListener::bind(addresses[2]).await.expect("the same port");
    nodes.push(Node::start(again, config(addresses[2], &addresses), disk).await);
    until("they agree, and make a group", || {
        nodes
            .iter()
            .all(|node| node.controller.image().cluster_id().is_some())
    })
    .await;
    for node in nodes {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_controller_behind_a_purged_log_takes_a_dead_ones_place() {
    let mut nodes = group(|config| {
        config.snapshot_every = 20;
        config.entries_kept = 5;
    })
    .await;
    let leader = active(&nodes).await;
    for _ in 0..60 {
        nodes[leader].controller.propose(mark()).await.expect("committed");
    }
    until("the log is purged", || {
        nodes[leader]
            .controller
            .status()
            .purged
            .is_some_and(|purged| purged > 20)
    })
    .await;
    let leader_id = nodes[leader].controller.id();
    let dead = nodes.remove(usize::from(leader == 0));
    let dead_id = dead.controller.id();
    let (dead_config, _) = dead.kill().await;

    // Its disk is lost: under its address comes another, empty.
    let place = TcpListener::bind(&dead_config.address)
        .await
        .expect("the same port");
    let fresh = Node::start(place, dead_config, FakeDisk::new(77)).await;
    let id = fresh.controller.id();
    assert_ne!(id, dead_id);
    until("it waits to be let in", || {
        matches!(*fresh.controller.bootstrap().borrow(), Bootstrap::Unjoined { .. })
    })
    .await;
    let address = fresh.address.to_string();
    let leader = nodes
        .iter()
        .position(|node| node.controller.id() == leader_id)
        .expect("it lives");
    let follower = 1 - leader;
    let refused = nodes[follower]
        .controller
        .join(id, address.clone(), Some(dead_id))
        .await;
    assert!(
        matches!(
            refused,
            Err(MembershipError::Unavailable(Unavailable::NotActive { leader: Some(at), .. })) if at == leader_id
        ),
        "{refused:?}"
    );
    let nobody = ControllerId::new(5);
    let refused = nodes[leader]
        .controller
        .join(nobody, address.clone(), Some(dead_id))
        .await;
    assert!(
        matches!(refused, Err(MembershipError::Elsewhere { .. })),
        "{refused:?}"
    );
    let voters = nodes[leader]
        .controller
        .join(id, address.clone(), Some(dead_id))
        .await;
    let voters: Vec<_> = voters
        .expect("joins")
        .into_iter()
        .map(|member| member.id)
        .collect();
    assert!(
        voters.contains(&id) && !voters.contains(&dead_id) && voters.len() == 3,
        "{voters:?}"
    );
    // Asked again, it is done already.
    let again = nodes[leader]
        .controller
        .join(id, address, Some(dead_id))
        .await
        .expect("done");
    assert_eq!(again.len(), 3);
    let cluster = nodes[leader].controller.image().cluster_id();
    assert_eq!(fresh.controller.joined().await.ok(), cluster);
    assert!(
        fresh.controller.status().snapshot.is_some(),
        "it came by a snapshot"
    );
    nodes.push(fresh);

    // It counts: the other old one may go.
    let other = nodes.remove(follower);
    let other_id = other.controller.id();
    other.kill().await;
    let leader = active(&nodes).await;
    nodes[leader]
        .controller
        .propose(mark())
        .await
        .expect("two of three");
    let voters = nodes[leader].controller.leave(other_id).await.expect("leaves");
    assert_eq!(voters.len(), 2);
    let refused = nodes[leader].controller.leave(other_id).await;
    assert_eq!(refused, Err(MembershipError::NotAVoter { id: other_id }));
    for node in nodes {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_alone_takes_in_another() {
    let (listeners, addresses) = places(2).await;
    let mut listeners = listeners.into_iter();
    let alone = config(addresses[0], &[]);
    let first = Node::start(listeners.next().expect("two"), alone, FakeDisk::new(1)).await;
    assert!(first.controller.status().is_active());
    let second = config(addresses[1], &addresses[..1]);
    let second = Node::start(listeners.next().expect("two"), second, FakeDisk::new(2)).await;
    let (id, address) = (second.controller.id(), second.address.to_string());
    let voters = first.controller.join(id, address, None).await.expect("joins");
    assert_eq!(voters.len(), 2);
    let cluster = first.controller.image().cluster_id();
    assert_eq!(second.controller.joined().await.ok(), cluster);
    let created = first.controller.propose(CreateTopic {
        name: "t".to_owned(),
        topic_id: TopicId::from_u128(1),
        partitions: 1,
        replication_factor: None,
        configs: Vec::new(),
        internal: false,
    });
    assert!(
        matches!(created.await, Err(ProposeError::Refused(_))),
        "there is no broker"
    );

    // The leader itself goes.
    let left = first.controller.leave(first.controller.id()).await;
    left.expect("leaves");
    until("the other leads", || {
        second.controller.activity().borrow().is_active()
    })
    .await;
    let last = second.controller.leave(id).await;
    assert_eq!(last, Err(MembershipError::LastVoter { id }));
    first.kill().await;
    tokio::time::timeout(Duration::from_secs(60), second.controller.propose(mark()))
        .await
        .expect("soon")
        .expect("alone again");
    second.kill().await;
}
