//! A leader and its followers: what is committed, who is in sync, and how a follower's log becomes the leader's.

use super::bench::{batch, stamped};
use super::cluster::{Cluster, LIFE, id};
use crate::{
    Durability, FetchResult, Fetched, FollowerHeard, Input, IsrRefusal, IsrResult, PartitionConfig,
    ProduceError, Verdict,
};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, PlantedBug};
use std::time::Duration;

fn fsync() -> PartitionConfig {
    PartitionConfig::default()
}

fn replicated() -> PartitionConfig {
    PartitionConfig {
        durability: Durability::Replicated,
        ..PartitionConfig::default()
    }
}

const LAG: Duration = Duration::from_secs(10);

#[test]
fn an_acknowledgement_waits_for_the_flush_of_every_replica_in_sync() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.produce([batch(3)]);
    cluster.flush();
    assert!(cluster.answers().is_empty(), "two more hold nothing yet");
    cluster.copy(2);
    assert!(cluster.answers().is_empty());
    let fetched = cluster.fetch(3);
    cluster.on(3).step(Input::Fetched(fetched));
    assert_eq!(cluster.end(3), 3);
    let verdict = cluster.fetch(3);
    assert_eq!(
        cluster.hw(1),
        0,
        "held by all, and not flushed by the third: {verdict:?}"
    );
    cluster.on(3).flush();
    let told = cluster.on(3).effects.position.expect("it flushed");
    assert_eq!(told.flushed, Offset::new(3));
    cluster.ask(1, 3, LIFE.get(), told);
    assert_eq!(cluster.hw(1), 3);
    assert!(cluster.answers()[0].is_ok());
}

#[test]
fn without_fsync_an_acknowledgement_waits_for_every_replicas_memory() {
    let mut cluster = Cluster::new(&replicated(), 2);
    cluster.produce([batch(3)]);
    for broker in [2, 3] {
        let fetched = cluster.fetch(broker);
        cluster.on(broker).step(Input::Fetched(fetched));
        let told = cluster.on(broker).effects.position.take().expect("it copied");
        cluster.ask(1, broker, LIFE.get(), told);
    }
    assert!(cluster.answers()[0].is_ok());
    cluster.on(2).flush();
    assert_eq!(cluster.on(2).effects.position, None, "nobody waits for its flush");
}

