//! Random lives of a small cluster, held against a model that knows which replicas hold everything committed.
//!
//! After every command: the shape invariants of partitions, epochs that only grow, deltas and snapshots that lead to the
//! same image, and the one that matters: whoever runs and is in sync or eligible holds everything that was ever committed.

use proptest::prelude::*;
use quipu_metadata::*;
use quipu_record::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionId, PlantedBug, TopicId,
    TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

const BROKERS: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    Restart { broker: u32, how: Stop },
    Unfence { broker: u32 },
    Fence { first: u32, second: Option<u32> },
    Shutdown { broker: u32 },
    Create { partitions: u32, replicated: bool },
    CreateInternal,
    Grow { pick: usize, gone: u32 },
    Delete { pick: usize },
    MoreP { pick: usize },
    MinInsync { pick: usize, min: u8 },
    Shrink { pick: usize, member: usize },
    Expand { pick: usize },
    LateExpand { pick: usize, how: Stop },
    Elect { pick: usize, kind: LeaderElection },
    Offline { pick: usize, member: usize },
    Commit { pick: usize },
    Stale { pick: usize, what: u8 },
}

/// How a broker's process ended before it came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Clean,
    Killed,
    PowerCut,
    /// And some of what was flushed is bad.
    Damaged,
    Wiped,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let broker = || 1..=BROKERS;
    let pick = || any::<usize>();
    let how = || {
        prop::sample::select(vec![
            Stop::Clean,
            Stop::Killed,
            Stop::PowerCut,
            Stop::Damaged,
            Stop::Wiped,
        ])
    };
    let kind = prop_oneof![
        4 => Just(LeaderElection::Preferred),
        3 => Just(LeaderElection::CutWaitOver),
        1 => Just(LeaderElection::Unclean),
    ];
    let step = prop_oneof![
        3 => (broker(), how()).prop_map(|(broker, how)| Step::Restart { broker, how }),
        6 => broker().prop_map(|broker| Step::Unfence { broker }),
        2 => (broker(), prop::option::of(broker())).prop_map(|(first, second)| Step::Fence { first, second }),
        1 => broker().prop_map(|broker| Step::Shutdown { broker }),
        2 => (1u32..4, any::<bool>()).prop_map(|(partitions, replicated)| Step::Create { partitions, replicated }),
        1 => Just(Step::CreateInternal),
        5 => (pick(), broker()).prop_map(|(pick, gone)| Step::Grow { pick, gone }),
        1 => pick().prop_map(|pick| Step::Delete { pick }),
        1 => pick().prop_map(|pick| Step::MoreP { pick }),
        2 => (pick(), 1u8..4).prop_map(|(pick, min)| Step::MinInsync { pick, min }),
        4 => (pick(), pick()).prop_map(|(pick, member)| Step::Shrink { pick, member }),
        5 => pick().prop_map(|pick| Step::Expand { pick }),
        2 => (pick(), how()).prop_map(|(pick, how)| Step::LateExpand { pick, how }),
        2 => (pick(), kind).prop_map(|(pick, kind)| Step::Elect { pick, kind }),
        1 => (pick(), pick()).prop_map(|(pick, member)| Step::Offline { pick, member }),
        8 => pick().prop_map(|pick| Step::Commit { pick }),
        1 => (pick(), 0u8..4).prop_map(|(pick, what)| Step::Stale { pick, what }),
    ];
    prop::collection::vec(step, 20..120)
}

