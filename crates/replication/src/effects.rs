//! What a step asks of its caller, and in which order.

use crate::answer::{Answer, Token};
use crate::clock::Tick;
use crate::error::DeleteRecordsError;
use crate::fetch::{FetchToken, Position, Verdict};
use crate::isr_change::IsrProposal;
use crate::view::View;
use quipu_record::{Offset, StoredBatch};
use quipu_storage::Corruption;

/// What follows from a step.
///
/// **Durable before sent.** Whatever an answer rests on is already as durable as the topic promises when the answer
/// appears here: the driver holds answers back until the flush that they need was reported to it. An answer in here may
/// leave at once, and must not be sent before it appears.
///
/// **Order.** Carry the fields out from top to bottom:
/// 1. `fatal`: if it is set, publish nothing further as committed: say so, and exit. The answers go out on the way.
/// 2. `appended` into the tail ring and `view` into what readers see, *before*
/// 3. `answers` and `deleted` are sent: who has its answer must find its record.
/// 4. `fetches`: answer the followers. What an `Accepted` verdict speaks of is in the log (and in the ring) by now.
/// 5. `position`: send it to the leader; a newer one takes the place of one not yet sent.
/// 6. `isr_proposal`: send it to the controllers, again and again until there is an answer; a newer one takes its place.
/// 7. `flush`: put the log into the next flush round; its end comes back as `Input::Flushed`.
/// 8. `deadline`: wake the driver with `Input::Tick` then (or later, never much).
///
/// One `Effects` serves for many steps: a step adds to what is there. Carry it out and [`Effects::clear`] it, which keeps
/// the memory, before a step of another driver.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// The disk failed under this replica: a write or a sync was refused, and what is on disk is no longer known.
    pub fatal: Option<String>,
    /// The log was found damaged, or was asked for something and is: the metadata must not count on this replica any
    /// more (`OfflineReplicas`). Said at every [`crate::Input::Lead`] and [`crate::Input::Follow`] for as long as it is.
    pub damaged: Option<Corruption>,
    /// At the leader: what was appended, in order, for the tail ring. Readable below the view's high watermark only.
    /// What the ring has of another leader epoch may have been cut since: it begins anew with each.
    pub appended: Vec<StoredBatch>,
    /// The positions, if any of them changed.
    pub view: Option<View>,
    /// Batches that are answered now.
    pub answers: Vec<Answer>,
    /// Deletions that are answered now, with the log start as it is.
    pub deleted: Vec<(Token, Result<Offset, DeleteRecordsError>)>,
    /// At the leader: what to say to fetches.
    pub fetches: Vec<(FetchToken, Verdict)>,
    /// At the follower: where it stands now. There whenever that changed, and once what the leader sent was dealt with:
    /// a leader that sent something for a position sends nothing more for it before it is named again. After a refusal,
    /// or with a full disk, it comes with a later tick. A truncation is durable before the position after it appears.
    pub position: Option<Position>,
    /// At the leader: a change of the in-sync replicas that it wants.
    pub isr_proposal: Option<IsrProposal>,
    /// A flush of this log is wanted, now.
    pub flush: bool,
    /// When this driver wants its next tick; `None`: not before something else happens.
    pub deadline: Option<Tick>,
}

impl Effects {
    /// Ready for the next step.
    pub fn clear(&mut self) {
        self.fatal = None;
        self.damaged = None;
        self.appended.clear();
        self.view = None;
        self.answers.clear();
        self.deleted.clear();
        self.fetches.clear();
        self.position = None;
        self.isr_proposal = None;
        self.flush = false;
        self.deadline = None;
    }
}
