//! The sequence rules, one by one; then a model that remembers everything; then the snapshot against hostile bytes.

use super::snapshot::{SnapshotError, decode, encode};
use super::*;
use proptest::prelude::*;

const DAY: i64 = 24 * 3600 * 1000;

fn stamp(id: u64, epoch: u16, sequence: u32) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(epoch),
        base_sequence: Sequence::new(sequence),
    }
}

/// Judges and, if it comes next, appends at `base`.
fn send(
    producers: &mut Producers,
    stamp: ProducerStamp,
    records: u32,
    base: u64,
) -> Result<Verdict, ProduceError> {
    let verdict = producers.check(stamp, records, Offset::MAX)?;
    if verdict == Verdict::Append {
        append(producers, stamp, records, base);
    }
    Ok(verdict)
}

fn append(producers: &mut Producers, stamp: ProducerStamp, records: u32, base: u64) -> Undo {
    let mark = BatchMark {
        first: stamp.base_sequence,
        last: stamp.base_sequence.plus(records - 1),
        base_offset: Offset::new(base),
        leader_epoch: LeaderEpoch::new(3),
        max_timestamp: Timestamp::new(77),
    };
    producers.record(stamp.id, stamp.epoch, mark, Timestamp::new(0))
}

fn original(verdict: Result<Verdict, ProduceError>) -> u64 {
    match verdict {
        Ok(Verdict::Duplicate(mark)) => mark.base_offset.get(),
        other => panic!("not a duplicate: {other:?}"),
    }
}

#[test]
fn the_next_sequence_is_appended_and_a_repetition_answers_the_original_offset() {
    let mut p = Producers::default();
    assert_eq!(send(&mut p, stamp(1, 0, 0), 3, 100), Ok(Verdict::Append));
    assert_eq!(send(&mut p, stamp(1, 0, 3), 2, 110), Ok(Verdict::Append));
    assert_eq!(original(send(&mut p, stamp(1, 0, 0), 3, 0)), 100);
    assert_eq!(original(send(&mut p, stamp(1, 0, 3), 2, 0)), 110);
}

#[test]
fn five_batches_are_remembered_and_older_ones_are_said_to_be_duplicates_without_an_offset() {
    let mut p = Producers::default();
    for i in 0..7 {
        assert_eq!(send(&mut p, stamp(1, 0, i), 1, u64::from(i)), Ok(Verdict::Append));
    }
    for i in 2..7 {
        assert_eq!(original(send(&mut p, stamp(1, 0, i), 1, 0)), u64::from(i));
    }
    for i in 0..2 {
        let verdict = send(&mut p, stamp(1, 0, i), 1, 0);
        assert!(
            matches!(verdict, Err(ProduceError::DuplicateSequence { .. })),
            "{verdict:?}"
        );
    }
}

#[test]
fn sequences_wrap_at_the_greatest_i32() {
    let mut p = Producers::default();
    let max = i32::MAX.unsigned_abs();
    append(&mut p, stamp(1, 0, max - 2), 2, 10); // max-2, max-1
    assert_eq!(send(&mut p, stamp(1, 0, max), 3, 12), Ok(Verdict::Append)); // max, 0, 1
    assert_eq!(original(send(&mut p, stamp(1, 0, max), 3, 0)), 12);
    let BatchMark { last, .. } = p.by_id[&ProducerId::new(1)].newest();
    assert_eq!(last, Sequence::new(1));
    assert_eq!(send(&mut p, stamp(1, 0, 2), 1, 15), Ok(Verdict::Append));
    let old = send(&mut p, stamp(1, 0, max - 9), 1, 0);
    assert!(
        matches!(old, Err(ProduceError::DuplicateSequence { .. })),
        "{old:?}"
    );
}

#[test]
fn an_unknown_producer_begins_at_0() {
    let mut p = Producers::default();
    let verdict = send(&mut p, stamp(1, 0, 4), 1, 0);
    let Err(error @ ProduceError::UnknownProducer { .. }) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(!error.retryable());
    assert!(p.is_empty());
}

#[test]
fn a_newer_epoch_fences_the_older_and_begins_at_0() {
    let mut p = Producers::default();
    append(&mut p, stamp(1, 4, 0), 1, 0);
    let verdict = send(&mut p, stamp(1, 5, 1), 1, 1);
    assert!(
        matches!(verdict, Err(ProduceError::OutOfOrderSequence { .. })),
        "{verdict:?}"
    );
    assert_eq!(send(&mut p, stamp(1, 5, 0), 1, 1), Ok(Verdict::Append));
    let verdict = send(&mut p, stamp(1, 4, 1), 1, 2);
    assert!(
        matches!(verdict, Err(ProduceError::InvalidProducerEpoch { .. })),
        "{verdict:?}"
    );
}

