//! Against the optimum that trying everything finds.

use super::*;
use proptest::prelude::*;
use quipu_record::PartitionId;
use std::collections::BTreeMap;

fn at(topic: u128, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(topic),
        partition: PartitionId::new(partition),
    }
}

/// Who wants which topics and has what; all partitions are those of topics 1, 2, ... with so many each.
#[derive(Clone, Debug)]
struct Case {
    partitions: Vec<u32>,
    wants: Vec<Vec<usize>>,
    has: Vec<Vec<TopicPartition>>,
}

impl Case {
    fn all(&self) -> Vec<(usize, TopicPartition)> {
        let topics = self.partitions.iter().enumerate();
        let each =
            topics.flat_map(|(topic, count)| (0..*count).map(move |p| (topic, at(topic as u128 + 1, p))));
        each.collect()
    }

    fn wanted(&self) -> Vec<(usize, TopicPartition)> {
        let all = self.all().into_iter();
        all.filter(|(topic, _)| self.wants.iter().any(|wants| wants.contains(topic)))
            .collect()
    }

    fn solve(&self, assignor: Assignor) -> Vec<Vec<TopicPartition>> {
        let ids: Vec<MemberId> = (0..self.wants.len())
            .map(|index| MemberId::new(&format!("m{index}")).expect("an id"))
            .collect();
        let takers = ids
            .iter()
            .zip(&self.wants)
            .zip(&self.has)
            .map(|((member, wants), has)| Taker {
                member,
                instance: None,
                rack: None,
                topics: wants.clone(),
                current: has,
            });
        let topics = self.partitions.iter().enumerate().map(|(topic, count)| Shape {
            topic: TopicId::from_u128(topic as u128 + 1),
            partitions: *count,
        });
        let problem = Problem {
            topics: topics.collect(),
            takers: takers.collect(),
            racks: &|_| &[],
        };
        problem.solve(assignor)
    }

    /// How uneven it is, and how many move that need not have a new owner.
    fn cost(&self, given: &[Vec<TopicPartition>]) -> (usize, usize) {
        let uneven = given.iter().map(|has| has.len() * has.len()).sum();
        let before: BTreeMap<_, _> = self
            .has
            .iter()
            .enumerate()
            .flat_map(|(member, has)| has.iter().map(move |at| (*at, member)))
            .collect();
        let after = given.iter().enumerate();
        let moves = after.flat_map(|(member, has)| has.iter().map(move |at| (at, member)));
        let moved = moves.filter(|(at, member)| before.get(at).is_some_and(|was| was != member));
        (uneven, moved.count())
    }

    /// The best cost there is, by trying everything.
    fn best(&self) -> (usize, usize) {
        let wanted = self.wanted();
        let mut best = (usize::MAX, usize::MAX);
        let mut choice = vec![0; wanted.len()];
        loop {
            let mut given = vec![Vec::new(); self.wants.len()];
            let legal = wanted.iter().zip(&choice).all(|((topic, at), member)| {
                given[*member].push(*at);
                self.wants[*member].contains(topic)
            });
            if legal {
                best = best.min(self.cost(&given));
            }
            let Some(place) = choice.iter().position(|member| member + 1 < self.wants.len()) else {
                return best;
            };
            choice[..place].fill(0);
            choice[place] += 1;
        }
    }
}

fn case(same: bool) -> impl Strategy<Value = Case> {
    let partitions = prop::collection::vec(1u32..4, 1..3);
    (partitions, 1usize..4, any::<u64>()).prop_map(move |(partitions, members, mut seed)| {
        let mut dice = |end: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % end
        };
        let all: Vec<usize> = (0..partitions.len()).collect();
        let wants = (0..members).map(|_| {
            let some: Vec<usize> = all.iter().copied().filter(|_| same || dice(3) > 0).collect();
            if some.is_empty() { vec![0] } else { some }
        });
        let mut case = Case {
            wants: wants.collect(),
            has: vec![Vec::new(); members],
            partitions,
        };
        for (topic, at) in case.all() {
            let owner = dice(members + 1);
            // Somebody who wants it, or nobody.
            if case.wants.get(owner).is_some_and(|wants| wants.contains(&topic)) {
                case.has[owner].push(at);
            }
        }
        case
    })
}

