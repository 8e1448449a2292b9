//! The leader's rules, one by one.

use super::*;
use crate::fetch::{FetchToken, Position};

const ME: BrokerId = BrokerId::new(1);

fn leadership(partition_epoch: u64, isr: &[u32], min_insync: u32) -> Leadership {
    Leadership {
        record: LeaderRecord {
            leader_epoch: LeaderEpoch::new(7),
            partition_epoch: PartitionEpoch::new(partition_epoch),
            replicas: [1, 2, 3].map(BrokerId::new).to_vec(),
            growing: false,
            isr: isr.iter().copied().map(BrokerId::new).collect(),
            min_insync,
        },
        eligible: Vec::new(),
    }
}

fn mine(held: u64) -> Mine {
    let held = Offset::new(held);
    Mine {
        me: ME,
        progress: Progress {
            log_end: held,
            flushed: held,
        },
        durability: Durability::Fsync,
        lag_max: Duration::from_secs(10),
    }
}

fn judged(token: u64, acks: Acks, until: u64) -> Judged {
    Judged {
        token: Token(token),
        acks,
        deadline: Tick::from_nanos(1_000),
        until: Offset::new(until),
        outcome: Ok(Appended {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::new(7),
            reached: reached(acks, Durability::Fsync),
            duplicate: false,
            log_append_time: None,
        }),
    }
}

fn tokens(answers: &[Answer]) -> Vec<u64> {
    answers.iter().map(|answer| answer.token.0).collect()
}

#[test]
fn too_few_in_sync_refuse_acks_all_before_the_append_and_nothing_else() {
    let leader = Leader::begin(Tick::default(), &leadership(0, &[1], 2), Offset::ZERO);
    let refused = leader.admit(Acks::All).expect_err("one of two");
    assert_eq!(
        refused,
        ProduceError::NotEnoughReplicas {
            in_sync: 1,
            needed: 2
        }
    );
    assert!(refused.retryable() && !refused.outcome_unknown());
    assert!(leader.admit(Acks::Leader).is_ok() && leader.admit(Acks::None).is_ok());
}

#[test]
fn each_acks_waits_for_its_own_position() {
    let mut leader = Leader::begin(Tick::default(), &leadership(0, &[1], 1), Offset::ZERO);
    let mut answers = Vec::new();
    leader.settle(judged(1, Acks::All, 5), &mut answers);
    leader.settle(judged(2, Acks::Leader, 6), &mut answers);
    leader.settle(judged(3, Acks::None, 7), &mut answers);
    assert_eq!(tokens(&answers), [3]);
    leader.release(Offset::new(4), Offset::new(6), &mut answers);
    assert_eq!(tokens(&answers), [3, 2]);
    leader.release(Offset::new(5), Offset::new(6), &mut answers);
    assert_eq!(tokens(&answers), [3, 2, 1]);
}

#[test]
fn an_error_stays_behind_the_answers_it_follows() {
    let mut leader = Leader::begin(Tick::default(), &leadership(0, &[1], 1), Offset::ZERO);
    let mut answers = Vec::new();
    leader.settle(judged(1, Acks::All, 5), &mut answers);
    let mut refused = judged(2, Acks::All, 0);
    refused.outcome = Err(ProduceError::StorageFull);
    leader.settle(refused, &mut answers);
    leader.release(Offset::new(4), Offset::new(4), &mut answers);
    assert!(answers.is_empty());
    leader.release(Offset::new(5), Offset::new(5), &mut answers);
    assert_eq!(tokens(&answers), [1, 2]);
    assert_eq!(answers[1].result, Err(ProduceError::StorageFull));
}

