//! Two members of a group never own a partition at once, and epochs of groups and members only grow.
//!
//! A member tells when it has learned that a partition is its own, and when it is about to give it up; so what it tells
//! lies within what its coordinator knows. If the partition was taken from it, it learns of that late: until it has, the
//! new owner may tell too.

use crate::history::{Event, EventId, Group, GroupEpoch, History, Key, Member, MemberEpoch, Op, Owned};
use crate::numbered::FastMap;
use crate::observed::Observed;
use crate::verdict::{AnomalyKind, Evidence, Verdict};

/// A time in which a member owned a partition, as it told.
#[derive(Clone, Copy)]
pub(super) struct Tenure<'a> {
    pub(super) member: &'a Member,
    pub(super) assignment_epoch: MemberEpoch,
    pub(super) begins: EventId,
    /// Absent: it did not end in this history.
    pub(super) ends: Option<EventId>,
    /// It ended because the partition was taken, at a time that the member does not know.
    pub(super) lost: bool,
}

/// All tenures of each partition of each group, as they began.
pub(super) type Tenures<'a> = FastMap<(&'a Group, &'a Key), Vec<Tenure<'a>>>;

pub(super) fn tenures<'h>(history: &'h History, observed: &Observed<'_>) -> Tenures<'h> {
    let mut all: Tenures<'_> = Tenures::default();
    let mut open: FastMap<(&Group, &Key, &Member), usize> = FastMap::default();
    for id in observed.told.memberships.iter().copied() {
        match &history.event(id).op {
            Op::Owned(Owned {
                group,
                member,
                key,
                assignment_epoch,
                ..
            }) => {
                let of_key = all.entry((group, key)).or_default();
                let before = open.get(&(group, key, member)).map(|at| &mut of_key[*at]);
                match before {
                    // Told again, of what it has.
                    Some(tenure) if tenure.assignment_epoch == *assignment_epoch => continue,
                    Some(tenure) => (tenure.ends, tenure.lost) = (Some(id), true),
                    None => {}
                }
                open.insert((group, key, member), of_key.len());
                of_key.push(Tenure {
                    member,
                    assignment_epoch: *assignment_epoch,
                    begins: id,
                    ends: None,
                    lost: false,
                });
            }
            Op::Released(released) => {
                let of_key = all.entry((&released.group, &released.key)).or_default();
                let at = open.remove(&(&released.group, &released.key, &released.member));
                if let Some(tenure) = at.and_then(|at| of_key.get_mut(at)) {
                    (tenure.ends, tenure.lost) = (Some(id), released.lost);
                }
            }
            _ => {}
        }
    }
    all
}

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let tenures = tenures(history, observed);
    verdict.exercised("ownership of partitions (no groups)", !tenures.is_empty());
    let mut tenures: Vec<_> = tenures.into_iter().collect();
    tenures.sort_unstable_by_key(|(place, _)| *place);
    for ((group, key), of_key) in &tenures {
        check_tenures(history, verdict, (group, key), of_key);
    }
    check_epochs(history, observed, verdict);
}

fn check_tenures(history: &History, verdict: &mut Verdict, place: (&Group, &Key), tenures: &[Tenure<'_>]) {
    // Of those that have begun, the one that ends last.
    let mut longest: Option<&Tenure<'_>> = None;
    for tenure in tenures {
        if let Some(before) = longest
            && before.member != tenure.member
            && overlap(before, tenure)
        {
            tell(history, verdict, place, before, tenure);
        }
        let end = |of: &Tenure<'_>| of.ends.map_or(usize::MAX, |event| event.0);
        if longest.is_none_or(|before| end(before) < end(tenure)) {
            longest = Some(tenure);
        }
    }
}

fn overlap(before: &Tenure<'_>, after: &Tenure<'_>) -> bool {
    if before.ends.is_some_and(|ends| ends < after.begins) {
        return false;
    }
    // A member that takes over from another with its instance id has what that one had, since the same epochs.
    let older = if before.assignment_epoch <= after.assignment_epoch {
        before
    } else {
        after
    };
    !older.lost
}

fn tell(
    history: &History,
    verdict: &mut Verdict,
    (group, key): (&Group, &Key),
    before: &Tenure<'_>,
    after: &Tenure<'_>,
) {
    verdict.add(AnomalyKind::TwoOwners, || {
        let summary = format!(
            "{key} is owned in {group} by {} and by {} at once",
            before.member, after.member
        );
        let mut evidence = Vec::new();
        for tenure in [before, after] {
            let begins = format!(
                "{} owns {key} since epoch {}",
                tenure.member, tenure.assignment_epoch
            );
            evidence.push(Evidence::of(history, tenure.begins, &begins));
            let ends = format!("{} has {key} no more", tenure.member);
            evidence.extend(tenure.ends.map(|end| Evidence::of(history, end, &ends)));
        }
        (summary, evidence)
    });
}

/// The epochs that a mark tells.
fn epochs(event: &Event) -> Option<(&Group, &Member, MemberEpoch, Option<GroupEpoch>)> {
    match &event.op {
        Op::Owned(owned) => Some((&owned.group, &owned.member, owned.member_epoch, owned.group_epoch)),
        Op::Advanced(to) => Some((&to.group, &to.member, to.member_epoch, to.group_epoch)),
        _ => None,
    }
}

fn check_epochs(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut told: FastMap<(&Group, &Member), (MemberEpoch, Option<GroupEpoch>, EventId)> = FastMap::default();
    for id in observed.told.memberships.iter().copied() {
        let Some((group, member, epoch, group_epoch)) = epochs(history.event(id)) else {
            continue;
        };
        let before = told.insert((group, member), (epoch, group_epoch, id));
        let Some((epoch_before, group_before, before)) = before else {
            continue;
        };
        let group_fell = group_epoch.is_some() && group_epoch < group_before;
        if epoch >= epoch_before && !group_fell {
            continue;
        }
        verdict.add(AnomalyKind::GroupEpochWentBack, || {
            let words = |epoch: MemberEpoch, of_group: Option<GroupEpoch>| {
                let of_group = of_group.map_or_else(String::new, |epoch| format!(", its group in {epoch}"));
                format!("in epoch {epoch}{of_group}")
            };
            let (first, then) = (words(epoch_before, group_before), words(epoch, group_epoch));
            let told =
                |event, is: &str| Evidence::of(history, event, &format!("{member} of {group} is {is}"));
            let evidence = vec![told(before, &first), told(id, &then)];
            (
                format!("{member} of {group} is {first}, and then {then}"),
                evidence,
            )
        });
    }
}
