//! What a step asks of its caller, and in which order.

use crate::answer::{Answer, Token};
use crate::clock::Tick;
use crate::error::DeleteRecordsError;
use crate::view::View;
use quipu_record::{Offset, StoredBatch};

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
/// 4. `flush`: put the log into the next flush round; its end comes back as `Input::Flushed`.
/// 5. `deadline`: wake the driver with `Input::Tick` then (or later, never much).
///
/// One `Effects` serves for many steps: a step adds to what is there. Carry it out and [`Effects::clear`] it, which keeps
/// the memory, before a step of another driver.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// The disk failed under this replica: a write or a sync was refused, and what is on disk is no longer known.
    pub fatal: Option<String>,
    /// What was appended, in order, for the tail ring. Readable below the view's high watermark only.
    pub appended: Vec<StoredBatch>,
    /// The positions, if any of them changed.
    pub view: Option<View>,
    /// Batches that are answered now.
    pub answers: Vec<Answer>,
    /// Deletions that are answered now, with the log start as it is.
    pub deleted: Vec<(Token, Result<Offset, DeleteRecordsError>)>,
    /// A flush of this log is wanted, now.
    pub flush: bool,
    /// When this driver wants its next tick; `None`: not before something else happens.
    pub deadline: Option<Tick>,
}

impl Effects {
    /// Ready for the next step.
    pub fn clear(&mut self) {
        self.fatal = None;
        self.appended.clear();
        self.view = None;
        self.answers.clear();
        self.deleted.clear();
        self.flush = false;
        self.deadline = None;
    }
}
