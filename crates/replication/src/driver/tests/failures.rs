//! A full disk is a refusal; a failing disk is the end.

use super::bench::{Bench, batch, stamped};
use crate::{Acks, Input, PartitionConfig, ProduceError};
use quipu_record::Offset;
use quipu_storage::test_util::Faults;
use quipu_storage::{Disk, LogConfig};
use std::path::Path;

#[test]
fn a_full_disk_refuses_and_takes_back_what_it_knew_of_the_producer() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [stamped(7, 0, 0, 1)]);
    bench.flush();
    let known = bench.driver.producers().clone();
    bench.disk.set_room(Some(10));
    bench.produce(Acks::All, [stamped(7, 0, 1, 1), stamped(8, 0, 0, 1)]);
    let answers = bench.answers();
    assert!(
        answers
            .iter()
            .all(|(_, result)| *result == Err(ProduceError::StorageFull)),
        "{answers:?}"
    );
    assert!(bench.effects.appended.is_empty() && bench.effects.fatal.is_none());
    assert_eq!(bench.driver.producers(), &known);
    assert_eq!(bench.driver.view().log_end, Offset::new(1));

    // What was pipelined behind it is told to come again, not to give up.
    bench.produce(Acks::All, [stamped(7, 0, 2, 1), stamped(8, 0, 1, 1)]);
    for (_, result) in bench.answers() {
        let error = result.expect_err("its predecessor was refused");
        assert!(error.retryable(), "{error:?}");
    }

    bench.disk.set_room(None);
    bench.produce(
        Acks::All,
        [
            stamped(7, 0, 1, 1),
            stamped(7, 0, 2, 1),
            stamped(8, 0, 0, 1),
            stamped(8, 0, 1, 1),
        ],
    );
    bench.flush();
    assert!(bench.answers().iter().all(|(_, result)| result.is_ok()));
    assert_eq!(bench.driver.view().log_end, Offset::new(5));
}

#[test]
fn a_failed_write_is_final() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(1)]);
    bench.disk.set_faults(Faults {
        write_eio: u16::MAX,
        ..Faults::default()
    });
    bench.produce(Acks::All, [batch(1)]);
    assert!(bench.effects.fatal.is_some());
    let answers = bench.answers();
    assert_eq!(answers.len(), 2, "those who waited before are told as well");
    assert!(
        answers
            .iter()
            .all(|(_, result)| *result == Err(ProduceError::StorageFailed))
    );
    bench.disk.set_faults(Faults::default());
    bench.produce(Acks::All, [batch(1)]);
    assert_eq!(
        bench.answers()[0].1,
        Err(ProduceError::StorageFailed),
        "it is not tried again"
    );
}

#[test]
fn a_failed_sync_is_final_and_nothing_that_waited_is_acknowledged() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(1)]);
    bench.disk.set_faults(Faults {
        sync_eio: u16::MAX,
        ..Faults::default()
    });
    let error = bench.try_flush().expect_err("the sync fails");
    bench.disk.set_faults(Faults::default());
    bench.step(Input::DiskFailed {
        what: error.to_string(),
    });
    assert!(bench.effects.fatal.is_some());
    assert_eq!(bench.answers()[0].1, Err(ProduceError::StorageFailed));
    bench.tick();
    assert_eq!(
        bench.driver.view().high_watermark,
        Offset::ZERO,
        "no later sync can make it good"
    );
}

fn is(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|extension| extension == kind)
}

#[test]
fn a_damaged_log_opens_and_takes_nothing() {
    let log = LogConfig {
        segment_bytes: 2048,
        ..LogConfig::default()
    };
    for what in ["gone", "empty", "cut"] {
        let mut bench = Bench::with_log(PartitionConfig::default(), log);
        bench.produce(Acks::All, (0..100).map(|i| stamped(7, 0, i, 1)));
        bench.flush();
        // A round's mark is written with the round after it.
        bench.produce(Acks::All, [batch(1)]);
        bench.flush();
        let files = bench.disk.files();
        let segments: Vec<_> = files.iter().filter(|path| is(path, "log")).collect();
        match what {
            "gone" => {
                // Nothing is left to say where the segment before them ended.
                let seals = files.iter().filter(|path| is(path, "seal"));
                for path in segments[1..3].iter().copied().chain(seals) {
                    bench.disk.remove(path).unwrap();
                }
            }
            "empty" => bench.disk.damage(segments[0], Vec::clear).unwrap(),
            _ => bench
                .disk
                .damage(segments[0], |bytes| bytes.truncate(1000))
                .unwrap(),
        }
        // Without a snapshot the replay walks over the damage.
        for path in &files {
            if is(path, "producers") {
                bench.disk.remove(path).unwrap();
            }
        }
        let mut bench = bench.damaged();
        assert!(bench.driver.log().damage().is_some(), "{what}");
        bench.lead(2, 2);
        bench.produce(Acks::All, [batch(1)]);
        assert_eq!(bench.answers()[0].1, Err(ProduceError::LogDamaged), "{what}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_every_power_cut() {
    for seed in 0..40 {
        let mut bench = Bench::leading(PartitionConfig::default());
        bench.produce(Acks::All, [stamped(7, 0, 0, 2)]);
        bench.flush();
        assert!(bench.answers()[0].1.is_ok());
        bench.produce(Acks::All, [stamped(7, 0, 2, 3)]);
        let mut bench = bench.power_cut(seed);
        bench.lead(2, 2);
        bench.flush();
        let view = bench.driver.view();
        assert!(
            matches!(view.log_end.get(), 2 | 5) && view.high_watermark == view.log_end,
            "seed {seed}: {view:?}"
        );
        assert_eq!(bench.driver.producers(), &bench.replay(), "seed {seed}");
        bench.produce(Acks::All, [stamped(7, 0, 0, 2), stamped(7, 0, 2, 3)]);
        bench.flush();
        let answers = bench.answers();
        assert_eq!(
            answers[0].1.as_ref().unwrap().base_offset,
            Offset::ZERO,
            "seed {seed}"
        );
        assert_eq!(
            answers[1].1.as_ref().unwrap().base_offset,
            Offset::new(2),
            "seed {seed}"
        );
        assert_eq!(bench.driver.view().log_end, Offset::new(5), "seed {seed}");
    }
}