#[test]
fn followers_learn_the_high_watermark_and_the_producers() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.produce([stamped(7, 0, 0, 2), stamped(8, 0, 0, 1)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    assert_eq!((cluster.hw(1), cluster.hw(2), cluster.hw(3)), (3, 3, 3));
    let known = cluster.on(1).driver.producers().clone();
    assert_eq!(cluster.on(2).driver.producers(), &known);
    assert_eq!(known.len(), 2);
    cluster.elect(2);
    cluster.produce([stamped(7, 0, 0, 2)]);
    cluster.on(2).flush();
    cluster.catch_up(&[1, 3]);
    let answers = cluster.answers();
    assert!(answers.last().unwrap().as_ref().unwrap().duplicate, "{answers:?}");
    assert_eq!(cluster.end(2), 3);
}

#[test]
fn a_log_that_parted_from_the_leaders_is_cut_and_its_producers_with_it() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.produce([stamped(7, 0, 0, 2)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    // Nobody copies this.
    cluster.produce([stamped(7, 0, 2, 2), stamped(9, 0, 0, 1)]);
    cluster.flush();
    assert_eq!(cluster.end(1), 5);
    cluster.set_isr(&[2, 3]);
    cluster.elect(2);
    cluster.produce([stamped(7, 0, 2, 1)]);
    assert!(cluster.answers().iter().skip(1).all(Result::is_err));
    let fetched = cluster.fetch(1);
    assert!(
        matches!(fetched.result, FetchResult::Diverging { .. }),
        "{fetched:?}"
    );
    let late = fetched.clone();
    cluster.on(1).step(Input::Fetched(fetched));
    assert_eq!(cluster.end(1), 2, "cut to where they agree");
    assert_eq!(cluster.on(1).driver.view().flushed, Offset::new(2));
    cluster.catch_up(&[1, 3]);
    let known = cluster.on(2).driver.producers().clone();
    assert_eq!(cluster.on(1).driver.producers(), &known);
    // The answer comes once more.
    cluster.on(1).step(Input::Fetched(late));
    assert_eq!(cluster.end(1), 3, "a late answer takes nothing off");
    let cluster_1 = cluster.brokers.remove(0).power_cut(5);
    assert_eq!(cluster_1.driver.view().log_end, Offset::new(3));
    assert_eq!(cluster_1.driver.producers(), &known);
}

#[test]
fn a_follower_that_lags_is_left_out_and_taken_in_again() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.catch_up(&[2, 3]);
    cluster.produce([batch(1)]);
    cluster.flush();
    let deadline = cluster.on(1).effects.deadline.expect("they may come to lag");
    cluster.copy(2);
    let until = deadline.since(cluster.on(1).now.mono);
    cluster.tick_after(until);
    let proposal = cluster.proposal().expect("3 lags");
    assert_eq!(proposal.isr, [(id(1), LIFE), (id(2), LIFE)]);
    assert_eq!(cluster.hw(1), 0, "until the controllers say so it counts");
    cluster.tick_after(LAG);
    assert_eq!(cluster.proposal(), None, "one at a time");
    cluster.grant(proposal);
    assert_eq!(cluster.hw(1), 1);
    cluster.copy(3);
    let proposal = cluster.proposal().expect("3 has caught up");
    assert_eq!(proposal.isr.len(), 3);
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.copy(2);
    assert_eq!(cluster.hw(1), 1, "3 may be in sync already");
    cluster.grant(proposal);
    cluster.copy(3);
    assert_eq!(cluster.hw(1), 2);
}

#[test]
fn a_follower_that_held_everything_lags_from_when_there_is_more() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.catch_up(&[2, 3]);
    cluster.tick_after(LAG * 360);
    assert_eq!(cluster.proposal(), None, "they hold all there is");
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.copy(2);
    let second = Duration::from_secs(1);
    cluster.tick_after(LAG - second);
    assert_eq!(cluster.proposal(), None);
    cluster.tick_after(second);
    let proposal = cluster.proposal().expect("3 lags");
    assert_eq!(proposal.isr, [(id(1), LIFE), (id(2), LIFE)]);
}

#[test]
fn a_proposal_counts_until_its_fate_is_known() {
    let mut cluster = Cluster::new(&fsync(), 1);
    cluster.set_isr(&[1, 2]);
    cluster.tell(1);
    cluster.catch_up(&[2]);
    cluster.copy(3);
    let counted = |cluster: &mut Cluster, broker| {
        let counted: std::collections::BTreeSet<_> = cluster.on(broker).driver.counted().collect();
        counted.into_iter().map(BrokerId::get).collect::<Vec<_>>()
    };
    assert_eq!(counted(&mut cluster, 1), [1, 2, 3], "3 as soon as it is proposed");
    assert_eq!(counted(&mut cluster, 2), [], "a follower counts nobody");
    let proposal = cluster.proposal().expect("3 has caught up");
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.copy(2);
    // The answer is lost: the same again.
    cluster.answered(proposal.clone(), false, IsrResult::Unknown);
    assert_eq!(cluster.proposal(), Some(proposal.clone()));
    // The first was taken, so that the second is outdated.
    let outdated = IsrResult::Refused(IsrRefusal::Outdated);
    cluster.answered(proposal, true, outdated);
    assert_eq!(cluster.proposal(), None);
    assert_eq!(cluster.hw(1), 0, "3 is in sync, as the metadata will tell");
    cluster.set_isr(&[1, 2, 3]);
    cluster.tell(1);
    assert_eq!(cluster.hw(1), 0);
    cluster.copy(3);
    assert_eq!(cluster.hw(1), 1);
}