#[test]
fn a_gap_is_retryable_only_while_something_earlier_is_unresolved() {
    let mut p = Producers::default();
    append(&mut p, stamp(1, 0, 0), 1, 10);
    let gap = |p: &Producers, hw| {
        p.check(stamp(1, 0, 5), 1, Offset::new(hw))
            .expect_err("a gap")
            .retryable()
    };
    assert!(
        gap(&p, 10),
        "the batch before is not committed: another may be on its way"
    );
    assert!(
        !gap(&p, 11),
        "everything known is committed: the missing one was lost"
    );
    p.note_refused(stamp(1, 0, 1));
    assert!(
        gap(&p, 11),
        "sequence 1 was refused a moment ago and will come again"
    );
    append(&mut p, stamp(1, 0, 1), 1, 11);
    assert!(!gap(&p, 12), "it came");
}

#[test]
fn a_pipelined_batch_of_a_new_producer_whose_first_was_refused_is_told_to_wait() {
    let mut p = Producers::default();
    p.note_refused(stamp(9, 0, 0));
    let error = p.check(stamp(9, 0, 1), 1, Offset::ZERO).expect_err("unknown");
    assert!(
        matches!(error, ProduceError::OutOfOrderSequence { .. }) && error.retryable(),
        "{error:?}"
    );
    let other = p.check(stamp(8, 0, 1), 1, Offset::ZERO).expect_err("unknown");
    assert!(!other.retryable(), "another producer's refusal means nothing");
}

#[test]
fn what_overlaps_the_end_never_fits() {
    let mut p = Producers::default();
    append(&mut p, stamp(1, 0, 0), 4, 0);
    let error = p
        .check(stamp(1, 0, 2), 4, Offset::ZERO)
        .expect_err("2..6 over 0..4");
    assert!(
        matches!(error, ProduceError::OutOfOrderSequence { .. }),
        "{error:?}"
    );
    assert!(!error.retryable());
}

#[test]
fn undoing_restores_what_was() {
    let mut p = Producers::default();
    append(&mut p, stamp(1, 0, 0), 1, 0);
    let before = p.clone();
    let undo = [
        append(&mut p, stamp(1, 0, 1), 1, 1),
        append(&mut p, stamp(2, 0, 0), 1, 2),
    ];
    assert_ne!(p, before);
    undo.into_iter().rev().for_each(|undo| p.undo(undo));
    assert_eq!(p, before);
}

#[test]
fn silence_is_measured_by_the_brokers_clock() {
    let mut p = Producers::default();
    append(&mut p, stamp(1, 0, 0), 1, 0);
    let week = Duration::from_secs(7 * 24 * 3600);
    p.expire(Timestamp::new(7 * DAY - 1), week);
    assert_eq!(p.len(), 1);
    p.expire(Timestamp::new(7 * DAY), week);
    assert!(p.is_empty());
    assert_eq!(
        p.by_id.capacity(),
        0,
        "an idle partition holds no memory for producers"
    );
}

#[test]
fn a_partition_full_of_producers_takes_no_new_one_and_forgets_the_silent_after_an_hour() {
    let mut p = Producers::default();
    for id in 0..MAX_PRODUCERS as u64 - 1 {
        append(&mut p, stamp(id, 0, 0), 1, id);
    }
    let (last, beyond) = (stamp(1_000_000, 0, 0), stamp(1_000_001, 0, 0));
    assert_eq!(
        p.check(last, 1, Offset::MAX),
        Ok(Verdict::Append),
        "there is one place left"
    );
    append(&mut p, last, 1, 70_000);
    let full = ProduceError::TooManyProducers { limit: MAX_PRODUCERS };
    assert_eq!(p.check(beyond, 1, Offset::MAX), Err(full));
    assert_eq!(
        p.check(stamp(7, 0, 1), 1, Offset::MAX),
        Ok(Verdict::Append),
        "one that is known"
    );
    let hour = DAY / 24;
    let week = Duration::from_secs(7 * 24 * 3600);
    p.expire(Timestamp::new(hour - 1), week);
    assert_eq!(p.len(), MAX_PRODUCERS);
    p.expire(Timestamp::new(hour), week);
    assert!(p.is_empty());
    // One place free is enough to wait for the configured time.
    for id in 1..MAX_PRODUCERS as u64 {
        append(&mut p, stamp(id, 0, 0), 1, id);
    }
    p.expire(Timestamp::new(hour), week);
    assert_eq!(p.len(), MAX_PRODUCERS - 1);
}

