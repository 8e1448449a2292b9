//! The driver on a fake disk.

mod bench;
mod cluster;
mod compacting;
mod copying;
mod damage;
mod failures;
mod kafka_bugs;
mod keeping;

use crate::{Acks, DeleteBefore, DeleteRecordsError, Durability, PartitionConfig, ProduceError, Reached};
use bench::{Bench, batch, stamped};
use quipu_record::{LeaderEpoch, Offset, Timestamp, TimestampType};
use std::time::Duration;

fn replicated() -> PartitionConfig {
    PartitionConfig {
        durability: Durability::Replicated,
        ..PartitionConfig::default()
    }
}

#[test]
fn an_acknowledgement_waits_for_the_flush() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(3), batch(2)]);
    assert!(bench.effects.flush && bench.effects.answers.is_empty());
    assert_eq!(bench.effects.appended.len(), 2, "for the tail ring");
    let view = bench.effects.view.expect("positions changed");
    assert_eq!((view.high_watermark.get(), view.log_end.get()), (0, 5));
    bench.flush();
    let answers = bench.answers();
    assert_eq!(answers.len(), 2);
    let second = answers[1].1.as_ref().expect("appended");
    assert_eq!((second.base_offset.get(), second.reached), (3, Reached::Flushed));
    assert_eq!(bench.driver.view().high_watermark, Offset::new(5));
}

#[test]
fn what_waits_is_written_with_one_write() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(1)]);
    let before = bench.disk.counts().writes;
    bench.produce(Acks::All, (0..50).map(|_| batch(1)));
    assert_eq!(bench.disk.counts().writes - before, 1);
}

#[test]
fn weaker_acks_are_answered_earlier_and_say_what_they_are_worth() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::None, [batch(1)]);
    assert_eq!(bench.answers()[0].1.as_ref().unwrap().reached, Reached::Received);
    bench.produce(Acks::Leader, [batch(1)]);
    assert!(bench.answers().is_empty());
    bench.flush();
    assert_eq!(
        bench.answers()[0].1.as_ref().unwrap().reached,
        Reached::FlushedLeader
    );

    let mut bench = Bench::leading(replicated());
    bench.produce(Acks::All, [batch(1)]);
    assert_eq!(
        bench.answers()[0].1.as_ref().unwrap().reached,
        Reached::Replicated
    );
    assert_eq!(bench.driver.view().high_watermark, Offset::new(1));
    assert!(
        !bench.effects.flush,
        "flushed in the background, not for the answer"
    );
}

#[test]
fn with_background_flushing_a_deadline_or_enough_bytes_ask_for_a_flush() {
    let config = PartitionConfig {
        flush_bytes: 10_000,
        ..replicated()
    };
    let mut bench = Bench::leading(config);
    bench.produce(Acks::None, [batch(1)]);
    let deadline = bench.effects.deadline.expect("a flush is due");
    bench.at(deadline);
    bench.tick();
    assert!(bench.effects.flush);
    bench.flush();
    assert_eq!(bench.effects.deadline, None);
    bench.produce(Acks::None, [batch(500)]);
    assert!(bench.effects.flush, "so many bytes do not wait for a second");
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offset_once_that_is_committed() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [stamped(7, 0, 0, 3)]);
    bench.produce(Acks::All, [stamped(7, 0, 0, 3)]);
    assert!(
        bench.effects.appended.is_empty(),
        "nothing is appended a second time"
    );
    assert!(
        bench.answers().is_empty(),
        "the first is not committed, nor is its repetition"
    );
    bench.flush();
    let answers = bench.answers();
    let [first, second] = [0, 1].map(|i| answers[i].1.clone().expect("appended"));
    assert_eq!(
        (first.base_offset, second.base_offset),
        (Offset::ZERO, Offset::ZERO)
    );
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(bench.driver.view().log_end, Offset::new(3));
}

#[test]
fn batches_of_one_step_are_judged_by_those_before_them() {
    let mut bench = Bench::leading(PartitionConfig::default());
    let all = [
        stamped(7, 0, 0, 1),
        stamped(7, 0, 0, 1),
        stamped(7, 0, 1, 1),
        stamped(7, 0, 9, 1),
    ];
    bench.produce(Acks::All, all);
    assert_eq!(bench.effects.appended.len(), 2);
    bench.flush();
    let results: Vec<_> = bench.answers().into_iter().map(|(_, result)| result).collect();
    assert!(results[1].as_ref().unwrap().duplicate);
    assert_eq!(results[2].as_ref().unwrap().base_offset, Offset::new(1));
    let gap = results[3].clone().expect_err("a gap");
    assert!(
        matches!(gap, ProduceError::OutOfOrderSequence { .. }) && gap.retryable(),
        "{gap:?}"
    );
}

#[test]
fn who_leads_no_more_tells_everybody() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(1)]);
    bench.resign(1);
    assert_eq!(bench.answers()[0].1, Err(ProduceError::NotLeader));
    bench.produce(Acks::All, [batch(1)]);
    assert_eq!(bench.answers()[0].1, Err(ProduceError::NotLeader));
    bench.delete(DeleteBefore::HighWatermark);
    assert_eq!(bench.effects.deleted[0].1, Err(DeleteRecordsError::NotLeader));
    assert_eq!(bench.driver.view().leading, None);
}

#[test]
fn leadership_of_an_old_epoch_is_not_taken_up() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.resign(5);
    bench.lead(5, 9);
    assert_eq!(bench.driver.view().leading, None, "somebody else led in epoch 5");
    bench.lead(6, 10);
    let leading = bench.driver.view().leading.expect("leads");
    assert_eq!(leading.epoch, LeaderEpoch::new(6));
    bench.resign(5);
    assert!(bench.driver.view().leading.is_some(), "late news");
}