#[test]
fn a_refused_proposal_is_dropped_unless_a_copy_may_be_under_way() {
    for repeated in [false, true] {
        let mut cluster = Cluster::new(&fsync(), 1);
        cluster.set_isr(&[1, 2]);
        cluster.tell(1);
        cluster.catch_up(&[2]);
        cluster.copy(3);
        let proposal = cluster.proposal().expect("3 has caught up");
        cluster.produce([batch(1)]);
        cluster.flush();
        cluster.copy(2);
        cluster.answered(proposal, repeated, IsrResult::Refused(IsrRefusal::Ineligible));
        assert_eq!(cluster.hw(1), u64::from(!repeated));
        assert_eq!(cluster.proposal(), None, "not at once again");
        cluster.copy(2);
        cluster.tick_after(LAG);
        assert_eq!(cluster.hw(1), 1, "by now no copy comes any more");
    }
}

#[test]
fn below_the_minimum_nothing_is_appended_and_what_was_is_told() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.set_isr(&[1]);
    cluster.tell(1);
    let told = ProduceError::NotEnoughReplicasAfterAppend {
        in_sync: 1,
        needed: 2,
    };
    assert_eq!(cluster.answers()[0], Err(told));
    assert_eq!(cluster.hw(1), 0);
    cluster.produce([batch(1)]);
    assert!(matches!(
        cluster.answers()[0],
        Err(ProduceError::NotEnoughReplicas { .. })
    ));
}

#[test]
fn fetches_are_judged_in_order() {
    let mut cluster = Cluster::new(&fsync(), 2);
    let good = cluster.position(2);
    let refused = |code| Verdict::Refused(code);
    assert_eq!(cluster.ask(3, 2, 100, good), refused(ErrorCode::NotLeader));
    let mut other = good;
    other.leader_epoch = LeaderEpoch::new(0);
    assert_eq!(
        cluster.ask(1, 2, 100, other),
        refused(ErrorCode::FencedLeaderEpoch)
    );
    other.leader_epoch = LeaderEpoch::new(2);
    assert_eq!(
        cluster.ask(1, 2, 100, other),
        refused(ErrorCode::UnknownLeaderEpoch)
    );
    assert_eq!(cluster.ask(1, 9, 100, good), refused(ErrorCode::InvalidRequest));
    assert_eq!(
        cluster.ask(1, 2, 99, good),
        refused(ErrorCode::FencedLeaderEpoch),
        "an older life"
    );
    assert!(matches!(cluster.ask(1, 2, 101, good), Verdict::Accepted { .. }));
    assert_eq!(
        cluster.ask(1, 2, 100, good),
        refused(ErrorCode::FencedLeaderEpoch)
    );
}

#[test]
fn what_diverges_is_no_progress() {
    let mut cluster = Cluster::new(&fsync(), 1);
    cluster.produce([batch(2)]);
    cluster.flush();
    let mut position = cluster.position(2);
    position.fetch_offset = Offset::new(9);
    position.flushed = Offset::new(9);
    position.last_fetched_epoch = Some(LeaderEpoch::new(1));
    let verdict = cluster.ask(1, 2, LIFE.get(), position);
    assert!(matches!(verdict, Verdict::Diverging { .. }));
    cluster.copy(3);
    assert_eq!(cluster.hw(1), 0);
}

#[test]
fn what_is_not_of_its_leader_a_follower_drops() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.produce([batch(2)]);
    cluster.flush();
    let good = cluster.fetch(2);
    let mut other = good.clone();
    other.leader_epoch = LeaderEpoch::new(0);
    cluster.on(2).step(Input::Fetched(other));
    assert_eq!(cluster.end(2), 0);
    cluster.on(2).step(Input::Fetched(good.clone()));
    cluster.on(2).step(Input::Fetched(good));
    assert_eq!(cluster.end(2), 2, "once");
}

#[test]
fn who_follows_a_newer_leader_is_not_moved_by_late_news() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.elect(2);
    cluster.on(1).resign(1);
    assert!(cluster.on(1).driver.view().following.is_some());
    cluster.on(1).lead(1, 9);
    assert_eq!(
        cluster.on(1).driver.view().leading,
        None,
        "somebody else leads in epoch 2"
    );
    cluster.on(1).resign(2);
    assert_eq!(cluster.on(1).driver.view().following, None, "nobody leads");
}

