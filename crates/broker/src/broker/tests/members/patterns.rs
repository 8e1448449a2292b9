//! Subscriptions by pattern: topics that come later.

use super::super::groups::describe;
use super::*;

/// A member that tells topics apart.
struct ByPattern {
    member: Member,
    has: BTreeSet<(String, u32)>,
    /// Topic and value.
    got: Vec<(String, String)>,
}

impl ByPattern {
    async fn join(channel: &Channel, name: &str, pattern: &str) -> Self {
        let asked = v1::OpenGroup {
            topics: Vec::new(),
            topic_pattern: Some(pattern.to_owned()),
            ..group(name)
        };
        Self {
            member: Member::joined(channel, asked).await,
            has: BTreeSet::new(),
            got: Vec::new(),
        }
    }

    async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !so(self) {
                let said = self.member.say.message().await.unwrap().expect("no end yet");
                self.take(said.message.unwrap());
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!(
                "{what}: not within {PATIENCE:?}; has {:?}, got {:?}",
                self.has, self.got
            );
        }
    }

    fn take(&mut self, said: Say) {
        match said {
            Say::Assignment(assignment) => {
                for assigned in assignment.assigned {
                    let opened = assigned.opened.unwrap();
                    assert_eq!(opened.error, None);
                    self.has.insert((opened.topic, opened.partition));
                }
                for gone in assignment.revoked.into_iter().chain(assignment.lost) {
                    self.has.remove(&(gone.topic, gone.partition));
                }
            }
            Say::Data(data) => {
                for stored in data.records {
                    let value = stored.record.unwrap().value.unwrap().to_vec();
                    let value = String::from_utf8(value).unwrap();
                    self.got.push((data.topic.clone(), value));
                }
            }
            _ => {}
        }
    }

    fn has(&self, wanted: &[(&str, u32)]) -> bool {
        let wanted = wanted
            .iter()
            .map(|(topic, partition)| ((*topic).to_owned(), *partition));
        self.has == wanted.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_comes_later_is_assigned_if_its_whole_name_matches() {
    let running = Running::start().await;
    let channel = &running.channel;
    let mut member = ByPattern::join(channel, "g", "orders-[a-z]+").await;
    let mut everything = ByPattern::join(channel, "all", ".*").await;
    running.create("orders-eu", 2).await;
    member
        .until("it is assigned", |m| m.has(&[("orders-eu", 0), ("orders-eu", 1)]))
        .await;
    // None of these matches, and all of them are there when the next one that does comes.
    for other in ["orders", "my-orders-eu", "orders-eu-old", "Orders-eu", "orders-1"] {
        running.create(other, 1).await;
    }
    running.create("orders-us", 1).await;
    let matching = [("orders-eu", 0), ("orders-eu", 1), ("orders-us", 0)];
    member.until("the next one too", |m| m.has.len() > 2).await;
    assert!(member.has(&matching), "{:?}", member.has);
    let shared = describe(channel, "g").await.unwrap();
    assert_eq!(
        shared.members[0].target.len(),
        3,
        "and nothing besides is on its way"
    );
    produce(&running, "orders-eu-old", "not this").await;
    produce(&running, "orders-us", "this").await;
    member.until("its records come", |m| !m.got.is_empty()).await;
    assert_eq!(member.got, [("orders-us".to_owned(), "this".to_owned())]);

    // By any name: all that there is, but for what is the cluster's own.
    everything.until("all of it", |m| m.has.len() >= 8).await;
    assert_eq!(everything.has.len(), 8);
    assert!(
        everything.has.iter().all(|(name, _)| !name.starts_with("__")),
        "{:?}",
        everything.has
    );
    drop((member, everything));
    running.stop().await;
}

/// A topic that goes is taken, and one of its name that comes again is assigned again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matches_goes_and_comes_with_its_topic() {
    let running = Running::start().await;
    let channel = &running.channel;
    running.create("orders-eu", 1).await;
    let mut member = ByPattern::join(channel, "g", "orders-.*").await;
    member.until("it has it", |m| m.has(&[("orders-eu", 0)])).await;
    let delete = v1::DeleteTopicRequest {
        name: "orders-eu".to_owned(),
        ..v1::DeleteTopicRequest::default()
    };
    running.topics().delete_topic(delete).await.unwrap();
    member.until("it has nothing", |m| m.has.is_empty()).await;
    running.create("orders-eu", 2).await;
    member
        .until("it has both", |m| m.has(&[("orders-eu", 0), ("orders-eu", 1)]))
        .await;
    drop(member);
    running.stop().await;
}