#[test]
fn a_shrink_below_the_minimum_tells_those_who_wait() {
    let mut leader = Leader::begin(Tick::default(), &leadership(3, &[1, 2], 2), Offset::ZERO);
    let mut answers = Vec::new();
    leader.settle(judged(1, Acks::All, 5), &mut answers);
    leader.adopt(&leadership(3, &[1], 2), &mut answers);
    assert!(answers.is_empty(), "the same partition epoch is old news");
    leader.adopt(&leadership(4, &[1], 2), &mut answers);
    let told = ProduceError::NotEnoughReplicasAfterAppend {
        in_sync: 1,
        needed: 2,
    };
    assert_eq!(answers[0].result, Err(told));
    assert_eq!(leader.committed(&mine(9)), None);
}

#[test]
fn losing_leadership_tells_everybody() {
    let mut leader = Leader::begin(Tick::default(), &leadership(0, &[1], 1), Offset::ZERO);
    let mut answers = Vec::new();
    leader.settle(judged(1, Acks::All, 5), &mut answers);
    leader.settle(judged(2, Acks::Leader, 5), &mut answers);
    leader.fail(&ProduceError::NotLeader, &mut answers);
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|a| a.result == Err(ProduceError::NotLeader)));
    assert_eq!((leader.deadline(), leader.waiting()), (None, 0));
}

const SECOND: u64 = 1_000_000_000;

fn second(n: u64) -> Tick {
    Tick::from_nanos(n * SECOND)
}

/// Of three replicas, each registered in lifetime 100, those of `isr` in sync.
fn three(isr: &[u32]) -> Leadership {
    Leadership {
        eligible: [1, 2, 3]
            .map(|id| (BrokerId::new(id), BrokerEpoch::new(100)))
            .to_vec(),
        ..leadership(3, isr, 1)
    }
}

fn fetch(broker: u32, at: u64, flushed: u64) -> FollowerFetch {
    FollowerFetch {
        token: FetchToken(1),
        broker: BrokerId::new(broker),
        broker_epoch: BrokerEpoch::new(100),
        position: Position {
            leader_epoch: LeaderEpoch::new(7),
            fetch_offset: Offset::new(at),
            last_fetched_epoch: None,
            flushed: Offset::new(flushed),
            log_start: Offset::ZERO,
        },
    }
}

fn heard(broker: u32, epoch: u32, life: u64, at: u64) -> FollowerHeard {
    FollowerHeard {
        broker: BrokerId::new(broker),
        broker_epoch: BrokerEpoch::new(life),
        leader_epoch: LeaderEpoch::new(epoch),
        at: second(at),
    }
}

fn who(proposal: &IsrProposal) -> Vec<u32> {
    proposal.isr.iter().map(|(broker, _)| broker.get()).collect()
}

#[test]
fn a_follower_cannot_have_flushed_more_than_it_holds() {
    let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
    leader.fetched(second(1), &fetch(2, 5, 9), &mine(9));
    assert_eq!(leader.committed(&mine(9)), Some(Offset::new(5)));
}

#[test]
fn every_replica_must_have_flushed_what_all_have_and_nobody_else() {
    let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
    leader.fetched(second(1), &fetch(2, 9, 8), &mine(9));
    assert_eq!(leader.flushed_by_all(&mine(9)), Offset::ZERO, "3 was not heard");
    leader.fetched(second(1), &fetch(3, 9, 7), &mine(9));
    assert_eq!(leader.flushed_by_all(&mine(9)), Offset::new(7));
    assert_eq!(leader.flushed_by_all(&mine(6)), Offset::new(6), "the leader too");
    let mut without = three(&[1, 2]);
    without.record.partition_epoch = without.record.partition_epoch.next();
    without.record.replicas.retain(|id| *id != BrokerId::new(3));
    leader.adopt(&without, &mut Vec::new());
    assert_eq!(leader.flushed_by_all(&mine(9)), Offset::new(8), "3 is gone");
}

#[test]
fn only_who_is_in_sync_alone_is_alone() {
    let alone = |isr: &[u32]| Leader::begin(second(0), &three(isr), Offset::ZERO).is_alone();
    assert!(alone(&[]) && alone(&[1]) && !alone(&[1, 2]));
}