/// What really is, as opposed to what the metadata believes.
struct World {
    image: Image,
    /// The same, kept up by deltas only.
    watcher: Image,
    epochs: BTreeMap<u32, BrokerEpoch>,
    directories: BTreeMap<u32, u128>,
    clean: BTreeMap<u32, BrokerEpoch>,
    incarnations: u128,
    topics: u128,
    /// Replicas that hold everything committed.
    complete: BTreeMap<TopicPartition, BTreeSet<u32>>,
    elections: usize,
    eligible_elections: usize,
    /// Replicas that were taken away while a topic grew.
    replaced: usize,
    /// Whom the command under way may rob of the trust it had.
    may_lose: Option<BrokerId>,
    /// The command under way may elect whom nobody trusts.
    unclean: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            image: Image::default(),
            watcher: Image::default(),
            epochs: BTreeMap::new(),
            directories: BTreeMap::new(),
            clean: BTreeMap::new(),
            incarnations: 0,
            topics: 0,
            complete: BTreeMap::new(),
            elections: 0,
            eligible_elections: 0,
            replaced: 0,
            may_lose: None,
            unclean: false,
        };
        let cluster_id = ClusterId::from_u128(1);
        world
            .run(InitCluster {
                cluster_id,
                feature_level: FeatureLevel::SUPPORTED,
            })
            .expect("made");
        for broker in 1..=BROKERS {
            world.restart(broker, Stop::Clean);
            world
                .run(UnfenceBroker {
                    id: BrokerId::new(broker),
                    epoch: world.epochs[&broker],
                })
                .expect("unfenced");
        }
        world
    }

    /// Decides, replays, and checks everything.
    fn run<R: Request>(&mut self, request: R) -> Result<R::Outcome, R::Refusal> {
        let command = request.into_command();
        let decoded = Command::decode(&command.encode()).expect("decodes");
        assert_eq!(decoded, command);
        let before = self.image.clone();
        let version = MetadataVersion::new(self.image.version().get() + 1);
        self.image.advance_to(version);
        let (records, reply) = self.image.decide(&command);
        assert_eq!(
            self.image.decide(&command),
            (records.clone(), reply.clone()),
            "deciding changes nothing"
        );
        for record in &records {
            assert_eq!(&Record::decode(&record.encode()).expect("decodes"), record);
            self.image.replay(record).expect("replays");
        }
        self.watcher
            .apply(&Delta {
                version,
                records: records.clone(),
            })
            .expect("applies");
        assert_eq!(self.watcher, self.image, "deltas lead to the same image");
        let mut copy = Image::default();
        copy.advance_to(version);
        self.image
            .records()
            .try_for_each(|record| copy.replay(&record))
            .expect("replays");
        assert_eq!(copy, self.image, "a snapshot leads to the same image");
        let answer = R::from_reply(reply).expect("the command's own reply");
        if answer.is_err() {
            assert!(records.is_empty(), "a refused command changes nothing");
        }
        self.count_elections(&before);
        self.check(&before);
        answer
    }

    fn count_elections(&mut self, before: &Image) {
        for (topic, index, after) in self.image.partitions() {
            let at = TopicPartition {
                topic: topic.id,
                partition: index,
            };
            let Some(was) = before.partition(at) else { continue };
            if let Some(leader) = after.leader.filter(|leader| was.leader != Some(*leader)) {
                self.elections += 1;
                self.eligible_elections += usize::from(was.elr.contains(leader));
                if self.unclean && !was.is_safe(leader) {
                    // From here on what it holds is what was committed.
                    assert!(
                        after.possible_loss() && was.leader.is_none(),
                        "{was:?} to {after:?}"
                    );
                    self.complete.insert(at, BTreeSet::from([leader.get()]));
                    continue;
                }
                // In sync or eligible before; or it came in sync just now, and the old leader was leaving.
                let came = self
                    .complete
                    .get(&at)
                    .is_some_and(|all| all.contains(&leader.get()));
                let safe = was.is_safe(leader) || (came && after.isr.contains(leader));
                assert!(safe, "{at}: elected from outside: {was:?} to {after:?}");
            }
        }
    }

    fn check(&self, before: &Image) {
        assert_eq!(self.image.partition_count(), self.image.partitions().count());
        for (topic, index, p) in self.image.partitions() {
            let at = TopicPartition {
                topic: topic.id,
                partition: index,
            };
            let fenced = |b: BrokerId| self.image.broker(b).is_none_or(|b| b.fenced);
            assert!(!p.isr.iter().any(fenced), "fenced in sync: {p:?}");
            assert!(
                p.isr.iter().chain(p.elr.iter()).all(|b| p.replicas.contains(b)),
                "{p:?}"
            );
            assert!(!p.isr.iter().any(|b| p.elr.contains(b)), "{p:?}");
            assert!(
                p.isr.len() < usize::from(p.min_insync) || p.elr.is_empty(),
                "{p:?}"
            );
            assert!(p.leader.is_none_or(|leader| p.isr.contains(leader)), "{p:?}");
            assert_eq!(p.min_insync, topic.config.min_insync_replicas());
            self.check_leader(p);
            if let Some(was) = before.partition(at) {
                self.check_trust(was, p);
                assert_eq!(
                    p.partition_epoch > was.partition_epoch,
                    p != was,
                    "{was:?} to {p:?}"
                );
                assert_eq!(
                    p.leader_epoch > was.leader_epoch,
                    p.leader != was.leader,
                    "{was:?} to {p:?}"
                );
            }
            for broker in p.isr.iter().chain(p.elr.iter()).filter(|b| self.runs(*b)) {
                assert!(
                    self.complete
                        .get(&at)
                        .is_none_or(|all| all.contains(&broker.get())),
                    "{at}: {broker} lacks something: {p:?}"
                );
            }
        }
    }

    /// Who leaves leads only while nobody else could.
    fn check_leader(&self, p: &Partition) {
        let active = |b: BrokerId| self.image.broker(b).is_some_and(|b| b.is_active());
        if p.leader.is_some_and(|leader| !active(leader)) {
            assert!(!p.isr.iter().any(active), "it could hand over: {p:?}");
        }
        if p.leader.is_none() {
            let uncut = |b: BrokerId| p.cut().iter().all(|cut| cut.broker != b);
            let could = |b: BrokerId| active(b) && uncut(b) && p.is_safe(b);
            assert!(!p.replicas.iter().any(could), "somebody could lead: {p:?}");
        }
    }

    /// Trust is lost by losing data, and in no other way.
    fn check_trust(&self, was: &Partition, p: &Partition) {
        let safe = |p: &Partition| p.isr.iter().chain(p.elr.iter()).collect::<Vec<_>>();
        let (before, after) = (safe(was), safe(p));
        let lost = |b: &BrokerId| Some(*b) == self.may_lose;
        assert!(
            !after.is_empty() || before.iter().all(lost),
            "nobody may lead any more: {was:?} to {p:?}"
        );
    }

    /// Whether the broker's process is the one that the metadata knows.
    fn runs(&self, broker: BrokerId) -> bool {
        self.image
            .broker(broker)
            .is_some_and(|b| self.epochs.get(&broker.get()) == Some(&b.epoch))
    }

    fn restart(&mut self, broker: u32, how: Stop) {
        let epoch = self.epochs.remove(&broker);
        self.incarnations += 1;
        let directory = *self.directories.entry(broker).or_insert(u128::from(broker));
        for (at, complete) in &mut self.complete {
            let durability = self.image.topic(at.topic).expect("there").config.durability();
            let forgets =
                matches!(how, Stop::PowerCut | Stop::Damaged) && durability == Durability::Replicated;
            let bad = how == Stop::Damaged && at.partition.get() % 2 == 0;
            if how == Stop::Wiped || forgets || bad {
                complete.remove(&broker);
            }
        }
        if how == Stop::Wiped {
            self.directories.insert(broker, directory + 1000);
            // A wiped broker is refused while the old one's session lasts.
            if let Some(epoch) = epoch.filter(|_| {
                self.image
                    .broker(BrokerId::new(broker))
                    .is_some_and(|b| !b.fenced)
            }) {
                let refused = self
                    .run(self.registration(broker, false))
                    .expect_err("the old one is not fenced");
                assert_eq!(
                    refused,
                    RegisterBrokerError::DuplicateId {
                        id: BrokerId::new(broker)
                    }
                );
                let fence = BrokerFence {
                    id: BrokerId::new(broker),
                    epoch,
                };
                self.run(FenceBrokers { brokers: vec![fence] })
                    .expect("never refused");
            }
        }
        match (how, epoch) {
            (Stop::Clean, Some(epoch)) => self.clean.insert(broker, epoch),
            _ => self.clean.remove(&broker),
        };
        let mut registration = self.registration(broker, how == Stop::Killed);
        let held = self.complete.keys().copied();
        match how {
            Stop::PowerCut => {
                let cut = |at: TopicPartition| CutPartition {
                    at,
                    last_epoch: Some(LeaderEpoch::FIRST),
                    log_end: Offset::new(u64::from(broker)),
                };
                registration.cut = held.filter(|at| at.partition.get() % 2 == 1).map(cut).collect();
            }
            Stop::Damaged => registration.damaged = held.filter(|at| at.partition.get() % 2 == 0).collect(),
            _ => {}
        }
        self.may_lose = Some(BrokerId::new(broker));
        let registered = self.run(registration.clone()).expect("registers");
        self.may_lose = None;
        assert_eq!(
            self.run(registration),
            Ok(registered),
            "repeating it changes nothing"
        );
        self.epochs.insert(broker, registered.epoch);
    }

    fn registration(&self, broker: u32, page_cache_kept: bool) -> RegisterBroker {
        RegisterBroker {
            id: BrokerId::new(broker),
            incarnation: Incarnation::from_u128(self.incarnations),
            cluster_id: Some(ClusterId::from_u128(1)),
            directory: DirectoryId::from_u128(self.directories[&broker]),
            listeners: vec![Listener {
                name: "c".into(),
                advertised: "h:1".into(),
                protocol: "grpc".into(),
            }],
            rack: None,
            version: "test".into(),
            feature_level: FeatureLevel::SUPPORTED,
            clean_epoch: self.clean.get(&broker).copied(),
            page_cache_kept,
            cut: Vec::new(),
            damaged: Vec::new(),
        }
    }

    fn pick_topic(&self, pick: usize) -> Option<TopicId> {
        let ids: Vec<TopicId> = self.image.topics().map(|t| t.id).collect();
        ids.get(pick.checked_rem(ids.len())?).copied()
    }

    fn pick(&self, pick: usize) -> Option<(TopicPartition, Partition)> {
        let all: Vec<_> = self.image.partitions().collect();
        let (topic, partition, state) = all.get(pick.checked_rem(all.len())?)?;
        Some((
            TopicPartition {
                topic: topic.id,
                partition: *partition,
            },
            Partition::clone(state),
        ))
    }

    fn member(&self, broker: BrokerId) -> IsrMember {
        let epoch = self.image.broker(broker).map_or(BrokerEpoch::new(0), |b| b.epoch);
        IsrMember { id: broker, epoch }
    }

    fn alter(
        &mut self,
        at: TopicPartition,
        p: &Partition,
        isr: &[BrokerId],
    ) -> Result<(), AlterPartitionError> {
        let leader = p.leader.expect("led");
        let change = IsrChange {
            at,
            leader_epoch: p.leader_epoch,
            partition_epoch: p.partition_epoch,
            isr: isr.iter().map(|b| self.member(*b)).collect(),
        };
        let epoch = self.member(leader).epoch;
        let mut answers = self
            .run(AlterPartitions {
                id: leader,
                epoch,
                changes: vec![change],
            })
            .expect("registered");
        answers.remove(0).map(|_| ())
    }

    /// A partition whose leader runs.
    fn led(&self, pick: usize) -> Option<(TopicPartition, Partition, BrokerId)> {
        let (at, p) = self.pick(pick)?;
        let leader = p.leader.filter(|leader| self.runs(*leader))?;
        Some((at, p, leader))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Restart { broker, how } => self.restart(*broker, *how),
            Step::Unfence { broker } => {
                let epoch = self.epochs[broker];
                self.run(UnfenceBroker {
                    id: BrokerId::new(*broker),
                    epoch,
                })
                .expect("registered");
            }
            Step::Fence { first, second } => {
                let fence = |b: &u32| BrokerFence {
                    id: BrokerId::new(*b),
                    epoch: self.epochs[b],
                };
                let brokers = std::iter::once(first).chain(second).map(fence).collect();
                self.run(FenceBrokers { brokers }).expect("never refused");
            }
            Step::Shutdown { broker } => {
                let epoch = self.epochs[broker];
                self.run(BeginShutdown {
                    id: BrokerId::new(*broker),
                    epoch,
                })
                .expect("registered");
            }
            Step::Create {
                partitions,
                replicated,
            } => self.create(*partitions, *replicated),
            Step::CreateInternal => self.create_internal(),
            Step::Grow { pick, gone } => self.grow(*pick, BrokerId::new(*gone)),
            Step::Delete { pick } => {
                if let Some(topic_id) = self.pick_topic(*pick)
                    && self.image.topic(topic_id).is_some_and(|topic| !topic.internal)
                {
                    self.complete.retain(|at, _| at.topic != topic_id);
                    self.run(DeleteTopic { topic_id }).expect("deleted");
                }
            }
            Step::MoreP { pick } => self.more_partitions(*pick),
            Step::MinInsync { pick, min } => {
                if let Some(topic_id) = self.pick_topic(*pick) {
                    let set = vec![("min.insync.replicas".to_owned(), min.to_string())];
                    let change = ConfigChange {
                        set,
                        unset: Vec::new(),
                    };
                    let _ = self.run(UpdateTopicConfig {
                        topic_id,
                        change,
                        expected_version: None,
                    });
                }
            }
            Step::Shrink { pick, member } => {
                if let Some((at, p, leader)) = self.led(*pick) {
                    let gone = p.isr.as_slice()[member % p.isr.len()];
                    if gone != leader {
                        let rest = p.isr.without(|b| b == gone);
                        self.alter(at, &p, rest.as_slice()).expect("a leader may shrink");
                    }
                }
            }
            Step::Expand { pick } => self.expand(*pick),
            Step::LateExpand { pick, how } => self.late_expand(*pick, *how),
            Step::Elect { pick, kind } => self.elect(*pick, *kind),
            Step::Offline { pick, member } => self.offline(*pick, *member),
            Step::Commit { pick } => {
                // Acknowledged by every in-sync replica, hence those and no others hold it.
                if let Some((at, p, _)) = self.led(*pick)
                    && p.isr.len() >= usize::from(p.min_insync)
                    && p.isr.iter().all(|b| self.runs(b))
                {
                    self.complete
                        .insert(at, p.isr.iter().map(BrokerId::get).collect());
                }
            }
            Step::Stale { pick, what } => self.stale(*pick, *what),
        }
    }

    fn create(&mut self, partitions: u32, replicated: bool) {
        self.topics += 1;
        let durability = if replicated { "replicated" } else { "fsync" };
        let topic_id = TopicId::from_u128(self.topics);
        let created = self.run(CreateTopic {
            name: format!("topic-{}", self.topics),
            topic_id,
            partitions,
            replication_factor: None,
            configs: vec![("durability".to_owned(), durability.to_owned())],
            internal: false,
        });
        if created.is_ok() {
            self.add_complete(topic_id, 0);
        }
    }

    /// Of two replicas, for now: of one that is alone and damaged, what is left is served.
    fn create_internal(&mut self) {
        self.topics += 1;
        let topic_id = TopicId::from_u128(self.topics);
        let created = self.run(CreateTopic {
            name: format!("internal-{}", self.topics),
            topic_id,
            partitions: 1,
            replication_factor: Some(2),
            configs: Vec::new(),
            internal: true,
        });
        if created.is_ok() {
            self.add_complete(topic_id, 0);
        }
    }

    /// An internal topic grows as far as it can now, and waits no longer for a broker that may well be here.
    fn grow(&mut self, pick: usize, gone: BrokerId) {
        let internal: Vec<TopicId> = self.image.topics().filter(|t| t.internal).map(|t| t.id).collect();
        let Some(index) = pick.checked_rem(internal.len()) else {
            return;
        };
        let (topic_id, gone) = (internal[index], vec![gone]);
        let before = self.image.topic(topic_id).expect("there").partitions.clone();
        self.run(GrowTopic { topic_id, gone }).expect("internal");
        for (partition, was) in before.iter() {
            let at = TopicPartition {
                topic: topic_id,
                partition,
            };
            let p = self.image.partition(at).expect("there");
            for broker in was.replicas.iter().filter(|b| !p.replicas.contains(*b)) {
                let here = self.image.broker(broker).is_some_and(|b| !b.fenced);
                assert!(
                    !here && !was.is_safe(broker) && was.adding().contains(&broker) && was.leader.is_some(),
                    "{was:?} to {p:?}"
                );
                if let Some(all) = self.complete.get_mut(&at) {
                    all.remove(&broker.get());
                }
                self.replaced += 1;
            }
        }
    }

    fn more_partitions(&mut self, pick: usize) {
        let Some(topic_id) = self.pick_topic(pick) else {
            return;
        };
        let now = self.image.topic(topic_id).map_or(0, |t| t.partitions.len());
        let total = u32::try_from(now + 1).expect("few");
        if self.run(CreatePartitions { topic_id, total }).is_ok() {
            self.add_complete(topic_id, total - 1);
        }
    }

    /// An empty partition is complete everywhere.
    fn add_complete(&mut self, topic: TopicId, from: u32) {
        let partitions = self.image.topic(topic).expect("made").partitions.clone();
        for (partition, p) in partitions
            .iter()
            .filter(|(index, _)| *index >= PartitionId::new(from))
        {
            let everybody = p.replicas.iter().map(BrokerId::get).collect();
            self.complete
                .insert(TopicPartition { topic, partition }, everybody);
        }
    }

    fn expand(&mut self, pick: usize) {
        let Some((at, p, leader)) = self.led(pick) else {
            return;
        };
        let candidate = p.replicas.iter().find(|b| !p.isr.contains(*b));
        let Some(next) = candidate.filter(|b| self.runs(*b) && *b != leader) else {
            return;
        };
        let isr: Vec<BrokerId> = p.isr.iter().chain([next]).collect();
        // It caught up with the leader before the leader asks.
        let was_complete = self.complete[&at].contains(&next.get());
        self.complete.get_mut(&at).expect("there").insert(next.get());
        let active = self.image.broker(next).is_some_and(|b| b.is_active());
        let answer = self.alter(at, &p, &isr);
        assert_eq!(answer.is_ok(), active, "{answer:?}");
        if answer.is_err() && !was_complete {
            self.complete.get_mut(&at).expect("there").remove(&next.get());
        }
    }

    /// The leader asks for a follower that restarts before the request arrives (KIP-903).
    fn late_expand(&mut self, pick: usize, how: Stop) {
        let Some((at, p, leader)) = self.led(pick) else {
            return;
        };
        let candidate = p.replicas.iter().find(|b| !p.isr.contains(*b) && self.runs(*b));
        let Some(next) = candidate.filter(|b| *b != leader) else {
            return;
        };
        let members = p.isr.iter().chain([next]).map(|b| self.member(b)).collect();
        let request = AlterPartitions {
            id: leader,
            epoch: self.member(leader).epoch,
            changes: vec![IsrChange {
                at,
                leader_epoch: p.leader_epoch,
                partition_epoch: p.partition_epoch,
                isr: members,
            }],
        };
        self.restart(next.get(), how);
        let epoch = self.epochs[&next.get()];
        self.run(UnfenceBroker { id: next, epoch }).expect("registered");
        if let Ok(answers) = self.run(request) {
            assert!(answers[0].is_err(), "{answers:?}");
        }
    }

    fn elect(&mut self, pick: usize, kind: LeaderElection) {
        let Some((at, before)) = self.pick(pick) else {
            return;
        };
        self.unclean = kind == LeaderElection::Unclean;
        let partitions = vec![at];
        let Ok(mut answers) = self.run(ElectLeaders { partitions, kind });
        self.unclean = false;
        let active = |b: &BrokerId| self.image.broker(*b).is_some_and(|b| b.is_active());
        let here: Vec<BrokerId> = before.replicas.iter().filter(active).collect();
        let leader = answers.remove(0).ok().and_then(|answer| answer.state.leader);
        match kind {
            LeaderElection::Preferred => {
                let preferred = before.replicas.iter().next();
                assert!(leader.is_none() || leader == preferred);
            }
            // Whoever is here and has everything leads now.
            _ if here.iter().any(|b| before.is_safe(*b)) => assert!(leader.is_some(), "{before:?}"),
            // Not while somebody who has everything is only on its way out.
            LeaderElection::Unclean => {
                let unfenced = |b: BrokerId| self.image.broker(b).is_some_and(|b| !b.fenced);
                let leaving = before.replicas.iter().any(|b| before.is_safe(b) && unfenced(b));
                // One that is being added may have nothing.
                let grown = here.iter().any(|b| !before.adding().contains(b));
                let nobody = before.leader.is_none() && (!grown || leaving);
                assert_eq!(leader.is_none(), nobody, "{before:?}");
            }
            _ => assert_eq!(leader, before.leader),
        }
    }

    /// Bad bytes are found in a replica.
    fn offline(&mut self, pick: usize, member: usize) {
        let Some((at, p)) = self.pick(pick) else { return };
        let id = p.replicas.as_slice()[member % p.replicas.len()];
        let epoch = self.epochs[&id.get()];
        self.complete.get_mut(&at).expect("there").remove(&id.get());
        self.may_lose = Some(id);
        let command = OfflineReplicas {
            id,
            epoch,
            partitions: vec![at],
        };
        self.run(command).expect("registered");
        self.may_lose = None;
        assert!(!self.image.partition(at).expect("there").is_safe(id));
    }

    /// Requests that come too late, or from too long ago.
    fn stale(&mut self, pick: usize, what: u8) {
        let Some((at, mut p, leader)) = self.led(pick) else {
            return;
        };
        let before = self.image.clone();
        let isr: Vec<BrokerId> = p.isr.iter().collect();
        let error = match what {
            0 if p.leader_epoch.get() > 0 => {
                p.leader_epoch = quipu_record::LeaderEpoch::new(p.leader_epoch.get() - 1);
                self.alter(at, &p, &isr)
            }
            1 => {
                p.partition_epoch = p.partition_epoch.next();
                self.alter(at, &p, &isr)
            }
            2 => {
                let others: Vec<BrokerId> = isr.into_iter().filter(|b| *b != leader).collect();
                self.alter(at, &p, &others)
            }
            _ => {
                let mut change: Vec<IsrMember> = isr.iter().map(|b| self.member(*b)).collect();
                change[0].epoch = BrokerEpoch::new(change[0].epoch.get() + 1);
                let (leader_epoch, partition_epoch) = (p.leader_epoch, p.partition_epoch);
                let change = IsrChange {
                    at,
                    leader_epoch,
                    partition_epoch,
                    isr: change,
                };
                let epoch = self.member(leader).epoch;
                let mut answers = self
                    .run(AlterPartitions {
                        id: leader,
                        epoch,
                        changes: vec![change],
                    })
                    .expect("registered");
                answers.remove(0).map(|_| ())
            }
        };
        assert!(error.is_err());
        self.watcher.advance_to(before.version());
        self.image.advance_to(before.version());
        assert_eq!(self.image, before, "what is refused changes nothing");
    }
}

