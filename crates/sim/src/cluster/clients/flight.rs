//! One batch of a producer from its first attempt to its outcome.

use crate::cluster::message::PartitionIndex;
use bytes::Bytes;
use quipu_checker::{Kind, Op, Process, Send, Value};
use quipu_record::{Offset, Sequence};
use quipu_replication::{Acks, Tick};

/// A batch under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) process: Process,
    pub(super) partition: PartitionIndex,
    pub(super) values: Vec<Value>,
    pub(super) batch: Bytes,
    pub(super) acks: Acks,
    /// The idempotent producer's name in the history, and the batch's place among its others.
    pub(super) sequence: Option<(u64, Sequence)>,
    pub(super) attempt: u32,
    /// No more attempts after this.
    pub(super) deadline: Tick,
    /// Copies sent, less answers that said for certain that nothing was appended.
    pub(super) unaccounted: u32,
}

impl Flight {
    /// What a client may say of it as it gives up: that it failed, only if every copy of it was refused for certain.
    pub(super) fn failure(&self) -> Kind {
        if self.unaccounted == 0 {
            Kind::Fail
        } else {
            Kind::Info
        }
    }

    pub(super) fn operation(&self, key: quipu_checker::Key, offset: Option<Offset>) -> Op {
        Op::Send(Send {
            acks: match self.acks {
                Acks::All => quipu_checker::Acks::All,
                Acks::Leader => quipu_checker::Acks::Leader,
                Acks::None => quipu_checker::Acks::None,
            },
            producer: self.sequence.map(|(producer, _)| producer),
            offset,
            ..Send::new(key, self.values.clone())
        })
    }
}
