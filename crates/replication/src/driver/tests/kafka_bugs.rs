//! Bugs that Kafka had, by their numbers.

use super::bench::{batch, stamped};
use super::cluster::{Cluster, LIFE, id};
use crate::{
    Acks, DeleteBefore, FetchResult, Fetched, Input, IsrRefusal, IsrResult, PartitionConfig, Verdict,
};
use quipu_record::{LeaderEpoch, Offset};
use quipu_storage::LogConfig;

fn cluster() -> Cluster {
    Cluster::new(&PartitionConfig::default(), 1)
}

fn epochs(cluster: &mut Cluster, broker: usize) -> Vec<(u32, u64)> {
    let entries = cluster.on(broker).driver.log().epochs().entries();
    let pair = |entry: &quipu_storage::EpochEntry| (entry.epoch.get(), entry.start.get());
    entries.iter().map(pair).collect()
}

/// Truncating at the log end must still clean the epochs that have no records.
#[test]
fn kafka_10706_an_epoch_without_records_goes_when_its_leader_follows() {
    let mut cluster = cluster();
    cluster.produce([batch(2)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    cluster.elect(2);
    assert_eq!(epochs(&mut cluster, 2), [(1, 0), (2, 2)]);
    cluster.elect(1);
    assert_eq!(epochs(&mut cluster, 2), [(1, 0)]);

    // The same where it was written: the record that began the epoch is cut.
    cluster.elect(2);
    cluster.produce([batch(1)]);
    cluster.flush();
    assert_eq!(epochs(&mut cluster, 2), [(1, 0), (4, 2)]);
    cluster.set_isr(&[1, 3]);
    cluster.elect(1);
    cluster.catch_up(&[2]);
    assert_eq!(epochs(&mut cluster, 2), [(1, 0)]);
    let bench = cluster.brokers.remove(1).power_cut(1);
    cluster.brokers.insert(1, bench);
    assert_eq!(epochs(&mut cluster, 2), [(1, 0)]);
}

/// Epochs without records, known to one side and not to the other, must not end in a loop of fetches.
#[test]
fn kafka_15608_and_20961_epochs_without_records_do_not_matter() {
    let mut cluster = cluster();
    cluster.produce([batch(2)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    for leader in [2, 3, 2, 3, 1] {
        cluster.elect(leader);
    }
    // The leader forgets its own, and leads once more.
    let bench = cluster.brokers.remove(0).power_cut(1);
    cluster.brokers.insert(0, bench);
    cluster.elect(1);
    for broker in [2, 3] {
        assert_eq!(
            cluster.position(broker).last_fetched_epoch,
            Some(LeaderEpoch::new(1))
        );
        let fetched = cluster.fetch(broker);
        assert!(
            matches!(fetched.result, FetchResult::Accepted { .. }),
            "{fetched:?}"
        );
    }
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    assert_eq!(cluster.hw(1), 3);
}

/// An empty answer must not change what the follower takes for the epoch of its last batch.
#[test]
fn kafka_15510_an_empty_answer_changes_nothing_of_the_position() {
    let mut cluster = cluster();
    cluster.produce([batch(2)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    let before = cluster.position(2);
    let fetched = cluster.fetch(2);
    assert!(matches!(&fetched.result, FetchResult::Accepted { batches, .. } if batches.is_empty()));
    cluster.on(2).step(Input::Fetched(fetched));
    assert_eq!(cluster.position(2), before);
    assert_eq!(before.last_fetched_epoch, Some(LeaderEpoch::new(1)));
    assert_eq!(
        cluster.on(2).effects.position,
        None,
        "nothing to tell, and no loop"
    );
}

/// A log that begins anew takes its high watermark along, up or down.
#[test]
fn kafka_9491_the_high_watermark_after_everything_was_cut() {
    let mut cluster = cluster();
    cluster.produce([batch(5)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    assert_eq!(cluster.hw(2), 5);
    for start in [2, 50] {
        let position = cluster.position(2);
        cluster.on(2).step(Input::Fetched(Fetched {
            leader_epoch: position.leader_epoch,
            fetch_offset: position.fetch_offset,
            last_fetched_epoch: position.last_fetched_epoch,
            result: FetchResult::OutOfRange {
                log_start: Offset::new(start),
            },
        }));
        let view = cluster.on(2).driver.view();
        let all = [view.log_start, view.high_watermark, view.log_end, view.flushed];
        assert_eq!(all.map(Offset::get), [start; 4]);
        let told = cluster.on(2).effects.position.expect("it begins anew");
        assert_eq!((told.fetch_offset.get(), told.last_fetched_epoch), (start, None));
    }
}

/// A follower that fell below its leader's log start begins anew there, and goes on.
#[test]
fn kafka_7414_out_of_range_does_not_end_a_follower() {
    let log = LogConfig {
        segment_bytes: 1024,
        ..LogConfig::default()
    };
    let mut cluster = Cluster::with_log(&PartitionConfig::default(), 1, log);
    cluster.set_isr(&[1, 2]);
    cluster.tell(1);
    cluster.produce([stamped(7, 0, 0, 3)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    let proposal = cluster.proposal().expect("the third caught up");
    cluster.answered(proposal, false, IsrResult::Refused(IsrRefusal::Ineligible));
    for n in 0..30 {
        cluster.produce([stamped(7, 0, 3 + n * 2, 2)]);
    }
    cluster.flush();
    cluster.catch_up(&[2]);
    // Within a batch: what the leader sends begins before its own log start.
    cluster.on(1).delete(DeleteBefore::Offset(Offset::new(40)));
    cluster.flush();
    let fetched = cluster.fetch(3);
    assert_eq!(
        fetched.result,
        FetchResult::OutOfRange {
            log_start: Offset::new(40)
        }
    );
    cluster.on(3).step(Input::Fetched(fetched));
    assert!(cluster.on(3).effects.fatal.is_none());
    cluster.catch_up(&[2, 3]);
    let view = cluster.on(3).driver.view();
    assert_eq!(
        (
            view.log_start.get(),
            view.log_end.get(),
            view.high_watermark.get()
        ),
        (40, 63, 63)
    );
    assert_eq!(
        cluster.on(2).driver.view().log_start.get(),
        40,
        "the other deletes likewise"
    );
    assert_eq!(cluster.on(3).driver.producers().len(), 1);
    let bench = cluster.brokers.remove(2).power_cut(4);
    let view = bench.driver.view();
    assert_eq!((view.log_start.get(), view.log_end.get()), (40, 63));
}

/// A replica that may not be in sync must not hold back the high watermark, however well it keeps up otherwise.
#[test]
fn kafka_15021_a_replica_that_may_not_be_in_sync_holds_nothing_back() {
    let mut cluster = cluster();
    cluster.set_isr(&[1, 2]);
    cluster.leadership.eligible.pop();
    cluster.tell(1);
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    assert_eq!(cluster.proposal(), None, "it is shutting down");
    cluster.produce([batch(1)]);
    cluster.flush();
    cluster.copy(2);
    assert_eq!(cluster.hw(1), 2);
    // It comes back, by word of the metadata alone.
    cluster.leadership.eligible.push((id(3), LIFE));
    cluster.copy(3);
    cluster.tell(1);
    assert!(cluster.proposal().is_some());
}

/// What a fetch is told of high watermark and log start is of one moment.
#[test]
fn kafka_7104_the_offsets_of_an_answer_are_one_snapshot() {
    let mut cluster = cluster();
    for n in 0..40_u64 {
        cluster.on(1).produce(Acks::Leader, [batch(2)]);
        cluster.flush();
        if n % 3 == 0 {
            cluster.on(1).delete(DeleteBefore::HighWatermark);
        }
        for broker in [2, 3] {
            let position = cluster.position(broker);
            let verdict = cluster.ask(1, broker, LIFE.get(), position);
            if let Verdict::Accepted {
                from,
                high_watermark,
                log_start,
                log_end,
            } = verdict
            {
                assert!(log_start <= high_watermark && high_watermark <= log_end && from <= log_end);
            }
            let fetched = cluster.answer(1, position, verdict);
            cluster.on(broker).step(Input::Fetched(fetched));
            cluster.on(broker).flush();
            let view = cluster.on(broker).driver.view();
            assert!(view.log_start <= view.high_watermark && view.high_watermark <= view.log_end);
        }
    }
    assert!(cluster.on(1).driver.view().log_start > Offset::ZERO);
}