#[test]
fn a_sign_of_life_counts_in_this_epoch_and_the_present_lifetime() {
    for (epoch, life, at, keeps) in [
        (7, 100, 20, true),
        (6, 100, 20, false),
        (8, 100, 20, false),
        (7, 99, 20, false),
    ] {
        let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
        leader.fetched(second(1), &fetch(2, 5, 5), &mine(5));
        leader.heard(&heard(2, epoch, life, at), &mine(5));
        leader.fetched(second(21), &fetch(2, 5, 5), &mine(9));
        let proposal = leader.propose(second(22), Offset::new(5), &mine(9));
        assert_eq!(
            proposal.is_none(),
            keeps,
            "epoch {epoch}, lifetime {life}: {proposal:?}"
        );
    }
}

#[test]
fn a_moment_vouched_for_is_of_this_epoch_and_the_latest_of_each() {
    let leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
    let vouched = |begun: &[FollowerHeard]| leader.vouched(second(9), ME, begun);
    assert_eq!(vouched(&[]), None);
    assert_eq!(
        vouched(&[heard(2, 6, 100, 5), heard(2, 8, 100, 5), heard(3, 7, 100, 5)]),
        None
    );
    let both = [heard(2, 7, 100, 3), heard(2, 7, 100, 5), heard(2, 7, 100, 4)];
    assert_eq!(vouched(&both), Some(second(5)));
}

#[test]
fn after_a_refusal_it_pauses_and_then_waits_for_copies_to_be_gone() {
    let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
    leader.fetched(second(1), &fetch(2, 5, 5), &mine(5));
    leader.fetched(second(1), &fetch(3, 5, 5), &mine(5));
    let lag = mine(5).lag_max;
    let proposal = leader
        .propose(second(1), Offset::new(5), &mine(5))
        .expect("3 holds everything");
    assert_eq!(who(&proposal), [1, 2, 3]);
    assert_eq!(
        leader.propose(second(2), Offset::new(5), &mine(5)),
        None,
        "one at a time"
    );
    let answer = IsrAnswered {
        proposal: proposal.clone(),
        repeated: true,
        result: IsrResult::Refused(IsrRefusal::Ineligible),
    };
    let mut answers = Vec::new();
    assert_eq!(leader.answered(second(2), lag, answer, &mut answers), None);
    let pause = second(2).after(REFUSED_PAUSE);
    assert_eq!(leader.next_look(second(2), &mine(5)), Some(pause));
    assert_eq!(leader.propose(second(2), Offset::new(5), &mine(5)), None);
    assert!(
        leader.counted().any(|broker| broker.get() == 3),
        "a copy may be taken yet"
    );
    assert_eq!(
        leader.next_look(pause, &mine(5)),
        Some(second(12)),
        "when no copy comes any more"
    );
    assert_eq!(leader.propose(pause, Offset::new(5), &mine(5)), Some(proposal));
}

