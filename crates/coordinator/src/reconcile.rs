//! One member's way to its target: the decision table of KIP-848, with our rules.
//!
//! ```text
//!            target gives up nothing of it         others hold what it wants
//!   Stable ───────────────────────────────▶ Stable ◀──────────────────────▶ Unreleased
//!     │                                        ▲
//!     │ target takes something                 │ the member says, in this very epoch, that it has it no more;
//!     ▼                                        │ or the deadline takes it, and it is lost
//!   Unrevoked ─────────────────────────────────┘
//! ```
//!
//! Where we differ from KIP-848: the member's epoch grows as it is *told* to give something up, not after. So whoever speaks
//! in that epoch has seen what it must give up, and a heartbeat from before, late or repeated, gives up nothing.

use crate::record::{Current, Progress};
use crate::{AssignedPartition, GroupEpoch, MemberEpoch};
use quipu_record::TopicPartition;

/// What the member says that it has, in its present epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owned<'a> {
    /// It did not say.
    Unknown,
    /// Sorted.
    Is(&'a [TopicPartition]),
    /// Nothing for sure: it left, and will return.
    Nothing,
}

impl Owned<'_> {
    fn has_any(self, of: &[AssignedPartition]) -> bool {
        match self {
            Self::Unknown => !of.is_empty(),
            Self::Is(owned) => of.iter().any(|one| owned.binary_search(&one.at).is_ok()),
            Self::Nothing => false,
        }
    }
}

/// What the member has next; `None`: what it has now.
pub(crate) fn reconcile(
    current: &Current,
    target: &[TopicPartition],
    target_epoch: GroupEpoch,
    owned: Owned<'_>,
    is_free: impl Fn(TopicPartition) -> bool,
) -> Option<Current> {
    let target_epoch = MemberEpoch::from(target_epoch);
    match current.progress {
        Progress::Stable if current.epoch == target_epoch => return None,
        Progress::Unrevoked if owned.has_any(&current.pending) => return None,
        _ => {}
    }
    let (keep, revoke): (Vec<_>, Vec<_>) = current
        .assigned
        .iter()
        .copied()
        .partition(|one| target.binary_search(&one.at).is_ok());
    let mut next = Current {
        epoch: target_epoch,
        previous: current.previous,
        progress: Progress::Stable,
        away: current.away,
        assigned: keep,
        pending: Vec::new(),
    };
    if current.epoch != target_epoch {
        next.previous = Some(current.epoch);
    }
    if !revoke.is_empty() && !matches!(owned, Owned::Nothing) {
        next.progress = Progress::Unrevoked;
        next.pending = revoke;
    } else {
        let kept = next.assigned.len();
        for at in target {
            let has = next.assigned[..kept]
                .binary_search_by_key(at, |one| one.at)
                .is_ok();
            if !has && !current.away && is_free(*at) {
                let epoch = target_epoch.into();
                next.assigned.push(AssignedPartition { at: *at, epoch });
            } else if !has {
                next.progress = Progress::Unreleased;
            }
        }
        next.assigned.sort_unstable();
    }
    (next != *current).then_some(next)
}

/// What the member has once the deadline has taken what it did not give up.
pub(crate) fn take(current: &Current) -> Current {
    Current {
        // Whether that is all it shall have is decided when it speaks next, in this epoch.
        progress: Progress::Unreleased,
        pending: Vec::new(),
        ..current.clone()
    }
}
