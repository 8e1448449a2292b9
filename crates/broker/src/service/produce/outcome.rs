//! What became of a batch, as the client is told.

use super::intake::Refusal;
use crate::admit::Api;
use crate::data_plane::DataPlane;
use crate::partition::replica::Replica;
use crate::partition::reply::Answered;
use crate::service::route::shown;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use quipu_replication::{Acks, Appended, ProduceError, Reached};

/// The answer of a partition.
pub(super) fn answered(plane: &DataPlane, listener: &str, answered: &Answered) -> v1::BatchResult {
    let replica = &answered.replica;
    match &answered.result {
        Ok(appended) => appended_at(replica, answered.tag.acks, appended),
        Err(error) => {
            let failure = match error {
                ProduceError::NotLeader => plane.not_leader(replica.at, &replica.topic.name, listener),
                other => Failure::new(other.code(), other.to_string()).with_retryable(other.retryable()),
            };
            failed_at(replica, failure)
        }
    }
}

fn appended_at(replica: &Replica, acks: Acks, appended: &Appended) -> v1::BatchResult {
    let durability = match appended.reached {
        Reached::Received => v1::Durability::Received,
        Reached::Replicated => v1::Durability::Replicated,
        Reached::FlushedLeader => v1::Durability::FlushedLeader,
        Reached::Flushed => v1::Durability::Flushed,
    };
    v1::BatchResult {
        base_offset: (acks != Acks::None).then(|| appended.base_offset.get()),
        leader_epoch: appended.leader_epoch.get(),
        durability: durability.into(),
        duplicate: appended.duplicate,
        log_append_time_ms: appended.log_append_time.map(|time| time.get()),
        ..at(replica)
    }
}

/// A failure at a partition that was found.
pub(super) fn failed_at(replica: &Replica, failure: Failure) -> v1::BatchResult {
    v1::BatchResult {
        error: Some(failure.into()),
        ..at(replica)
    }
}

/// A batch that was not taken in.
pub(super) fn refused(batch: &v1::Batch, refusal: Refusal) -> v1::BatchResult {
    match refusal.replica {
        Some(replica) => failed_at(&replica, refusal.failure),
        None => failed(batch, refusal.failure),
    }
}

/// A batch whose partition's thread ended without a word.
pub(super) fn unanswered(batch: &v1::Batch) -> v1::BatchResult {
    let failure = Failure::new(
        ErrorCode::RequestTimedOut,
        "this broker went down before it answered; whether the batch was appended is unknown",
    );
    failed(batch, failure)
}

/// Before a partition was found, what the client named is all that is known.
pub(super) fn failed(batch: &v1::Batch, failure: Failure) -> v1::BatchResult {
    v1::BatchResult {
        topic: shown(&batch.topic).to_owned(),
        topic_id: shown(batch.topic_id.as_deref().unwrap_or_default()).to_owned(),
        partition: batch.partition.unwrap_or_default(),
        error: Some(failure.into()),
        ..v1::BatchResult::default()
    }
}

/// Counts a failure.
pub(super) fn count(plane: &DataPlane, api: Api, result: &v1::BatchResult) {
    let reason = result
        .error
        .as_ref()
        .and_then(|error| u16::try_from(error.reason).ok());
    if let Some(code) = reason.and_then(ErrorCode::from_number) {
        plane.metrics.error(api, code);
    }
}

fn at(replica: &Replica) -> v1::BatchResult {
    v1::BatchResult {
        topic: replica.topic.name.to_string(),
        topic_id: replica.topic.id_text.clone(),
        partition: replica.at.partition.get(),
        ..v1::BatchResult::default()
    }
}