fn complete(case: &Case, given: &[Vec<TopicPartition>]) -> bool {
    let mut found: Vec<TopicPartition> = given.iter().flatten().copied().collect();
    found.sort_unstable();
    let sorted = given.iter().all(|has| has.is_sorted());
    let wanted = given.iter().zip(&case.wants).all(|(has, wants)| {
        has.iter().all(|at| {
            wants
                .iter()
                .any(|topic| at.topic == TopicId::from_u128(*topic as u128 + 1))
        })
    });
    sorted && wanted && found == case.wanted().into_iter().map(|(_, at)| at).collect::<Vec<_>>()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where all want the same: a spread of one at most, and not one move more than needed.
    #[test]
    fn equal_wishes_are_met_at_best(case in case(true)) {
        let given = case.solve(Assignor::Uniform);
        prop_assert!(complete(&case, &given));
        let loads = given.iter().map(Vec::len);
        prop_assert!(loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0) <= 1);
        prop_assert_eq!(case.cost(&given), case.best());
    }

    /// Where they do not: as even as can be, and hardly a move more than needed.
    #[test]
    fn other_wishes_are_met_evenly(case in case(false)) {
        let given = case.solve(Assignor::Uniform);
        prop_assert!(complete(&case, &given));
        let (uneven, moves) = case.cost(&given);
        let (least, fewest) = case.best();
        prop_assert_eq!(uneven, least);
        prop_assert!(moves <= fewest + 1, "{} moves, {} needed", moves, fewest);
    }

    /// What is even stays: solving again moves nothing.
    #[test]
    fn what_is_even_stays(case in prop_oneof![case(true), case(false)]) {
        let given = case.solve(Assignor::Uniform);
        let again = Case { has: given.clone(), ..case };
        prop_assert_eq!(again.solve(Assignor::Uniform), given);
    }

    #[test]
    fn ranges_are_complete(case in case(false)) {
        prop_assert!(complete(&case, &case.solve(Assignor::Range)));
    }
}

#[test]
fn ranges_are_contiguous_and_the_first_have_more() {
    let case = Case {
        partitions: vec![7, 7],
        wants: vec![vec![0, 1]; 3],
        has: vec![Vec::new(); 3],
    };
    let given = case.solve(Assignor::Range);
    let counts: Vec<Vec<u32>> = given
        .iter()
        .map(|has| has.iter().map(|at| at.partition.get()).collect())
        .collect();
    assert_eq!(
        counts,
        [vec![0, 1, 2, 0, 1, 2], vec![3, 4, 3, 4], vec![5, 6, 5, 6]],
        "equal topics fall together"
    );
}

#[test]
fn a_choice_falls_on_the_rack() {
    let ids = ["a", "b", "c", "d"].map(|id| MemberId::new(id).expect("an id"));
    let racks: [[Arc<str>; 1]; 2] = [["north".into()], ["south".into()]];
    let [north, south] = &racks;
    let solve = |current: &[Vec<TopicPartition>]| {
        let takers = current.iter().enumerate().map(|(index, has)| Taker {
            member: &ids[index],
            instance: None,
            rack: Some(if index < 2 { "north" } else { "south" }),
            topics: vec![0],
            current: has,
        });
        let topics = vec![Shape {
            topic: TopicId::from_u128(1),
            partitions: 8,
        }];
        Problem {
            topics,
            takers: takers.collect(),
            racks: &|at| {
                if at.partition.get().is_multiple_of(2) {
                    north
                } else {
                    south
                }
            },
        }
        .solve(Assignor::Uniform)
    };
    let near = |given: &[Vec<TopicPartition>]| {
        let far = |index: usize, at: &TopicPartition| at.partition.get().is_multiple_of(2) != (index < 2);
        let each = given.iter().enumerate();
        each.map(|(index, has)| has.iter().filter(|at| !far(index, at)).count())
            .sum::<usize>()
    };
    let given = solve(&vec![Vec::new(); 4]);
    assert_eq!(near(&given), 8, "all are near: {given:?}");
    // One has all of it: what it keeps is near, and so is what the others get.
    let mut one = vec![Vec::new(); 4];
    one[0] = (0..8).map(|partition| at(1, partition)).collect();
    let given = solve(&one);
    assert_eq!(near(&given), 8, "{given:?}");
}

#[test]
fn what_is_near_two_racks_leaves_its_place_to_what_is_near_one() {
    let ids = ["a", "b"].map(|id| MemberId::new(id).expect("an id"));
    let both: [Arc<str>; 2] = ["north".into(), "south".into()];
    let takers = ids.iter().zip(&both).map(|(member, rack)| Taker {
        member,
        instance: None,
        rack: Some(rack),
        topics: vec![0],
        current: &[],
    });
    let problem = Problem {
        topics: vec![Shape {
            topic: TopicId::from_u128(1),
            partitions: 2,
        }],
        takers: takers.collect(),
        racks: &|at| {
            if at.partition.get() == 0 {
                &both
            } else {
                &both[..1]
            }
        },
    };
    let given = problem.solve(Assignor::Uniform);
    assert_eq!(given, [vec![at(1, 1)], vec![at(1, 0)]]);
}

#[test]
fn who_has_two_more_than_another_gives_one_up() {
    let case = Case {
        partitions: vec![3, 1],
        wants: vec![vec![0], vec![0, 1]],
        has: vec![vec![at(1, 0), at(1, 1), at(1, 2)], vec![at(2, 0)]],
    };
    let given = case.solve(Assignor::Uniform);
    assert_eq!(given.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    assert!(complete(&case, &given));
}
