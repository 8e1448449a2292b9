//! The leader and its followers: their fetches, their progress, who is in sync.

use super::{Driver, Role};
use crate::clock::{Now, Tick};
use crate::effects::Effects;
use crate::fetch::{FollowerFetch, FollowerHeard, Verdict};
use crate::isr_change::IsrAnswered;
use crate::rules::follower_fetch::{LeaderLog, Place, place};
use quipu_record::ErrorCode;
use quipu_storage::Disk;

impl<D: Disk> Driver<D> {
    pub(super) fn follower_fetch(&mut self, now: Now, fetch: &FollowerFetch, effects: &mut Effects) {
        let verdict = self.judge_fetch(now, fetch);
        let verdict = verdict.unwrap_or_else(Verdict::Refused);
        effects.fetches.push((fetch.token, verdict));
    }

    /// In this order: who leads, in which epoch, who asks; then where its log stands. Only a log that is a beginning of
    /// this one counts as progress (C3).
    fn judge_fetch(&mut self, now: Now, fetch: &FollowerFetch) -> Result<Verdict, ErrorCode> {
        let mine = self.mine();
        let Role::Leader(leader) = &mut self.role else {
            return Err(ErrorCode::NotLeader);
        };
        if self.failed {
            return Err(ErrorCode::StorageFailed);
        }
        leader.admit_fetch(fetch)?;
        let log = LeaderLog {
            epochs: self.log.epochs(),
            log_start: self.log.log_start(),
            log_end: self.log.log_end(),
        };
        match place(log, &fetch.position) {
            Place::OutOfRange => Ok(Verdict::OutOfRange {
                log_start: self.log.log_start(),
            }),
            Place::Diverging { epoch, end_offset } => Ok(Verdict::Diverging { epoch, end_offset }),
            Place::Beginning => {
                leader.fetched(now.mono, fetch, &mine);
                self.commit();
                Ok(Verdict::Accepted {
                    from: fetch.position.fetch_offset,
                    high_watermark: self.high_watermark.offset(),
                    log_start: self.log.log_start(),
                    log_end: self.log.log_end(),
                })
            }
        }
    }

    pub(super) fn follower_heard(&mut self, heard: &FollowerHeard) {
        let mine = self.mine();
        if let Role::Leader(leader) = &mut self.role {
            leader.heard(heard, &mine);
        }
    }

    /// The last moment at which this replica was certain to be the only leader that could commit; `None`: it does not
    /// lead, or knows of none. `begun`: the last fetch of each follower's session, with the epoch that it named, and a
    /// moment before which it was certainly not begun.
    #[must_use]
    pub fn vouched(&self, now: Tick, begun: &[FollowerHeard]) -> Option<Tick> {
        match &self.role {
            Role::Leader(leader) if !self.failed => leader.vouched(now, self.me, begun),
            Role::Idle | Role::Leader(_) | Role::Follower(_) => None,
        }
    }

    pub(super) fn isr_answered(&mut self, now: Now, answer: IsrAnswered, effects: &mut Effects) {
        let lag_max = self.config.replica_lag_max;
        if let Role::Leader(leader) = &mut self.role {
            let again = leader.answered(now.mono, lag_max, answer, &mut effects.answers);
            effects.isr_proposal = again.or(effects.isr_proposal.take());
        }
    }
}
