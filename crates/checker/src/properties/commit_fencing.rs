//! KIP-1251: a member's commit for a partition fails if the partition is not its own, or if the epoch that it names
//! lies before the one in which it got the partition or after its own; in between, an old epoch is as good as the
//! latest.
//!
//! Members tell less than the coordinator knows, so only what is certain counts: a tenure that surrounds the commit and
//! that its member ended by itself.

use super::ownership::{Tenure, Tenures, tenures};
use crate::history::{Commit, Committer, EventId, Group, History, Kind, Member, MemberEpoch, Op, Operation};
use crate::numbered::FastMap;
use crate::observed::Observed;
use crate::verdict::{AnomalyKind, Evidence, Verdict};

/// The epochs that each member tells, in order.
type Epochs<'a> = FastMap<(&'a Group, &'a Member), Vec<(EventId, MemberEpoch)>>;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let tenures = certain(tenures(history, observed));
    let epochs = epochs(history, observed);
    let mut looked_at = false;
    for operation in &observed.told.commits {
        let Some(completion) = operation.completion else {
            continue;
        };
        let told = history.event(completion);
        let Op::Commit(commit) = &told.op else { continue };
        let Some(by) = &commit.by else { continue };
        let Some(tenure) = around(&tenures, commit, *operation, completion) else {
            continue;
        };
        looked_at = true;
        let owns = tenure.member == &by.member;
        let told_epochs = epochs
            .get(&(&commit.group, &by.member))
            .map_or(&[][..], Vec::as_slice);
        match told.kind {
            Kind::Ok if !owns => tell(
                history,
                verdict,
                AnomalyKind::UnfencedCommit,
                completion,
                commit,
                tenure,
            ),
            Kind::Ok
                if by.member_epoch < tenure.assignment_epoch || is_ahead(told_epochs, completion, by) =>
            {
                tell(
                    history,
                    verdict,
                    AnomalyKind::UnfencedCommit,
                    completion,
                    commit,
                    tenure,
                );
            }
            Kind::Fail if commit.fenced && owns => {
                let reached = told_epochs.partition_point(|(event, _)| *event < operation.invoke);
                let reached = reached.checked_sub(1).map(|at| told_epochs[at].1);
                if by.member_epoch >= tenure.assignment_epoch && Some(by.member_epoch) <= reached {
                    tell(
                        history,
                        verdict,
                        AnomalyKind::WronglyFencedCommit,
                        completion,
                        commit,
                        tenure,
                    );
                }
            }
            _ => {}
        }
    }
    verdict.exercised(
        "fencing of commits (no commit by a member that tells what it owns)",
        looked_at,
    );
}

fn certain(mut tenures: Tenures<'_>) -> Tenures<'_> {
    for of_key in tenures.values_mut() {
        of_key.retain(|tenure| tenure.ends.is_some() && !tenure.lost);
    }
    tenures
}

/// The tenure of the commit's partition that lasts from before it began until after it ended.
fn around<'a>(
    tenures: &'a Tenures<'a>,
    commit: &'a Commit,
    operation: Operation,
    completion: EventId,
) -> Option<&'a Tenure<'a>> {
    let of_key = tenures.get(&(&commit.group, &commit.key))?;
    let begun = of_key.partition_point(|tenure| tenure.begins < operation.invoke);
    let latest = &of_key[begun.checked_sub(1)?];
    (latest.ends > Some(completion)).then_some(latest)
}

fn epochs<'h>(history: &'h History, observed: &Observed<'_>) -> Epochs<'h> {
    let mut epochs: Epochs<'_> = Epochs::default();
    for id in &observed.told.memberships {
        let told = match &history.event(*id).op {
            Op::Owned(owned) => (&owned.group, &owned.member, owned.member_epoch),
            Op::Advanced(to) => (&to.group, &to.member, to.member_epoch),
            _ => continue,
        };
        let (group, member, epoch) = told;
        epochs.entry((group, member)).or_default().push((*id, epoch));
    }
    epochs
}

/// Whether the member is told a lesser epoch only after its commit: then it was in no greater one before.
fn is_ahead(told: &[(EventId, MemberEpoch)], completion: EventId, by: &Committer) -> bool {
    let later = told.partition_point(|(event, _)| *event < completion);
    told.get(later).is_some_and(|(_, epoch)| *epoch < by.member_epoch)
}

fn tell(
    history: &History,
    verdict: &mut Verdict,
    kind: AnomalyKind,
    completion: EventId,
    commit: &Commit,
    tenure: &Tenure<'_>,
) {
    verdict.add(kind, || {
        let Commit {
            group, key, id, by, ..
        } = commit;
        let by = by.as_ref().map_or_else(String::new, |by| {
            format!(" by {} in epoch {}", by.member, by.member_epoch)
        });
        let Tenure {
            member,
            assignment_epoch,
            ..
        } = tenure;
        let how = match kind {
            AnomalyKind::UnfencedCommit => "taken",
            _ => "refused",
        };
        let words = format!("commit {id} of {key} for {group}{by}: {how}");
        let owner = format!("{member} owns {key} since epoch {assignment_epoch}");
        let mut evidence = vec![
            Evidence::of(history, tenure.begins, &owner),
            Evidence::of(history, completion, &words),
        ];
        let ended = format!("{member} has {key} no more");
        evidence.extend(tenure.ends.map(|end| Evidence::of(history, end, &ended)));
        (format!("{words}, though {owner}"), evidence)
    });
}