#[test]
fn sixty_four_refusals_are_remembered_each_once_and_each_for_its_own_life() {
    let mut p = Producers::default();
    let waits = |p: &Producers, behind: ProducerStamp| {
        let error = p.check(behind, 1, Offset::MAX).expect_err("not known");
        error.retryable()
    };
    p.note_refused(stamp(1, 3, 0));
    for _ in 0..100 {
        p.note_refused(stamp(2, 0, 0));
    }
    assert!(waits(&p, stamp(1, 3, 1)), "the same again takes no second place");
    assert!(!waits(&p, stamp(1, 4, 1)), "another life of it");
    for id in 3..65 {
        p.note_refused(stamp(id, 0, 0));
    }
    assert!(waits(&p, stamp(1, 3, 1)), "64 of them");
    p.note_refused(stamp(65, 0, 0));
    assert!(!waits(&p, stamp(1, 3, 1)), "the oldest makes room");
    assert!(waits(&p, stamp(2, 0, 1)));
    // What stands before the one refused does not wait for it.
    p.note_refused(stamp(66, 0, 9));
    assert!(!waits(&p, stamp(66, 0, 9)) && !waits(&p, stamp(66, 0, 8)));
    assert!(waits(&p, stamp(66, 0, 10)));
    p.expire(Timestamp::new(1), Duration::MAX);
    assert!(!waits(&p, stamp(66, 0, 10)), "by then nobody waits for it");
}

#[test]
fn the_last_batch_that_nothing_takes_back_is_kept_and_what_is_not_remembered_is_said_so() {
    let mut p = Producers::default();
    for sequence in 0..3 {
        append(&mut p, stamp(1, 0, sequence), 1, 10 + u64::from(sequence));
    }
    let known = |p: &Producers, stable| {
        let last = p.last_batches(Offset::new(stable));
        let mut known: Vec<u64> = last.known.iter().map(|at| at.get()).collect();
        known.sort_unstable();
        (known, last.unsure.len())
    };
    assert_eq!(known(&p, 10), (vec![], 0), "its first batch ends at 11");
    assert_eq!(known(&p, 11), (vec![10], 0));
    assert_eq!(known(&p, 12), (vec![11], 0));
    assert_eq!(known(&p, 99), (vec![12], 0));
    for sequence in 0..5 {
        append(&mut p, stamp(2, 0, sequence), 1, 20 + u64::from(sequence));
    }
    assert_eq!(known(&p, 20), (vec![12], 1), "there may have been earlier ones");
    assert_eq!(known(&p, 21), (vec![12, 20], 0));
}

#[test]
fn a_replay_of_what_was_not_deleted_may_know_less_and_nothing_else() {
    let mut whole = Producers::default();
    let mut rest = Producers::default();
    assert!(whole.agree_with(&rest));
    append(&mut whole, stamp(1, 0, 0), 1, 0);
    append(&mut whole, stamp(1, 0, 1), 1, 1);
    assert!(whole.agree_with(&rest) && !rest.agree_with(&whole));
    append(&mut rest, stamp(1, 0, 1), 1, 1);
    assert!(whole.agree_with(&rest), "the first batch was deleted");
    assert_ne!(whole, rest);
    let mut other = Producers::default();
    append(&mut other, stamp(1, 0, 0), 1, 0);
    assert!(!whole.agree_with(&other), "not its latest");
    let mut other = Producers::default();
    append(&mut other, stamp(1, 1, 1), 1, 1);
    assert!(!whole.agree_with(&other), "another life");
}

#[test]
fn the_planted_bug_appends_again() {
    PlantedBug::NoProducerDedup.plant(|| {
        let mut p = Producers::default();
        append(&mut p, stamp(1, 0, 0), 1, 0);
        assert_eq!(p.check(stamp(1, 0, 0), 1, Offset::ZERO), Ok(Verdict::Append));
    });
}