/// Runs random histories; the counts of elections, of those of eligible replicas, and of replicas that others replaced.
fn run(cases: u32, shrink: u32) -> Result<(usize, usize, usize), String> {
    let config = ProptestConfig {
        cases,
        max_shrink_iters: shrink,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let counts = std::cell::Cell::new((0, 0, 0));
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let ran = runner.run(&steps(), |steps| {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        let (elections, eligible, replaced) = counts.get();
        counts.set((
            elections + world.elections,
            eligible + world.eligible_elections,
            replaced + world.replaced,
        ));
        Ok(())
    });
    ran.map(|()| counts.get()).map_err(|error| error.to_string())
}

#[test]
fn whoever_may_lead_holds_everything_committed() {
    let (elections, eligible, replaced) = run(400, 2_000).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{elections} elections, {eligible} of eligible replicas; {replaced} replicas taken away as topics grew"
    );
    assert!(
        elections > 1_000 && eligible > 50 && replaced > 10,
        "the histories are too tame: {elections} elections, {eligible} eligible, {replaced} replaced"
    );
}

#[test]
fn the_bugs_planted_in_the_metadata_are_caught() {
    for bug in [
        PlantedBug::ElrIgnored,
        PlantedBug::ElrEmptiedByConfigChange,
        PlantedBug::BrokerEpochUnchecked,
    ] {
        let caught = bug.plant(|| run(2_000, 0));
        assert!(caught.is_err(), "{bug:?} is not caught");
    }
}
