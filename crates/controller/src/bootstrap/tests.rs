use super::*;
use proptest::prelude::*;
use quipu_record::MetadataVersion;

fn address(n: u64) -> String {
    format!("c{n}:4601")
}

fn member(n: u64) -> Member {
    Member {
        id: ControllerId::new(n),
        address: address(n),
    }
}

fn configured(n: u64) -> Vec<String> {
    (1..=n).map(address).collect()
}

fn empty(n: u64, of: u64) -> PeerStatus {
    PeerStatus {
        id: ControllerId::new(n),
        cluster: None,
        leader: None,
        term: 0,
        last_log: None,
        version: MetadataVersion::new(0),
        voters: Vec::new(),
        learners: Vec::new(),
        configured: configured(of),
    }
}

fn all_but(me: u64, of: u64) -> Vec<(String, Option<PeerStatus>)> {
    (1..=of)
        .filter(|n| *n != me)
        .map(|n| (address(n), Some(empty(n, of))))
        .collect()
}

#[test]
fn the_first_of_all_empty_ones_makes_the_group_of_exactly_those() {
    assert_eq!(
        decide(&member(1), &configured(3), &all_but(1, 3)),
        Step::Found(vec![member(1), member(2), member(3)])
    );
    for other in [2, 3] {
        assert_eq!(
            decide(&member(other), &configured(3), &all_but(other, 3)),
            Step::Wait(Bootstrap::First { address: address(1) })
        );
    }
}

#[test]
fn one_that_does_not_answer_is_waited_for() {
    let mut answers = all_but(1, 3);
    answers[1].1 = None;
    assert_eq!(
        decide(&member(1), &configured(3), &answers),
        Step::Wait(Bootstrap::Missing {
            addresses: vec![address(3)]
        })
    );
}

#[test]
fn any_trace_of_a_group_means_to_wait_for_a_join() {
    let marks: [fn(&mut PeerStatus); 4] = [
        |status| status.cluster = Some(ClusterId::from_u128(9)),
        |status| status.term = 1,
        |status| status.last_log = Some(0),
        |status| status.voters = vec![member(7)],
    ];
    for mark in marks {
        let mut answers = all_but(1, 3);
        mark(answers[1].1.as_mut().expect("it answers"));
        // Even if another is missing.
        answers[0].1 = None;
        let cluster = answers[1].1.as_ref().and_then(|status| status.cluster);
        assert_eq!(
            decide(&member(1), &configured(3), &answers),
            Step::Wait(Bootstrap::Unjoined {
                address: address(3),
                cluster
            })
        );
    }
}

#[test]
fn a_newcomer_waits_for_a_join() {
    let step = decide(&member(4), &configured(3), &all_but(4, 3));
    assert!(matches!(step, Step::Wait(Bootstrap::Unjoined { .. })), "{step:?}");
}

#[test]
fn different_voters_and_doubles_are_named() {
    let mut answers = all_but(1, 3);
    let other = vec![address(1), address(3), address(2)];
    answers[1].1.as_mut().expect("it answers").configured = other.clone();
    let step = decide(&member(1), &configured(3), &answers);
    let Step::Wait(Bootstrap::Refused(error)) = step else {
        panic!("{step:?}")
    };
    assert!(error.to_string().contains("c3:4601"), "{error}");
    assert_eq!(
        error,
        BootstrapError::VotersDiffer {
            address: address(3),
            theirs: other,
            ours: configured(3)
        }
    );

    let mut answers = all_but(1, 3);
    answers[1].1.as_mut().expect("it answers").id = ControllerId::new(1);
    let step = decide(&member(1), &configured(3), &answers);
    assert!(
        matches!(
            &step,
            Step::Wait(Bootstrap::Refused(BootstrapError::SameController { one, other, .. }))
                if *one == address(1) && *other == address(3)
        ),
        "{step:?}"
    );
}

proptest! {
    /// Whoever of an empty group asks, and whoever answers: at most one makes a group, and only of all.
    #[test]
    fn at_most_one_makes_a_group(of in 1u64..6, heard in prop::collection::vec(any::<bool>(), 30), used in prop::collection::vec(any::<bool>(), 6)) {
        let mut founders = Vec::new();
        for me in 1..=of {
            let mut answers = all_but(me, of);
            for (n, answer) in answers.iter_mut().enumerate() {
                if !heard[usize::try_from(me).expect("small") * 5 - 5 + n] {
                    answer.1 = None;
                }
                if let Some(status) = &mut answer.1 {
                    status.term = u64::from(used[usize::try_from(status.id.get()).expect("small")]);
                }
            }
            let all_empty = answers.iter().all(|(_, status)| status.as_ref().is_some_and(PeerStatus::is_empty));
            match decide(&member(me), &configured(of), &answers) {
                Step::Found(members) => {
                    prop_assert!(all_empty);
                    prop_assert_eq!(members.len() as u64, of);
                    founders.push(me);
                }
                Step::Wait(_) => prop_assert!(!all_empty || me != 1),
            }
        }
        prop_assert!(founders.len() <= 1, "{:?}", founders);
    }
}
