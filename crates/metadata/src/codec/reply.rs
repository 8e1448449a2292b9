//! Replies as bytes: they go from the active controller to the broker that proposed. Numbered as their commands are.

use super::command::{
    ALLOC_PRODUCER_IDS, ALTER_PARTITIONS, BEGIN_SHUTDOWN, CREATE_PARTITIONS, CREATE_TOPIC, DELETE_TOPIC,
    ELECT_LEADERS, ENSURE_OFFSETS_TOPIC, FENCE_BROKERS, GROW_TOPIC, INIT_CLUSTER, OFFLINE_REPLICAS,
    REGISTER_BROKER, UNFENCE_BROKER, UPDATE_TOPIC_CONFIG,
};
use super::partition::PartitionMessage;
use super::words::{Heard, Spoken, Words};
use super::{DecodeError, body, field, open, seal};
use crate::{
    BrokerUnfenced, BrokersFenced, ClusterId, ClusterInitialized, ConfigUpdated, Partition, PartitionAnswer,
    PartitionsCreated, ProducerIdBlock, Registered, ReplicasOffline, Reply, ShutdownBegun, TopicCreated,
    TopicDeleted, TopicGrown,
};
use prost::Message;
use quipu_record::{BrokerId, ProducerId};

/// The largest encoded reply: one to the largest command has the whole state of each partition that it names.
pub const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One of the two.
#[derive(Clone, PartialEq, Message)]
struct AnswerMessage {
    #[prost(message, optional, tag = "1")]
    outcome: Option<Words>,
    #[prost(message, optional, tag = "2")]
    refusal: Option<Words>,
}

fn answer<T: Spoken, E: Spoken>(kind: u32, answer: &Result<T, E>) -> Vec<u8> {
    let message = match answer {
        Ok(outcome) => AnswerMessage {
            outcome: Some(outcome.say()),
            refusal: None,
        },
        Err(refusal) => AnswerMessage {
            outcome: None,
            refusal: Some(refusal.say()),
        },
    };
    seal(kind, 1, &message)
}

fn answered<T: Spoken, E: Spoken>(bytes: &[u8]) -> Result<Result<T, E>, DecodeError> {
    let message = body::<AnswerMessage>(bytes)?;
    match (message.outcome, message.refusal) {
        (Some(outcome), None) => T::from_words(outcome).map(Ok),
        (None, Some(refusal)) => E::from_words(refusal).map(Err),
        _ => Err(DecodeError::Field { field: "answer" }),
    }
}

impl Reply {
    /// As sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::InitCluster(a) => answer(INIT_CLUSTER, a),
            Self::RegisterBroker(a) => answer(REGISTER_BROKER, a),
            Self::UnfenceBroker(a) => answer(UNFENCE_BROKER, a),
            Self::FenceBrokers(a) => answer(FENCE_BROKERS, a),
            Self::BeginShutdown(a) => answer(BEGIN_SHUTDOWN, a),
            Self::CreateTopic(a) => answer(CREATE_TOPIC, a),
            Self::DeleteTopic(a) => answer(DELETE_TOPIC, a),
            Self::UpdateTopicConfig(a) => answer(UPDATE_TOPIC_CONFIG, a),
            Self::CreatePartitions(a) => answer(CREATE_PARTITIONS, a),
            Self::AlterPartitions(a) => answer(ALTER_PARTITIONS, a),
            Self::AllocProducerIds(a) => answer(ALLOC_PRODUCER_IDS, a),
            Self::ElectLeaders(a) => answer(ELECT_LEADERS, a),
            Self::OfflineReplicas(a) => answer(OFFLINE_REPLICAS, a),
            Self::GrowTopic(a) => answer(GROW_TOPIC, a),
            Self::EnsureOffsetsTopic(a) => answer(ENSURE_OFFSETS_TOPIC, a),
        }
    }

    /// From what [`Reply::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]: what became of the command cannot be known from these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = open(bytes, REPLY_BYTES_MAX)?;
        let (kind, version, bytes) = (envelope.kind, envelope.version, &envelope.body[..]);
        Ok(match (kind, version) {
            (INIT_CLUSTER, 1) => Self::InitCluster(answered(bytes)?),
            (REGISTER_BROKER, 1) => Self::RegisterBroker(answered(bytes)?),
            (UNFENCE_BROKER, 1) => Self::UnfenceBroker(answered(bytes)?),
            (FENCE_BROKERS, 1) => Self::FenceBrokers(answered(bytes)?),
            (BEGIN_SHUTDOWN, 1) => Self::BeginShutdown(answered(bytes)?),
            (CREATE_TOPIC, 1) => Self::CreateTopic(answered(bytes)?),
            (DELETE_TOPIC, 1) => Self::DeleteTopic(answered(bytes)?),
            (UPDATE_TOPIC_CONFIG, 1) => Self::UpdateTopicConfig(answered(bytes)?),
            (CREATE_PARTITIONS, 1) => Self::CreatePartitions(answered(bytes)?),
            (ALTER_PARTITIONS, 1) => Self::AlterPartitions(answered(bytes)?),
            (ALLOC_PRODUCER_IDS, 1) => Self::AllocProducerIds(answered(bytes)?),
            (ELECT_LEADERS, 1) => Self::ElectLeaders(answered(bytes)?),
            (OFFLINE_REPLICAS, 1) => Self::OfflineReplicas(answered(bytes)?),
            (GROW_TOPIC, 1) => Self::GrowTopic(answered(bytes)?),
            (ENSURE_OFFSETS_TOPIC, 1) => Self::EnsureOffsetsTopic(answered(bytes)?),
            _ => {
                return Err(DecodeError::Unknown {
                    what: "reply",
                    kind,
                    version,
                });
            }
        })
    }
}

