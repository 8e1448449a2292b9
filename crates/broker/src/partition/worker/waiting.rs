//! Who waits for an answer of this thread's drivers, by token.

use crate::partition::reply::Reply;
use quipu_record::Offset;
use quipu_replication::{Appended, DeleteRecordsError, ProduceError, Tick, Token};
use tokio::sync::oneshot;

type DeleteAnswer = oneshot::Sender<Result<Offset, DeleteRecordsError>>;

/// The ways back. A token is a place in here, used again once it was answered.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    places: Vec<Place>,
    free: Vec<usize>,
}

#[derive(Debug)]
enum Place {
    Free,
    /// A batch, and when the thread took it up.
    Append(Tick, Reply),
    Delete(DeleteAnswer),
}

impl Waiting {
    /// A token for a batch.
    pub(super) fn append(&mut self, taken: Tick, reply: Reply) -> Token {
        self.put(Place::Append(taken, reply))
    }

    /// A token for a deletion.
    pub(super) fn delete(&mut self, answer: DeleteAnswer) -> Token {
        self.put(Place::Delete(answer))
    }

    /// Answers a batch.
    pub(super) fn appended(&mut self, token: Token, result: Result<Appended, ProduceError>) {
        if let Place::Append(taken, reply) = self.take(token) {
            reply.send(taken, result);
        }
    }

    /// Answers a deletion.
    pub(super) fn deleted(&mut self, token: Token, result: Result<Offset, DeleteRecordsError>) {
        if let Place::Delete(answer) = self.take(token) {
            // Who is gone by now wants no answer.
            let _ = answer.send(result);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    fn put(&mut self, place: Place) -> Token {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::Free);
            self.places.len() - 1
        });
        self.places[at] = place;
        Token(at as u64)
    }

    fn take(&mut self, token: Token) -> Place {
        let Ok(at) = usize::try_from(token.0) else {
            return Place::Free;
        };
        let Some(place) = self.places.get_mut(at) else {
            return Place::Free;
        };
        let taken = std::mem::replace(place, Place::Free);
        if !matches!(taken, Place::Free) {
            self.free.push(at);
        }
        taken
    }
}