#[test]
fn a_restart_does_not_take_up_the_epoch_it_led_before() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(1)]);
    bench.flush();
    let mut bench = bench.killed();
    bench.lead(1, 1);
    assert_eq!(
        bench.driver.view().leading,
        None,
        "what else was in epoch 1 may be lost"
    );
    bench.lead(2, 2);
    assert!(bench.driver.view().leading.is_some());
}

#[test]
fn a_new_leader_commits_what_it_found_only_once_that_is_flushed() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(1), batch(1)]);
    let mut bench = bench.killed();
    bench.lead(2, 2);
    let view = bench.driver.view();
    assert_eq!(
        (view.high_watermark, view.log_end),
        (Offset::ZERO, Offset::new(2))
    );
    assert!(
        view.latest(None).is_err(),
        "it may know less than the leader before it told"
    );
    assert!(bench.effects.flush);
    bench.flush();
    assert_eq!(bench.driver.view().latest(None), Ok(Offset::new(2)));
}

#[test]
fn deadlines_say_unknown_and_the_batch_may_still_come_to_be_committed() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [stamped(7, 0, 0, 1)]);
    let deadline = bench.effects.deadline.expect("somebody waits");
    bench.at(deadline);
    bench.tick();
    let error = bench.answers().remove(0).1.expect_err("late");
    assert!(error == ProduceError::RequestTimedOut && error.outcome_unknown() && error.retryable());
    assert_eq!(bench.effects.deadline, None);
    bench.flush();
    bench.produce(Acks::All, [stamped(7, 0, 0, 1)]);
    assert!(bench.answers()[0].1.as_ref().unwrap().duplicate);
}

#[test]
fn a_batch_that_comes_too_late_is_not_appended() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.now.mono = bench.now.mono.after(Duration::from_secs(60));
    bench.produce_until(Acks::All, [batch(1)], Duration::ZERO);
    assert_eq!(bench.answers()[0].1, Err(ProduceError::RequestTimedOut));
    assert_eq!(bench.driver.view().log_end, Offset::ZERO);
}

#[test]
fn the_leaders_time_is_given_and_told_and_remembered() {
    let config = PartitionConfig {
        timestamp_type: TimestampType::LogAppend,
        ..PartitionConfig::default()
    };
    let mut bench = Bench::leading(config);
    let given = bench.now.wall;
    bench.produce(Acks::All, [stamped(7, 0, 0, 2)]);
    let header = *bench.effects.appended[0].header();
    assert_eq!(
        (header.timestamp_type(), header.max_timestamp()),
        (TimestampType::LogAppend, given)
    );
    bench.flush();
    assert_eq!(
        bench.answers()[0].1.as_ref().unwrap().log_append_time,
        Some(given)
    );
    bench.now.wall = given.plus_millis(5000);
    bench.produce(Acks::All, [stamped(7, 0, 0, 2)]);
    assert_eq!(
        bench.answers()[0].1.as_ref().unwrap().log_append_time,
        Some(given)
    );
}

#[test]
fn times_out_of_bounds_and_batches_too_large_are_refused_by_name() {
    let config = PartitionConfig {
        max_message_bytes: 500,
        ..PartitionConfig::default()
    };
    let mut bench = Bench::leading(config);
    bench.now.wall = Timestamp::new(0);
    bench.produce(Acks::All, [batch(1), batch(100)]);
    let results: Vec<_> = bench.answers().into_iter().map(|(_, result)| result).collect();
    assert!(
        matches!(results[0], Err(ProduceError::InvalidTimestamp { .. })),
        "{results:?}"
    );
    assert!(
        matches!(results[1], Err(ProduceError::BatchTooLarge { max: 500, .. })),
        "{results:?}"
    );
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let mut bench = Bench::leading(PartitionConfig {
        compacted: true,
        ..PartitionConfig::default()
    });
    let plain = Bench::leading(PartitionConfig::default());
    assert!(bench.driver.is_compacted() && !plain.driver.is_compacted());
    bench.produce(Acks::All, [batch(1)]);
    let refused = bench.answers().remove(0).1.expect_err("it has no key");
    assert!(
        matches!(refused, ProduceError::KeylessRecords { keyless: 1, count: 1 }),
        "{refused:?}"
    );
    assert_eq!(refused.code(), quipu_record::ErrorCode::InvalidRequest);
    assert!(!refused.outcome_unknown() && refused.to_string().contains("give every record a key"));
    assert_eq!(bench.driver.log().log_end(), Offset::ZERO);
}

#[test]
fn settings_change_from_the_next_step_on() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.configure(PartitionConfig {
        max_message_bytes: 10,
        ..PartitionConfig::default()
    });
    bench.produce(Acks::All, [batch(1)]);
    assert!(matches!(
        bench.answers()[0].1,
        Err(ProduceError::BatchTooLarge { .. })
    ));
}

#[test]
fn an_idle_partition_is_small() {
    let log = size_of::<quipu_storage::Log<quipu_storage::test_util::FakeDisk>>();
    let ours = size_of::<crate::Driver<quipu_storage::test_util::FakeDisk>>() - log;
    assert!(ours < 600, "a driver takes {ours} bytes besides its log of {log}");
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, (0..100).map(|_| batch(1)));
    bench.flush();
    bench.retain();
    assert_eq!(bench.driver.waiting(), 0);
    assert!(bench.driver.producers().is_empty());
}
