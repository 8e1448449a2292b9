//! Refusals as words. Their numbers begin at 1 and are never reused.

use super::words::{Heard, Spoken, Words};
use super::{DecodeError, field};
use crate::topic_config::{CONFIGS, CONFIGS_NOT_HERE};
use crate::{
    AlterPartitionError, BrokerError, ClusterId, ConfigKey, ConfigMistake, CreatePartitionsError,
    CreateTopicError, DeleteTopicError, ElectLeaderError, EnsureOffsetsTopicError, FeatureLevel,
    GrowTopicError, Ineligible, InitClusterError, RegisterBrokerError, TopicMistake, UpdateTopicConfigError,
};
use quipu_record::{LeaderEpoch, PartitionEpoch, TopicNameError};

impl Spoken for std::convert::Infallible {
    fn say(&self) -> Words {
        match *self {}
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        heard.unknown("refusal")
    }
}

fn level(heard: &mut Heard) -> Result<FeatureLevel, DecodeError> {
    heard.number().map(FeatureLevel::new)
}

impl Spoken for InitClusterError {
    fn say(&self) -> Words {
        match self {
            Self::TooNew { asked } => Words::of(1).number(asked.get()),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        match heard.kind {
            1 => Ok(Self::TooNew { asked: level(heard)? }),
            _ => heard.unknown("refusal of InitCluster"),
        }
    }
}

impl Spoken for RegisterBrokerError {
    fn say(&self) -> Words {
        match self {
            Self::NoCluster => Words::of(1),
            Self::WrongCluster { theirs, ours } => {
                Words::of(2).blob(theirs.into_bytes()).blob(ours.into_bytes())
            }
            Self::DuplicateId { id } => Words::of(3).number(id.get()),
            Self::TooOld { needs, knows } => Words::of(4).number(needs.get()).number(knows.get()),
            Self::AtOnce { id } => Words::of(5).number(id.get()),
            Self::NoListener => Words::of(6),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::NoCluster,
            2 => Self::WrongCluster {
                theirs: ClusterId::from_bytes(heard.uuid()?),
                ours: ClusterId::from_bytes(heard.uuid()?),
            },
            3 => Self::DuplicateId { id: heard.broker()? },
            4 => Self::TooOld {
                needs: level(heard)?,
                knows: level(heard)?,
            },
            5 => Self::AtOnce { id: heard.broker()? },
            6 => Self::NoListener,
            _ => return heard.unknown("refusal of RegisterBroker"),
        })
    }
}

impl Spoken for BrokerError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(id) => Words::of(1).number(id.get()),
            Self::StaleEpoch {
                id,
                registered,
                given,
            } => Words::of(2)
                .number(id.get())
                .number(registered.get())
                .number(given.get()),
            Self::Fenced(id) => Words::of(3).number(id.get()),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Unknown(heard.broker()?),
            2 => Self::StaleEpoch {
                id: heard.broker()?,
                registered: heard.epoch()?,
                given: heard.epoch()?,
            },
            3 => Self::Fenced(heard.broker()?),
            _ => return heard.unknown("refusal of a broker"),
        })
    }
}

impl Spoken for CreateTopicError {
    fn say(&self) -> Words {
        match self {
            Self::Exists { name, topic_id } => Words::of(1).text(name).blob(topic_id.into_bytes()),
            Self::Invalid(mistakes) => Words::of(2).parts(mistakes.iter().map(Spoken::say)),
            Self::NoBroker => Words::of(3),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Exists {
                name: heard.text()?,
                topic_id: heard.topic()?,
            },
            2 => Self::Invalid(heard.parts()?),
            3 => Self::NoBroker,
            _ => return heard.unknown("refusal of CreateTopic"),
        })
    }
}

