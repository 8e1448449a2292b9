use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn placement(racks: &[u8], spare: &[u8]) -> Placement {
    let seats = |racks: &[u8], first: usize| {
        let seat = |(i, rack): (usize, &u8)| {
            let id = BrokerId::new(u32::try_from(first + i).expect("few"));
            Seat {
                id,
                rack: (*rack > 0).then(|| format!("rack-{rack}")),
            }
        };
        interleaved(racks.iter().enumerate().map(seat).collect())
    };
    Placement {
        active: seats(racks, 1),
        spare: seats(spare, 1 + racks.len()),
    }
}

fn all(placement: &Placement, topic: u128, partitions: u32, factor: usize) -> Vec<Vec<u32>> {
    let replicas = |index| placement.replicas(TopicId::from_u128(topic), index, factor);
    (0..partitions)
        .map(|index| replicas(index).iter().map(BrokerId::get).collect())
        .collect()
}

#[test]
fn one_broker_holds_everything() {
    assert_eq!(all(&placement(&[0], &[]), 9, 3, 1), [[1], [1], [1]]);
}

#[test]
fn leaders_and_followers_are_spread() {
    let placed = all(&placement(&[0, 0, 0], &[]), 0, 6, 3);
    assert_eq!(
        placed,
        [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 3, 2], [2, 1, 3], [3, 2, 1]]
    );
}

#[test]
fn topics_begin_at_different_brokers() {
    let placement = placement(&[0; 5], &[]);
    let firsts: BTreeSet<u32> = (0..50).map(|topic| all(&placement, topic, 1, 1)[0][0]).collect();
    assert_eq!(firsts.len(), 5);
}

#[test]
fn a_broker_that_is_away_is_taken_last_and_never_leads() {
    let placed = all(&placement(&[0, 0], &[0]), 0, 4, 3);
    assert!(placed.iter().all(|replicas| replicas[2] == 3), "{placed:?}");
    let placed = all(&placement(&[0, 0], &[0]), 0, 4, 2);
    assert!(placed.iter().all(|replicas| !replicas.contains(&3)), "{placed:?}");
}

proptest! {
    #[test]
    fn replicas_are_distinct_racks_are_spread_and_leaders_balanced(
        racks in prop::collection::vec(0u8..4, 1..10),
        topic in any::<u128>(),
        partitions in 1u32..60,
        factor in 1usize..6,
    ) {
        let factor = factor.min(racks.len());
        let placement = placement(&racks, &[]);
        let placed = all(&placement, topic, partitions, factor);
        let rack_of = |id: u32| racks[usize::try_from(id).expect("few") - 1];
        let distinct_racks = racks.iter().collect::<BTreeSet<_>>().len();
        let mut led = vec![0u32; racks.len()];
        for replicas in &placed {
            prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor);
            let in_racks = replicas.iter().map(|id| rack_of(*id)).collect::<BTreeSet<_>>().len();
            prop_assert_eq!(in_racks, distinct_racks.min(factor), "{:?} in {:?}", replicas, racks);
            led[usize::try_from(replicas[0]).expect("few") - 1] += 1;
        }
        let (least, most) = (led.iter().min().copied(), led.iter().max().copied());
        prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "leaders {:?}", led);
    }
}