#[test]
fn copies_of_what_was_refused_count_no_more_once_they_are_gone() {
    let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
    leader.fetched(second(1), &fetch(2, 5, 5), &mine(5));
    leader.fetched(second(1), &fetch(3, 5, 5), &mine(5));
    let proposal = leader
        .propose(second(1), Offset::new(5), &mine(5))
        .expect("3 holds everything");
    let answer = IsrAnswered {
        proposal,
        repeated: true,
        result: IsrResult::Refused(IsrRefusal::Ineligible),
    };
    leader.answered(second(2), mine(5).lag_max, answer, &mut Vec::new());
    // 3 falls behind, so that it is not proposed again.
    leader.fetched(second(3), &fetch(2, 90, 90), &mine(90));
    let counts_3 = |leader: &Leader| leader.counted().any(|broker| broker.get() == 3);
    let _ = leader.propose(Tick::from_nanos(12 * SECOND - 1), Offset::new(90), &mine(90));
    assert!(counts_3(&leader));
    let _ = leader.propose(second(12), Offset::new(90), &mine(90));
    assert!(!counts_3(&leader));
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_one_to_another_proposal_says_nothing() {
    let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
    leader.fetched(second(1), &fetch(2, 5, 5), &mine(5));
    leader.fetched(second(1), &fetch(3, 5, 5), &mine(5));
    let lag = mine(5).lag_max;
    let proposal = leader
        .propose(second(1), Offset::new(5), &mine(5))
        .expect("3 holds everything");
    let answer = |proposal: &IsrProposal, result| IsrAnswered {
        proposal: proposal.clone(),
        repeated: false,
        result,
    };
    let mut other = proposal.clone();
    other.isr.pop();
    let mut answers = Vec::new();
    let again = leader.answered(second(2), lag, answer(&other, IsrResult::Unknown), &mut answers);
    assert_eq!(again, None);
    let again = leader.answered(
        second(2),
        lag,
        answer(&proposal, IsrResult::Unknown),
        &mut answers,
    );
    assert_eq!(again.as_ref(), Some(&proposal));
    // It was sent twice by now: of the second a copy may be under way, whatever the answer says.
    let refused = IsrResult::Refused(IsrRefusal::Ineligible);
    leader.answered(second(3), lag, answer(&proposal, refused), &mut answers);
    assert!(leader.counted().any(|broker| broker.get() == 3));
}

#[test]
fn the_nearest_deadline_of_both_queues_counts() {
    let mut leader = Leader::begin(Tick::default(), &leadership(0, &[1], 1), Offset::ZERO);
    let mut answers = Vec::new();
    for (acks, deadline) in [(Acks::All, 500), (Acks::Leader, 300)] {
        let mut one = judged(1, acks, 5);
        one.deadline = Tick::from_nanos(deadline);
        leader.settle(one, &mut answers);
    }
    assert_eq!(
        (leader.deadline(), leader.waiting()),
        (Some(Tick::from_nanos(300)), 2)
    );
    leader.expire(Tick::from_nanos(299), &mut answers);
    assert!(answers.is_empty());
    leader.expire(Tick::from_nanos(300), &mut answers);
    assert_eq!((answers.len(), leader.waiting()), (1, 1));
    leader.expire(Tick::from_nanos(500), &mut answers);
    assert_eq!((answers.len(), leader.deadline()), (2, None));
}

#[test]
fn an_answer_is_worth_what_its_acks_and_the_topic_promise() {
    use Durability::{Fsync, Replicated};
    for (acks, durability, worth) in [
        (Acks::None, Fsync, Reached::Received),
        (Acks::None, Replicated, Reached::Received),
        (Acks::Leader, Replicated, Reached::Received),
        (Acks::Leader, Fsync, Reached::FlushedLeader),
        (Acks::All, Replicated, Reached::Replicated),
        (Acks::All, Fsync, Reached::Flushed),
    ] {
        assert_eq!(reached(acks, durability), worth, "{acks:?} {durability:?}");
    }
}

#[test]
fn what_was_done_without_a_change_is_over_and_what_another_epoch_did_may_have_happened() {
    for (epoch, over) in [(7, true), (8, false)] {
        let mut leader = Leader::begin(second(0), &three(&[1, 2]), Offset::ZERO);
        leader.fetched(second(1), &fetch(2, 5, 5), &mine(5));
        leader.fetched(second(1), &fetch(3, 5, 5), &mine(5));
        let proposal = leader
            .propose(second(1), Offset::new(5), &mine(5))
            .expect("3 holds everything");
        let record = LeaderRecord {
            leader_epoch: LeaderEpoch::new(epoch),
            ..three(&[1, 2]).record
        };
        let answer = IsrAnswered {
            proposal: proposal.clone(),
            repeated: false,
            result: IsrResult::Done(record),
        };
        let again = leader.answered(second(2), mine(5).lag_max, answer, &mut Vec::new());
        assert_eq!(again, None);
        assert_eq!(leader.counted().any(|broker| broker.get() == 3), !over);
        let next = leader.propose(second(2), Offset::new(5), &mine(5));
        assert_eq!(next, over.then_some(proposal), "epoch {epoch}");
    }
}