#[test]
fn a_refused_follower_asks_again_in_a_while() {
    let mut cluster = Cluster::new(&fsync(), 2);
    let position = cluster.position(2);
    let refused = Fetched {
        leader_epoch: position.leader_epoch,
        fetch_offset: position.fetch_offset,
        last_fetched_epoch: position.last_fetched_epoch,
        result: FetchResult::Refused(ErrorCode::UnknownLeaderEpoch),
    };
    cluster.on(2).step(Input::Fetched(refused));
    assert_eq!(cluster.on(2).effects.position, None);
    let deadline = cluster.on(2).effects.deadline.expect("later");
    cluster.on(2).at(deadline);
    cluster.on(2).tick();
    assert_eq!(cluster.on(2).effects.position, Some(position));
}

#[test]
fn a_full_disk_stops_a_follower_until_there_is_room() {
    let mut cluster = Cluster::new(&fsync(), 2);
    cluster.produce([batch(2)]);
    cluster.flush();
    cluster.on(2).disk.set_room(Some(0));
    let fetched = cluster.fetch(2);
    cluster.on(2).step(Input::Fetched(fetched));
    assert!(cluster.on(2).effects.fatal.is_none() && cluster.on(2).effects.position.is_none());
    cluster.on(2).disk.set_room(None);
    let deadline = cluster.on(2).effects.deadline.expect("later");
    cluster.on(2).at(deadline);
    cluster.on(2).tick();
    assert!(cluster.on(2).effects.position.is_some());
    cluster.copy(2);
    assert_eq!(cluster.end(2), 2);
}

#[test]
fn a_new_life_of_a_follower_takes_the_place_of_the_old_one() {
    let mut cluster = Cluster::new(&replicated(), 1);
    cluster.produce([batch(2)]);
    cluster.catch_up(&[2, 3]);
    assert_eq!(cluster.hw(1), 2);
    let old = cluster.position(2);
    let bench = cluster.brokers.remove(1).power_cut(3);
    cluster.brokers.insert(1, bench);
    cluster.tell(2);
    let now = cluster.position(2);
    cluster.ask(1, 2, LIFE.get() + 1, now);
    cluster.produce([batch(1)]);
    cluster.copy(3);
    assert_eq!(
        cluster.ask(1, 2, LIFE.get(), old),
        Verdict::Refused(ErrorCode::FencedLeaderEpoch)
    );
    assert_eq!(cluster.hw(1), 2);
}

mod planted {
    use super::*;

    #[test]
    fn without_the_epoch_check_a_follower_of_another_leader_counts() {
        let commit = || {
            let mut cluster = Cluster::new(&fsync(), 1);
            cluster.set_isr(&[1, 2]);
            cluster.elect(1);
            cluster.produce([batch(2)]);
            cluster.flush();
            let mut position = cluster.position(2);
            position.leader_epoch = LeaderEpoch::new(1);
            position.fetch_offset = Offset::new(2);
            position.flushed = Offset::new(2);
            position.last_fetched_epoch = Some(LeaderEpoch::new(2));
            cluster.ask(1, 2, LIFE.get(), position);
            cluster.hw(1)
        };
        assert_eq!(commit(), 0);
        assert_eq!(PlantedBug::NoEpochCheckOnFetch.plant(commit), 2);
    }

    #[test]
    fn with_the_brokers_epoch_unchecked_an_earlier_life_counts() {
        let commit = || {
            let mut cluster = Cluster::new(&replicated(), 1);
            cluster.set_isr(&[1, 2]);
            cluster.tell(1);
            cluster.produce([batch(2)]);
            let now = cluster.position(2);
            cluster.ask(1, 2, LIFE.get() + 1, now);
            let mut old = now;
            old.fetch_offset = Offset::new(2);
            old.last_fetched_epoch = Some(LeaderEpoch::new(1));
            cluster.ask(1, 2, LIFE.get(), old);
            cluster.hw(1)
        };
        assert_eq!(commit(), 0);
        assert_eq!(PlantedBug::BrokerEpochUnchecked.plant(commit), 2);
    }

