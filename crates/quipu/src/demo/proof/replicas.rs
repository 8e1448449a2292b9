//! The replicas are the same: every broker's disk holds the same batches below the high watermark.

use super::{Check, group_digits};
use quipu_record::{LeaderEpoch, Offset, PartitionId};

/// A batch as a replica holds it: the same offset, epoch and checksum are the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) crc: u32,
}

/// One broker's copy of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) broker: u32,
    pub(crate) partition: PartitionId,
    pub(crate) batches: Vec<Copied>,
}

impl Replica {
    fn below(&self, high_watermark: Offset) -> &[Copied] {
        let count = self.batches.partition_point(|batch| batch.first < high_watermark);
        &self.batches[..count]
    }
}

/// Holds the copies of each partition against each other, below its high watermark (what a client could read).
pub(crate) fn same_replicas(replicas: &[Replica], ends: &[(PartitionId, Offset)], copies: usize) -> Check {
    let mut check = Check::new("equal on every replica's disk");
    let mut compared = 0;
    for (partition, end) in ends.iter().filter(|(_, end)| *end > Offset::ZERO) {
        let of_it: Vec<&Replica> = replicas.iter().filter(|r| r.partition == *partition).collect();
        if of_it.len() != copies {
            check.fault(|| format!("partition {partition}: {} copies, not {copies}", of_it.len()));
        }
        let Some((first, others)) = of_it.split_first() else {
            continue;
        };
        for replica in &of_it {
            let reaches = replica.below(*end).last().map_or(Offset::ZERO, |last| last.next);
            if reaches != *end {
                check.fault(|| {
                    format!(
                        "partition {partition} on broker {}: ends at {reaches}, not {end}",
                        replica.broker
                    )
                });
            }
        }
        let expected = first.below(*end);
        compared += expected.len();
        for other in others {
            let found = other.below(*end);
            let differs = expected.iter().zip(found).find(|(a, b)| a != b);
            if let Some((a, b)) = differs {
                check.fault(|| {
                    format!(
                        "partition {partition}: broker {} holds {a:?}, broker {} {b:?}",
                        first.broker, other.broker
                    )
                });
            } else if expected.len() != found.len() {
                check.fault(|| {
                    format!(
                        "partition {partition}: broker {} holds {} batches, broker {} {}",
                        first.broker,
                        expected.len(),
                        other.broker,
                        found.len()
                    )
                });
            }
        }
    }
    if compared == 0 {
        check.fault(|| "there was nothing to compare".to_owned());
    }
    check.looked_at = format!("{} batches x {copies}", group_digits(compared));
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: u64, next: u64) -> Copied {
        Copied {
            first: Offset::new(first),
            next: Offset::new(next),
            epoch: Some(LeaderEpoch::new(1)),
            crc: 7,
        }
    }

    /// Three copies of one partition that end at 30, of which 20 are readable.
    fn good() -> Vec<Replica> {
        let replica = |broker| Replica {
            broker,
            partition: PartitionId::new(4),
            batches: vec![batch(0, 10), batch(10, 20), batch(20, 30)],
        };
        (0..3).map(replica).collect()
    }

    fn holds(replicas: &[Replica]) -> bool {
        same_replicas(replicas, &[(PartitionId::new(4), Offset::new(20))], 3).holds()
    }

    #[test]
    fn equal_replicas_are_equal_whatever_lies_above() {
        let mut replicas = good();
        assert!(holds(&replicas));
        replicas[2].batches.pop();
        replicas[1].batches[2].crc = 8;
        assert!(holds(&replicas));
    }

    #[test]
    fn each_difference_is_found() {
        let damages: [fn(&mut Vec<Replica>); 6] = [
            |replicas| replicas[2].batches[0].crc = 8,
            |replicas| replicas[0].batches[1].epoch = None,
            |replicas| replicas[1].batches[1] = batch(11, 20),
            |replicas| replicas[1].batches.truncate(1),
            |replicas| drop(replicas.pop()),
            |replicas| replicas.clear(),
        ];
        for (at, damage) in damages.into_iter().enumerate() {
            let mut replicas = good();
            damage(&mut replicas);
            assert!(!holds(&replicas), "damage {at} is not found");
        }
    }
}
