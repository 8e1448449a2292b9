//! I17: no two streams deliver a partition under live assignment epochs: once a member has delivered it, nobody does
//! under an epoch that is not later.

use crate::groups::{Claim, Place};
use crate::report::Violation;
use quipu_coordinator::{AssignmentEpoch, MemberId};

const NAME: &str = "I17 one owner";

/// A stream delivers a partition of which `last` delivered before.
pub(crate) fn one_owner(place: &Place, last: Option<&Claim>, now: &Claim) -> Result<(), Violation> {
    let Some(last) = last else {
        return Ok(());
    };
    let same = now.member == last.member || (now.instance.is_some() && now.instance == last.instance);
    if now.epoch > last.epoch || (now.epoch == last.epoch && same) {
        return Ok(());
    }
    let (group, at) = place;
    let what = format!(
        "group {group}, {at}: {} delivers since epoch {}, after {} since epoch {}",
        now.member, now.epoch, last.member, last.epoch
    );
    Err(Violation {
        invariant: NAME,
        what,
    })
}

/// A commit is acknowledged of a partition that `owner` delivered last.
pub(crate) fn commit_of_the_owner(
    place: &Place,
    owner: &Claim,
    member: &MemberId,
    epoch: AssignmentEpoch,
) -> Result<(), Violation> {
    if *member == owner.member || epoch >= owner.epoch {
        return Ok(());
    }
    let (group, at) = place;
    let what = format!(
        "group {group}, {at}: a commit of {member} in epoch {epoch} was taken, after {} delivered since epoch {}",
        owner.member, owner.epoch
    );
    Err(Violation {
        invariant: NAME,
        what,
    })
}
