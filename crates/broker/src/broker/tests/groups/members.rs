//! Members: joining, sharing, waiting, leaving.

use super::*;

/// A member as a client sees itself.
struct Member {
    group: &'static str,
    id: &'static str,
    epoch: u32,
    assigned: Vec<v1::AssignedPartition>,
}

impl Member {
    fn new(group: &'static str, id: &'static str) -> Self {
        Self {
            group,
            id,
            epoch: 0,
            assigned: Vec::new(),
        }
    }

    fn request(&self, wait: Duration) -> v1::GroupHeartbeatRequest {
        let owned = self.assigned.iter().map(|one| v1::OwnedPartition {
            topic_id: one.topic_id.clone(),
            partition: one.partition,
        });
        let joins = self.epoch == 0;
        v1::GroupHeartbeatRequest {
            group: self.group.to_owned(),
            member_id: self.id.to_owned(),
            member_epoch: self.epoch,
            subscription: joins.then(|| v1::Subscription {
                topics: vec!["flights".to_owned()],
                topic_pattern: None,
            }),
            owned: Some(v1::OwnedPartitions {
                partitions: owned.collect(),
            }),
            client_id: "tester".to_owned(),
            client_host: "here".to_owned(),
            stream_id: 7,
            max_wait_ms: u32::try_from(wait.as_millis()).unwrap(),
            ..v1::GroupHeartbeatRequest::default()
        }
    }

    async fn beat(&mut self, channel: &Channel, wait: Duration) -> Result<(), Status> {
        let request = self.request(wait);
        let answer = client(channel).group_heartbeat(request).await?.into_inner();
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            self.assigned = assignment.partitions;
        }
        Ok(())
    }

    fn partitions(&self) -> Vec<u32> {
        self.assigned.iter().map(|one| one.partition).collect()
    }

    async fn leave(&self, channel: &Channel) {
        let request = v1::LeaveGroupRequest {
            group: self.group.to_owned(),
            member_id: self.id.to_owned(),
            ..v1::LeaveGroupRequest::default()
        };
        client(channel).leave_group(request).await.unwrap();
    }
}

/// Beats until every partition has exactly one owner, and each member has something.
async fn settle(channel: &Channel, members: &mut [Member], partitions: u32) {
    let settling = async {
        loop {
            for member in &mut *members {
                member.beat(channel, Duration::from_millis(20)).await.unwrap();
            }
            let mut all: Vec<_> = members.iter().flat_map(Member::partitions).collect();
            all.sort_unstable();
            if all == (0..partitions).collect::<Vec<_>>() && members.iter().all(|m| !m.assigned.is_empty()) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, settling)
        .await
        .expect("everything has an owner");
}

#[tokio::test]
async fn members_share_the_partitions_commit_and_leave() {
    let running = Running::start().await;
    running.create("flights", 4).await;
    let channel = &running.channel;
    let mut members = vec![Member::new("g", "a")];
    settle(channel, &mut members, 4).await;
    members.push(Member::new("g", "b"));
    settle(channel, &mut members, 4).await;
    assert_eq!(members[0].assigned.len(), 2, "evenly");
    assert!(
        members
            .iter()
            .flat_map(|m| &m.assigned)
            .all(|one| one.topic == "flights")
    );

    let mine = members[0].partitions()[0];
    let theirs = members[1].partitions()[0];
    let me = Some(("a", members[0].epoch));
    let good = try_commit(channel, "g", me, &[offset("flights", mine, 5)])
        .await
        .unwrap();
    assert_eq!(good, [None]);
    let fenced = try_commit(channel, "g", me, &[offset("flights", theirs, 9)])
        .await
        .unwrap();
    assert_eq!(fenced, [Some(v1::ErrorReason::StaleAssignment)]);
    assert_eq!(
        committed(channel, "g", "flights", 4).await[mine as usize],
        Some(5)
    );
    assert_eq!(committed(channel, "g", "flights", 4).await[theirs as usize], None);

    let described = describe(channel, "g").await.unwrap();
    assert_eq!(described.members.len(), 2);
    let first = &described.members[0];
    assert_eq!(
        (&*first.member_id, &*first.client_id, &*first.client_host),
        ("a", "tester", "here")
    );
    assert_eq!(first.topics, ["flights"]);
    assert_eq!(described.offsets.len(), 4, "owned or committed");
    assert!(described.offsets.iter().all(|offset| offset.member_id.is_some()));
    assert_eq!(described.expires_at_ms, None);

    let to = v1::reset_target::To::Earliest(v1::Earliest {});
    let refused = reset(channel, "g", to, false).await.unwrap_err();
    assert_eq!(code(&refused), ErrorCode::GroupNotEmpty);
    members.pop().unwrap().leave(channel).await;
    settle(channel, &mut members, 4).await;
    members[0].leave(channel).await;
    let gone = members[0].beat(channel, Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(code(&gone), ErrorCode::UnknownMember | ErrorCode::UnknownGroup),
        "{gone}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_heartbeat_waits_for_news_and_no_longer_than_the_broker_lives() {
    let running = Running::start().await;
    running.create("flights", 2).await;
    let channel = running.channel.clone();
    let mut members = vec![Member::new("g", "a")];
    settle(&channel, &mut members, 2).await;
    // What is settled is told once more, with nothing new in it, and then waits.
    let waiting = members[0].request(Duration::from_secs(14));
    let other = channel.clone();
    let waiting = tokio::spawn(async move { client(&other).group_heartbeat(waiting).await });
    let mut second = Member::new("g", "b");
    let told = async {
        while !waiting.is_finished() {
            second.beat(&channel, Duration::from_millis(20)).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, told)
        .await
        .expect("it is told of the other");
    let answer = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.assignment.unwrap().partitions.len(), 1);

    let mut third = Member::new("h", "c");
    settle(&channel, std::slice::from_mut(&mut third), 2).await;
    let mut asking = client(&channel);
    let mut waiting = std::pin::pin!(asking.group_heartbeat(third.request(Duration::from_secs(14))));
    // What is asked after it on the same connection is answered: so it has come in, and waits.
    tokio::select! {
        biased;
        early = &mut waiting => panic!("there was nothing to tell: {early:?}"),
        answered = describe(&channel, "h") => drop(answered.unwrap()),
    }
    let began = Instant::now();
    let (refused, _) = tokio::join!(waiting, running.stop());
    let refused = refused.unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "the broker does not wait for who waits"
    );
    assert_eq!(code(&refused), ErrorCode::ShuttingDown);
}