/// What a producer may do next, seen from one that has sent `sent` batches.
#[derive(Clone, Debug)]
enum Move {
    Next { records: u32 },
    Repeat { back: usize },
    Skip { ahead: u32 },
    NewEpoch,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (1..5_u32).prop_map(|records| Move::Next { records }),
        3 => (0..9_usize).prop_map(|back| Move::Repeat { back }),
        1 => (1..9_u32).prop_map(|ahead| Move::Skip { ahead }),
        1 => Just(Move::NewEpoch),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Against a model that remembers every batch ever appended in this epoch.
    #[test]
    fn a_model_that_remembers_everything_agrees(moves in moves(), start in prop_oneof![Just(0_u32), Just(i32::MAX.unsigned_abs() - 20)]) {
        let mut p = Producers::default();
        let mut epoch = 0_u16;
        let mut appended: Vec<(u32, u32, u64)> = Vec::new();
        let mut next = 0_u32;
        let mut log_end = 0_u64;
        if start != 0 {
            // As if the producer had come this far long ago.
            append(&mut p, stamp(1, 0, start - 1), 1, log_end);
            appended.push((start - 1, 1, log_end));
            (next, log_end) = (start, 1);
        }
        for one in moves {
            match one {
                Move::Next { records } => {
                    prop_assert_eq!(send(&mut p, stamp(1, epoch, next), records, log_end), Ok(Verdict::Append));
                    appended.push((next, records, log_end));
                    next = next.wrapping_add(records) & i32::MAX.unsigned_abs();
                    log_end += u64::from(records);
                }
                Move::Repeat { back } if back < appended.len() => {
                    let (first, records, base) = appended[appended.len() - 1 - back];
                    let verdict = p.check(stamp(1, epoch, first), records, Offset::MAX);
                    if back < REMEMBERED_BATCHES {
                        prop_assert_eq!(original(verdict), base);
                    } else {
                        prop_assert!(matches!(verdict, Err(ProduceError::DuplicateSequence { .. })), "{:?}", verdict);
                    }
                }
                Move::Repeat { .. } => {}
                Move::Skip { ahead } => {
                    let verdict = p.check(stamp(1, epoch, next.wrapping_add(ahead) & i32::MAX.unsigned_abs()), 1, Offset::MAX);
                    prop_assert!(verdict.is_err(), "{:?}", verdict);
                }
                Move::NewEpoch => {
                    epoch += 1;
                    next = 0;
                    appended.clear();
                    prop_assert_eq!(send(&mut p, stamp(1, epoch, 0), 1, log_end), Ok(Verdict::Append));
                    appended.push((0, 1, log_end));
                    (next, log_end) = (next + 1, log_end + 1);
                }
            }
            let bytes = encode(&p, Offset::new(log_end));
            prop_assert_eq!(&decode(&bytes, Offset::new(log_end)).expect("its own bytes"), &p);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes, Offset::ZERO).is_err());
    }

    /// Bytes with a right checksum and anything inside.
    #[test]
    fn no_sealed_bytes_make_the_decoder_panic(mut body in prop::collection::vec(any::<u8>(), 0..200), count in 0..9_u32) {
        let mut bytes = b"QPS1".to_vec();
        bytes.extend_from_slice(&7_u64.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.append(&mut body);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        if let Ok(producers) = decode(&bytes, Offset::new(7)) {
            prop_assert_eq!(encode(&producers, Offset::new(7)), bytes, "what is taken is what would be written");
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_snapshot_is_noticed() {
    let mut p = Producers::default();
    append(&mut p, stamp(1, 2, 0), 3, 0);
    append(&mut p, stamp(7, 0, 0), 1, 3);
    let end = Offset::new(4);
    let bytes = encode(&p, end);
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length], end).is_err(), "cut to {length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bad, end).is_err(), "bit {bit}");
    }
    assert_eq!(
        decode(&bytes, Offset::new(5)),
        Err(SnapshotError::WrongPlace {
            claimed: end,
            expected: Offset::new(5)
        })
    );
}

#[test]
fn a_snapshot_holds_as_many_producers_as_are_remembered_and_no_more() {
    let mut p = Producers::default();
    let end = Offset::new(1);
    for id in 0..MAX_PRODUCERS as u64 {
        append(&mut p, stamp(id, 0, 0), 1, 0);
    }
    assert_eq!(decode(&encode(&p, end), end).as_ref(), Ok(&p));
    append(&mut p, stamp(MAX_PRODUCERS as u64, 0, 0), 1, 0);
    let field = "number of producers";
    assert_eq!(decode(&encode(&p, end), end), Err(SnapshotError::Value { field }));
}

#[test]
fn a_claim_of_four_billion_producers_allocates_nothing() {
    let mut bytes = b"QPS1".to_vec();
    bytes.extend_from_slice(&0_u64.to_be_bytes());
    bytes.extend_from_slice(&u32::MAX.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    assert!(matches!(
        decode(&bytes, Offset::ZERO),
        Err(SnapshotError::Value { .. })
    ));
}