impl Spoken for ClusterInitialized {
    fn say(&self) -> Words {
        Words::of(0).blob(self.cluster_id.into_bytes())
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        let cluster_id = ClusterId::from_bytes(heard.uuid()?);
        Ok(Self { cluster_id })
    }
}

impl Spoken for Registered {
    fn say(&self) -> Words {
        Words::of(0).number(self.epoch.get())
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: heard.epoch()?,
        })
    }
}

impl Spoken for BrokerUnfenced {
    fn say(&self) -> Words {
        Words::of(0).size(self.elections)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            elections: heard.number()?,
        })
    }
}

impl Spoken for BrokersFenced {
    fn say(&self) -> Words {
        self.fenced
            .iter()
            .fold(Words::of(0), |words, id| words.number(id.get()))
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        let id = |n: u64| field("broker", u32::try_from(n).ok()).map(BrokerId::new);
        Ok(Self {
            fenced: heard.numbers().into_iter().map(id).collect::<Result<_, _>>()?,
        })
    }
}

impl Spoken for ShutdownBegun {
    fn say(&self) -> Words {
        Words::of(0).size(self.moved).size(self.still_leads)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            moved: heard.number()?,
            still_leads: heard.number()?,
        })
    }
}

impl Spoken for TopicCreated {
    fn say(&self) -> Words {
        Words::of(0)
            .blob(self.topic_id.into_bytes())
            .number(self.partitions)
            .size(self.replication_factor)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: heard.topic()?,
            partitions: heard.number()?,
            replication_factor: heard.number()?,
        })
    }
}

impl Spoken for TopicDeleted {
    fn say(&self) -> Words {
        Words::of(0).blob(self.topic_id.into_bytes())
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: heard.topic()?,
        })
    }
}

impl Spoken for ConfigUpdated {
    fn say(&self) -> Words {
        Words::of(0).number(self.config_version.get())
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            config_version: heard.version()?,
        })
    }
}

impl Spoken for PartitionsCreated {
    fn say(&self) -> Words {
        Words::of(0).number(self.total)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            total: heard.number()?,
        })
    }
}

impl Spoken for TopicGrown {
    fn say(&self) -> Words {
        Words::of(0).size(self.begun).size(self.completed)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            begun: heard.number()?,
            completed: heard.number()?,
        })
    }
}

impl Spoken for ProducerIdBlock {
    fn say(&self) -> Words {
        Words::of(0).number(self.first.get()).number(self.count)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            first: ProducerId::new(heard.number()?),
            count: heard.number()?,
        })
    }
}

impl Spoken for ReplicasOffline {
    fn say(&self) -> Words {
        Words::of(0).size(self.changed).size(self.leaderless)
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(Self {
            changed: heard.number()?,
            leaderless: heard.number()?,
        })
    }
}

impl Spoken for PartitionAnswer {
    fn say(&self) -> Words {
        Words::of(0)
            .place(self.at)
            .blob(PartitionMessage::from(&self.state).encode_to_vec())
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        let at = heard.place()?;
        let state = Partition::try_from(body::<PartitionMessage>(&heard.blob()?)?)?;
        Ok(Self { at, state })
    }
}

/// Some of many stood, some fell: a part each, of which the first kind stood.
impl<E: Spoken> Spoken for Vec<Result<PartitionAnswer, E>> {
    fn say(&self) -> Words {
        Words::of(0).parts(self.iter().map(Spoken::say))
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        heard.parts()
    }
}

impl<E: Spoken> Spoken for Result<PartitionAnswer, E> {
    fn say(&self) -> Words {
        match self {
            Ok(answer) => answer.say(),
            Err(error) => error.say(),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        if heard.kind == 0 {
            PartitionAnswer::hear(heard).map(Ok)
        } else {
            E::hear(heard).map(Err)
        }
    }
}