impl Spoken for TopicMistake {
    fn say(&self) -> Words {
        match self {
            Self::Name(TopicNameError::Empty) => Words::of(1),
            Self::Name(TopicNameError::Dots(name)) => Words::of(2).text(name),
            Self::Name(TopicNameError::TooLong(len)) => Words::of(3).size(*len),
            Self::Name(TopicNameError::BadCharacter { found, position }) => {
                Words::of(4).number(u32::from(*found)).size(*position)
            }
            // Names are checked by the rules of this version, which are those four.
            Self::Name(_) | Self::ReservedName => Words::of(5),
            Self::Partitions(asked) => Words::of(6).number(*asked),
            Self::ReplicationFactor { asked, brokers } => Words::of(7).number(*asked).size(*brokers),
            Self::Config(mistake) => Words::of(8).parts(std::iter::once(mistake.say())),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => TopicNameError::Empty.into(),
            2 => TopicNameError::Dots(heard.text()?).into(),
            3 => TopicNameError::TooLong(heard.number()?).into(),
            4 => TopicNameError::BadCharacter {
                found: field("found", char::from_u32(heard.number()?))?,
                position: heard.number()?,
            }
            .into(),
            5 => Self::ReservedName,
            6 => Self::Partitions(heard.number()?),
            7 => Self::ReplicationFactor {
                asked: heard.number()?,
                brokers: heard.number()?,
            },
            8 => Self::Config(field("config", heard.parts()?.pop())?),
            _ => return heard.unknown("mistake in a topic"),
        })
    }
}

/// The table's own name of a config.
fn key(heard: &mut Heard) -> Result<&'static str, DecodeError> {
    let name = heard.text()?;
    field("key", ConfigKey::from_name(&name)).map(ConfigKey::name)
}

impl Spoken for ConfigMistake {
    fn say(&self) -> Words {
        match self {
            Self::Unknown { key, nearest } => Words::of(1).text(key).text(nearest),
            Self::NotHere { key, .. } => Words::of(2).text(key),
            Self::TooNew { key, needs, at } => Words::of(3).text(key).number(needs.get()).number(at.get()),
            Self::BadValue { key, value, why } => Words::of(4).text(key).text(value).text(why),
            Self::Twice { key } => Words::of(5).text(key),
            Self::Immutable { key } => Words::of(6).text(key),
            Self::MinInsyncAboveReplicas { asked, replicas } => {
                Words::of(7).number(asked.cast_unsigned()).size(*replicas)
            }
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => {
                let (key, nearest) = (heard.text()?, heard.text()?);
                let names = CONFIGS.iter().map(|spec| spec.name);
                let mut names = names.chain(CONFIGS_NOT_HERE.iter().map(|(name, _)| *name));
                Self::Unknown {
                    key,
                    nearest: field("nearest", names.find(|name| *name == nearest))?,
                }
            }
            2 => {
                let key = heard.text()?;
                let row = CONFIGS_NOT_HERE.iter().find(|(name, _)| *name == key);
                let (_, instead) = field("key", row)?;
                Self::NotHere { key, instead }
            }
            3 => Self::TooNew {
                key: key(heard)?,
                needs: level(heard)?,
                at: level(heard)?,
            },
            4 => Self::BadValue {
                key: key(heard)?,
                value: heard.text()?,
                why: heard.text()?,
            },
            5 => Self::Twice { key: key(heard)? },
            6 => Self::Immutable { key: key(heard)? },
            7 => Self::MinInsyncAboveReplicas {
                asked: heard.number::<u64>()?.cast_signed(),
                replicas: heard.number()?,
            },
            _ => return heard.unknown("mistake in a config"),
        })
    }
}

impl Spoken for DeleteTopicError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(id) => Words::of(1).blob(id.into_bytes()),
            Self::Internal(name) => Words::of(2).text(name),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Unknown(heard.topic()?),
            2 => Self::Internal(heard.text()?),
            _ => return heard.unknown("refusal of DeleteTopic"),
        })
    }
}

impl Spoken for GrowTopicError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(id) => Words::of(1).blob(id.into_bytes()),
            Self::NotInternal(name) => Words::of(2).text(name),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Unknown(heard.topic()?),
            2 => Self::NotInternal(heard.text()?),
            _ => return heard.unknown("refusal of GrowTopic"),
        })
    }
}

impl Spoken for EnsureOffsetsTopicError {
    fn say(&self) -> Words {
        match self {
            Self::NoBroker => Words::of(1),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        match heard.kind {
            1 => Ok(Self::NoBroker),
            _ => heard.unknown("refusal of EnsureOffsetsTopic"),
        }
    }
}

impl Spoken for UpdateTopicConfigError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(id) => Words::of(1).blob(id.into_bytes()),
            Self::VersionMismatch { expected, at } => Words::of(2).number(expected.get()).number(at.get()),
            Self::Invalid(mistakes) => Words::of(3).parts(mistakes.iter().map(Spoken::say)),
            Self::Internal(name) => Words::of(4).text(name),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Unknown(heard.topic()?),
            2 => Self::VersionMismatch {
                expected: heard.version()?,
                at: heard.version()?,
            },
            3 => Self::Invalid(heard.parts()?),
            4 => Self::Internal(heard.text()?),
            _ => return heard.unknown("refusal of UpdateTopicConfig"),
        })
    }
}

