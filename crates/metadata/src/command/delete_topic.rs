//! A topic goes, with all its records.

use super::{Decision, Refusal};
use crate::{Image, Record};
use quipu_record::{ErrorCode, TopicId};

/// Deletes a topic, by its id: a name might mean another topic by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeleteTopic {
    /// Which one.
    pub topic_id: TopicId,
}

/// The topic is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicDeleted {
    /// The id it had.
    pub topic_id: TopicId,
}

/// Why a topic is not deleted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteTopicError {
    /// It is not there.
    #[error("there is no topic with id {0}: it was deleted, or belongs to another cluster")]
    Unknown(TopicId),
    /// The cluster needs it.
    #[error("topic {0:?} is internal to the cluster and cannot be deleted")]
    Internal(String),
}

impl Refusal for DeleteTopicError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownTopicId,
            Self::Internal(_) => ErrorCode::InternalTopic,
        }
    }
}

impl DeleteTopic {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let Some(topic) = image.topic(self.topic_id) else {
            return Decision::refused(DeleteTopicError::Unknown(self.topic_id));
        };
        if topic.internal {
            return Decision::refused(DeleteTopicError::Internal(topic.name.to_string()));
        }
        let topic_id = self.topic_id;
        Decision::done(
            vec![Record::TopicDeleted { id: topic_id }],
            TopicDeleted { topic_id },
        )
    }
}
