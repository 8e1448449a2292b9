//! Bursts fill their batches, and what becomes of one is told no better than it is known.

use super::*;
use quipu_client::LeaderEpoch;
use quipu_record::{BatchBuilder, Codec, Timestamp};

/// Whether each value but the last leaves room for the next, and the last leaves none for another: what a producer
/// looks at.
fn fills_one_batch(lengths: &[usize]) -> bool {
    let mut batch = BatchBuilder::new(Codec::None, BATCH_BYTES);
    let mut closed = Vec::new();
    for length in lengths {
        let value = vec![0; *length];
        let bound = BatchBuilder::record_bound(None, Some(&value), &[]);
        if batch.size() + bound > BATCH_BYTES {
            return false;
        }
        batch
            .push(Timestamp::new(0), None, Some(&value), &[])
            .expect("it fits");
        closed.push(batch.size() + bound > BATCH_BYTES);
    }
    closed.iter().position(|closed| *closed) == Some(lengths.len() - 1)
}

#[test]
fn a_burst_is_one_batch() {
    let mut chance = Chance::new(1);
    for round in 0..2000 {
        for count in [1, 2, 25, BURST_MOST as usize] {
            let lengths = lengths(&mut chance, count);
            assert_eq!(lengths.len(), count);
            assert!(fills_one_batch(&lengths), "round {round}: {lengths:?}");
        }
    }
    for length in [VALUE_BYTES_LEAST, VALUE_BYTES_MOST] {
        let mut extreme = vec![length; BURST_MOST as usize - 1];
        let before: usize = extreme.iter().sum();
        extreme.push((BATCH_BYTES - before) / 2 + 1);
        assert!(fills_one_batch(&extreme), "{extreme:?}");
    }
    assert!(!fills_one_batch(&[100, 100]));
}

fn stored(offset: Option<u64>) -> Result<Delivered, DeliveryError> {
    Ok(Delivered {
        partition: PartitionId::new(0),
        offset: offset.map(Offset::new),
        leader_epoch: LeaderEpoch::new(3),
        durability: None,
        duplicate: false,
        append_time: None,
    })
}

fn base(outcome: &Outcome) -> Option<Option<Offset>> {
    match outcome {
        Outcome::Stored(first) => Some(first.and_then(|first| first.offset)),
        Outcome::NotStored { .. } | Outcome::Unknown { .. } => None,
    }
}

#[test]
fn what_became_of_a_burst_is_told_no_better_than_it_is_known() {
    let dense = outcome(&[stored(Some(7)), stored(Some(8))]);
    assert_eq!(base(&dense), Some(Some(Offset::new(7))));
    for unclear in [
        [stored(Some(7)), stored(Some(9))],
        [stored(Some(7)), stored(None)],
        [stored(None), stored(None)],
    ] {
        assert_eq!(base(&outcome(&unclear)), Some(None), "{unclear:?}");
    }
    let unknown = || {
        Err(DeliveryError::OutcomeUnknown {
            last: "silence".to_owned(),
        })
    };
    let expired = || {
        Err(DeliveryError::Expired {
            last: "no leader".to_owned(),
        })
    };
    for mixed in [
        [stored(Some(7)), unknown()],
        [unknown(), expired()],
        [stored(Some(7)), expired()],
    ] {
        assert_eq!(outcome(&mixed), Outcome::Unknown { over: false }, "{mixed:?}");
    }
    assert_eq!(
        outcome(&[expired(), expired()]),
        Outcome::NotStored { over: false }
    );
    assert_eq!(
        outcome(&[Err(DeliveryError::Closed)]),
        Outcome::NotStored { over: true }
    );
}
