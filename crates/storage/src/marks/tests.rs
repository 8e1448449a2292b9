use super::*;
use crate::segment::Boundary;
use crate::test_util::{FakeDisk, Rng};
use quipu_record::{PartitionId, Timestamp, TopicId};
use std::path::Path;

fn log(partition: u32, flushed: u64) -> LogSlot {
    LogSlot {
        partition: TopicPartition {
            topic: TopicId::from_u128(1),
            partition: PartitionId::new(partition),
        },
        incarnation: u64::from(partition) + 1,
        log_start: Offset::ZERO,
        mark: Some(mark(flushed)),
    }
}

fn mark(flushed: u64) -> Mark {
    Mark {
        segment: Offset::ZERO,
        end: Boundary {
            next: Offset::new(flushed),
            ..Boundary::start(Offset::ZERO)
        },
        epoch: None,
        created: Timestamp::new(0),
    }
}

fn open(disk: &FakeDisk) -> Marks<FakeDisk> {
    let (marks, repairs) = Marks::open(disk, Path::new("/"), false).unwrap();
    assert_eq!(repairs, vec![]);
    marks
}

fn flush(marks: &Marks<FakeDisk>) {
    let written = marks.write_dirty().unwrap();
    marks.sync().unwrap();
    marks.confirm(&written);
}

fn flushed(marks: &Marks<FakeDisk>, partition: u32) -> Option<u64> {
    match marks.known(log(partition, 0).partition) {
        Known::Slot(_, found) => found.mark.map(|mark| mark.end.next.get()),
        _ => None,
    }
}

#[test]
fn a_crash_at_any_time_leaves_a_mark_that_was_true() {
    for seed in 0..300 {
        let disk = FakeDisk::new(seed);
        let mut rng = Rng::new(seed);
        let marks = open(&disk);
        let ids: Vec<_> = (0..40).map(|at| marks.allocate(log(at, 0)).unwrap()).collect();
        flush(&marks);
        let mut durable = vec![0; ids.len()];
        let mut last = durable.clone();
        for round in 1..rng.below(20) {
            for (at, id) in ids.iter().enumerate() {
                if rng.one_in(3) {
                    marks.complete(*id, marks.generation(*id), mark(round));
                    last[at] = round;
                }
            }
            if rng.one_in(3) {
                let at = rng.index(ids.len());
                marks
                    .set_now(ids[at], log(u32::try_from(at).unwrap(), 0))
                    .unwrap();
                (last[at], durable[at]) = (0, 0);
            }
            if rng.one_in(8) {
                // The power goes in the middle of a round.
                marks.write_dirty().unwrap();
                break;
            }
            flush(&marks);
            durable.clone_from(&last);
        }
        disk.crash(rng.next_u64());
        // Torn writes are found, and nothing but torn writes.
        let (marks, _) = Marks::open(&disk, Path::new("/"), true).unwrap();
        for at in 0..ids.len() {
            let found = flushed(&marks, u32::try_from(at).unwrap()).unwrap_or_else(|| panic!("seed {seed}"));
            assert!(found >= durable[at] && found <= last[at], "seed {seed}, log {at}");
        }
    }
}

#[test]
fn a_mark_that_went_down_is_not_raised_by_an_older_round() {
    let marks = open(&FakeDisk::new(1));
    let id = marks.allocate(log(1, 0)).unwrap();
    let before = marks.generation(id);
    marks.set_now(id, log(1, 5)).unwrap();
    marks.complete(id, before, mark(9));
    assert_eq!(flushed(&marks, 1), Some(5));
}

#[test]
fn slots_are_given_back_and_the_file_grows() {
    let disk = FakeDisk::new(1);
    let marks = open(&disk);
    for at in 0..100 {
        marks.allocate(log(at, u64::from(at))).unwrap();
    }
    flush(&marks);
    let len = disk.contents(Path::new("/flushed")).unwrap().len();
    for at in 0..100 {
        marks.release_now(log(at, 0).partition).unwrap();
        marks.allocate(log(at + 100, 7)).unwrap();
    }
    flush(&marks);
    assert_eq!(disk.contents(Path::new("/flushed")).unwrap().len(), len);
    drop(marks);
    let marks = open(&disk);
    assert_eq!(marks.partitions().len(), 100);
    assert_eq!(flushed(&marks, 150), Some(7));
    assert_eq!(marks.known(log(3, 0).partition), Known::Never);
}

#[test]
fn a_file_that_is_gone_or_cut_is_damage_if_there_are_logs() {
    let disk = FakeDisk::new(1);
    let marks = open(&disk);
    for at in 0..40 {
        marks.allocate(log(at, 1)).unwrap();
    }
    flush(&marks);
    drop(marks);
    for cut in [0, 100, PAGE_LEN, 2 * PAGE_LEN, 2 * PAGE_LEN + 5] {
        let copy = disk.copy(2);
        copy.damage(Path::new("/flushed"), |bytes| bytes.truncate(cut))
            .unwrap();
        let (marks, repairs) = Marks::open(&copy, Path::new("/"), true).unwrap();
        assert!(!repairs.is_empty(), "cut at {cut}");
        assert_eq!(marks.known(log(39, 0).partition), Known::Unknown, "cut at {cut}");
        marks.allocate(log(200, 1)).unwrap();
        flush(&marks);
        drop(marks);
        let (marks, repairs) = Marks::open(&copy, Path::new("/"), true).unwrap();
        assert!(repairs.is_empty(), "cut at {cut}: {repairs:?}");
        assert_eq!(flushed(&marks, 200), Some(1));
    }
    let (marks, repairs) = Marks::open(&FakeDisk::new(1), Path::new("/"), true).unwrap();
    assert_eq!(repairs.len(), 1);
    assert_eq!(marks.known(log(1, 0).partition), Known::Unknown);
}