impl Spoken for CreatePartitionsError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(id) => Words::of(1).blob(id.into_bytes()),
            Self::Internal(name) => Words::of(2).text(name),
            Self::NotMore { name, now, asked } => Words::of(3).text(name).size(*now).number(*asked),
            Self::TooMany(asked) => Words::of(4).number(*asked),
            Self::NoBrokers {
                needed,
                registered,
                ready,
            } => Words::of(5).size(*needed).size(*registered).size(*ready),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Unknown(heard.topic()?),
            2 => Self::Internal(heard.text()?),
            3 => Self::NotMore {
                name: heard.text()?,
                now: heard.number()?,
                asked: heard.number()?,
            },
            4 => Self::TooMany(heard.number()?),
            5 => Self::NoBrokers {
                needed: heard.number()?,
                registered: heard.number()?,
                ready: heard.number()?,
            },
            _ => return heard.unknown("refusal of CreatePartitions"),
        })
    }
}

impl Spoken for AlterPartitionError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(at) => Words::of(1).place(*at),
            Self::Twice(at) => Words::of(2).place(*at),
            Self::NotLeader { at, asks } => Words::of(3).place(*at).number(asks.get()),
            Self::FencedLeaderEpoch { at, now, given } => {
                Words::of(4).place(*at).number(now.get()).number(given.get())
            }
            Self::InvalidUpdateVersion { at, now, given } => {
                Words::of(5).place(*at).number(now.get()).number(given.get())
            }
            Self::IneligibleReplica { at, broker, why } => {
                Words::of(6).place(*at).number(broker.get()).number(why.number())
            }
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        let kind = heard.kind;
        if !(1..=6).contains(&kind) {
            return heard.unknown("refusal of AlterPartitions");
        }
        let at = heard.place()?;
        Ok(match kind {
            1 => Self::Unknown(at),
            2 => Self::Twice(at),
            3 => Self::NotLeader {
                at,
                asks: heard.broker()?,
            },
            4 => Self::FencedLeaderEpoch {
                at,
                now: LeaderEpoch::new(heard.number()?),
                given: LeaderEpoch::new(heard.number()?),
            },
            5 => Self::InvalidUpdateVersion {
                at,
                now: PartitionEpoch::new(heard.number()?),
                given: PartitionEpoch::new(heard.number()?),
            },
            _ => Self::IneligibleReplica {
                at,
                broker: heard.broker()?,
                why: field("why", Ineligible::from_number(heard.number()?))?,
            },
        })
    }
}

impl Spoken for ElectLeaderError {
    fn say(&self) -> Words {
        match self {
            Self::Unknown(at) => Words::of(1).place(*at),
            Self::Twice(at) => Words::of(2).place(*at),
            Self::PreferredNotReady { at, preferred } => Words::of(3).place(*at).number(preferred.get()),
            Self::Nobody(at) => Words::of(4).place(*at),
        }
    }

    fn hear(heard: &mut Heard) -> Result<Self, DecodeError> {
        Ok(match heard.kind {
            1 => Self::Unknown(heard.place()?),
            2 => Self::Twice(heard.place()?),
            3 => Self::PreferredNotReady {
                at: heard.place()?,
                preferred: heard.broker()?,
            },
            4 => Self::Nobody(heard.place()?),
            _ => return heard.unknown("refusal of ElectLeaders"),
        })
    }
}

impl Ineligible {
    const ALL: [Self; 5] = [
        Self::LeaderLeftOut,
        Self::NoReplica,
        Self::Restarted,
        Self::Fenced,
        Self::ShuttingDown,
    ];

    fn number(self) -> u32 {
        match self {
            Self::LeaderLeftOut => 1,
            Self::NoReplica => 2,
            Self::Restarted => 3,
            Self::Fenced => 4,
            Self::ShuttingDown => 5,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.number() == number)
    }
}