    #[test]
    fn a_follower_cut_to_its_high_watermark_loses_what_was_acknowledged() {
        let restart = || {
            let mut cluster = Cluster::new(&fsync(), 2);
            cluster.produce([batch(2)]);
            cluster.flush();
            cluster.copy(2);
            cluster.copy(3);
            assert!(cluster.answers()[0].is_ok(), "acknowledged");
            assert_eq!(cluster.hw(3), 0, "the third does not know yet");
            cluster.elect(2);
            cluster.end(3)
        };
        assert_eq!(restart(), 2);
        assert_eq!(PlantedBug::TruncateToHighWatermark.plant(restart), 0);
    }

    #[test]
    fn another_leaders_high_watermark_is_above_what_is_common() {
        let learn = || {
            let mut cluster = Cluster::new(&fsync(), 1);
            cluster.produce([batch(2)]);
            cluster.flush();
            cluster.set_isr(&[2, 3]);
            cluster.elect(2);
            // The first holds two records that nobody else has, and hears of six that the old leader committed.
            let old = Fetched {
                leader_epoch: LeaderEpoch::new(1),
                fetch_offset: Offset::new(2),
                last_fetched_epoch: Some(LeaderEpoch::new(1)),
                result: FetchResult::Accepted {
                    high_watermark: Offset::new(6),
                    log_start: Offset::ZERO,
                    tombstone_floor: Offset::ZERO,
                    cleaned_to: Offset::ZERO,
                    batches: Vec::new(),
                },
            };
            cluster.on(1).step(Input::Fetched(old));
            cluster.hw(1)
        };
        assert_eq!(learn(), 0);
        assert_eq!(PlantedBug::HighWatermarkFromOldLeader.plant(learn), 6);
    }

    #[test]
    fn a_leader_that_goes_by_an_old_minimum_commits_alone() {
        let commit = || {
            let mut cluster = Cluster::new(&fsync(), 1);
            cluster.produce([batch(2)]);
            cluster.flush();
            cluster.tick_after(LAG);
            let proposal = cluster.proposal().expect("nobody else was heard");
            // The operator raises the minimum, and what is proposed then is answered ahead of that.
            cluster.leadership.record.min_insync = 2;
            cluster.grant(proposal);
            cluster.hw(1)
        };
        assert_eq!(commit(), 0);
        assert_eq!(PlantedBug::MinInsyncClampedByStaleLeader.plant(commit), 2);
    }

    #[test]
    fn a_leader_takes_in_a_follower_that_holds_nothing() {
        let propose = || {
            let mut cluster = Cluster::new(&fsync(), 1);
            cluster.set_isr(&[1]);
            cluster.tell(1);
            cluster.produce([batch(2)]);
            cluster.flush();
            let _ = cluster.fetch(3);
            let proposal = cluster.proposal();
            proposal.map(|proposal| proposal.isr)
        };
        assert_eq!(propose(), None);
        let all = vec![(id(1), LIFE), (id(3), BrokerEpoch::new(100))];
        assert_eq!(PlantedBug::ExpandWithoutCatchingUp.plant(propose), Some(all));
    }
}

#[test]
fn a_leader_vouches_for_itself_by_the_fetches_of_its_epoch_and_nobody_else_does() {
    let mut cluster = Cluster::new(&fsync(), 2);
    let now = cluster.on(1).now.mono;
    let begun = |epoch| FollowerHeard {
        broker: id(2),
        broker_epoch: LIFE,
        leader_epoch: LeaderEpoch::new(epoch),
        at: now,
    };
    assert_eq!(cluster.on(1).driver.vouched(now, &[]), None, "it heard nobody");
    assert_eq!(
        cluster.on(1).driver.vouched(now, &[begun(0)]),
        None,
        "another epoch"
    );
    assert_eq!(cluster.on(1).driver.vouched(now, &[begun(1)]), Some(now));
    assert_eq!(cluster.on(2).driver.vouched(now, &[begun(1)]), None, "a follower");
    let what = "the disk is gone".to_owned();
    cluster.on(1).step(Input::DiskFailed { what });
    assert_eq!(
        cluster.on(1).driver.vouched(now, &[begun(1)]),
        None,
        "it acknowledges nothing"
    );
}
