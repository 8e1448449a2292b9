use super::*;
use crate::partition::test_batches::stored;
use std::sync::Arc;

#[derive(Clone, Default)]
struct P(Arc<Tail>);

impl HasTail for P {
    fn tail(&self) -> &Tail {
        &self.0
    }
}

fn offset(n: u64) -> Offset {
    Offset::new(n)
}

/// `count` batches of one record each, of `size` bytes with overhead, from offset `from`.
fn batches(from: u64, count: u64, size: usize) -> Vec<StoredBatch> {
    (from..from + count)
        .map(|at| stored(at, 1, size - OVERHEAD))
        .collect()
}

fn bases(read: Option<Vec<StoredBatch>>) -> Option<Vec<u64>> {
    Some(read?.iter().map(|batch| batch.base_offset().get()).collect())
}

#[test]
fn reads_from_the_batch_that_holds_the_offset_below_the_high_watermark() {
    let p = P::default();
    let mut ring = Ring::new(1 << 20);
    ring.push(
        p.clone(),
        &mut vec![stored(10, 5, 200), stored(15, 5, 200), stored(20, 5, 200)],
    );
    let read = |from, below, max| bases(p.0.read(offset(from), offset(below), max));
    assert_eq!(read(10, 25, 1 << 20), Some(vec![10, 15, 20]));
    assert_eq!(read(17, 25, 1 << 20), Some(vec![15, 20]));
    assert_eq!(read(10, 20, 1 << 20), Some(vec![10, 15]), "20 is not below 20");
    assert_eq!(
        read(10, 19, 1 << 20),
        Some(vec![10]),
        "15 to 19 is not wholly below 19"
    );
    assert_eq!(read(10, 25, 300), Some(vec![10]));
    assert_eq!(
        read(10, 25, 1),
        Some(vec![10]),
        "one batch is given whatever its size"
    );
    assert_eq!(
        read(10, 10, 1 << 20),
        Some(vec![]),
        "in memory, but not readable yet"
    );
    assert_eq!(read(9, 25, 1 << 20), None, "before the ring");
    assert_eq!(read(25, 25, 1 << 20), None, "after the ring");
}

#[test]
fn the_oldest_of_any_partition_goes_first() {
    let (a, b) = (P::default(), P::default());
    let mut ring = Ring::new(3_000);
    ring.push(a.clone(), &mut batches(0, 1, 1_000));
    ring.push(b.clone(), &mut batches(0, 1, 1_000));
    ring.push(b.clone(), &mut batches(1, 1, 1_000));
    assert_eq!((a.0.len(), b.0.len()), (1, 2));
    ring.push(b.clone(), &mut batches(2, 1, 1_000));
    assert_eq!((a.0.len(), b.0.len()), (0, 3));
    ring.push(a.clone(), &mut batches(1, 2, 1_000));
    assert_eq!((a.0.len(), b.0.len()), (2, 1));
}

#[test]
fn what_does_not_follow_on_empties_a_tail_first() {
    let p = P::default();
    let mut ring = Ring::new(1 << 20);
    ring.push(p.clone(), &mut batches(0, 3, 500));
    ring.push(p.clone(), &mut batches(7, 1, 500));
    assert_eq!(bases(p.0.read(offset(7), offset(8), 1)), Some(vec![7]));
    assert_eq!(p.0.len(), 1);
}

#[test]
fn a_cleared_tail_is_not_dropped_from_again() {
    let p = P::default();
    let mut ring = Ring::new(2_000);
    ring.push(p.clone(), &mut batches(0, 2, 1_000));
    p.0.clear();
    ring.push(p.clone(), &mut batches(1, 1, 1_000));
    assert_eq!(
        p.0.len(),
        1,
        "dropping the two that were cleared takes nothing of the new one"
    );
    ring.push(p.clone(), &mut batches(2, 1, 1_000));
    assert_eq!(p.0.len(), 2);
    assert_eq!(ring.bytes, 2_000);
}

#[test]
fn what_nobody_adds_to_is_dropped_at_the_second_stroke() {
    let (quiet, busy) = (P::default(), P::default());
    let mut ring = Ring::new(1 << 20);
    ring.push(quiet.clone(), &mut batches(0, 2, 1_000));
    ring.age();
    ring.push(busy.clone(), &mut batches(0, 1, 1_000));
    assert_eq!((quiet.0.len(), busy.0.len()), (2, 1));
    ring.age();
    assert_eq!((quiet.0.len(), busy.0.len()), (0, 1));
    ring.age();
    assert!(ring.is_empty());
    assert_eq!(ring.bytes, 0);
    assert_eq!(quiet.0.lock().queue.capacity(), 0, "an idle tail has no memory");
}
