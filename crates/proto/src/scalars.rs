//! The wire's numbers and texts as our types, checked: whoever sends nonsense is told which field.

use crate::{Failure, v1};
use quipu_record::{ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence, TopicId};

fn invalid(field: &str, value: impl std::fmt::Display, expected: &str) -> Failure {
    let message = format!("{field}: {value} is not {expected}");
    Failure::new(ErrorCode::InvalidRequest, message)
}

/// A topic id from its text.
///
/// # Errors
/// Not a hyphenated UUID.
pub fn topic_id(text: &str) -> Result<TopicId, Failure> {
    TopicId::parse(text).ok_or_else(|| invalid("topic_id", text.escape_debug(), "a hyphenated UUID"))
}

/// A topic id from its text, where there is one.
///
/// # Errors
/// There is a text and it is not a hyphenated UUID.
pub fn optional_topic_id(text: Option<&str>) -> Result<Option<TopicId>, Failure> {
    text.map(topic_id).transpose()
}

/// An offset; `field` names it in the error.
///
/// # Errors
/// Above 2^63 - 1.
pub fn offset(field: &str, value: u64) -> Result<Offset, Failure> {
    let offset = Offset::new(value);
    if offset > Offset::MAX {
        return Err(invalid(field, value, "an offset: at most 2^63 - 1"));
    }
    Ok(offset)
}

/// A producer id.
///
/// # Errors
/// Above 2^63 - 1.
pub fn producer_id(value: u64) -> Result<ProducerId, Failure> {
    if i64::try_from(value).is_err() {
        return Err(invalid("producer_id", value, "a producer id: at most 2^63 - 1"));
    }
    Ok(ProducerId::new(value))
}

/// A producer epoch.
///
/// # Errors
/// Above 2^15 - 1.
pub fn producer_epoch(value: u32) -> Result<ProducerEpoch, Failure> {
    match i16::try_from(value) {
        Ok(epoch) => Ok(ProducerEpoch::new(epoch.unsigned_abs())),
        Err(_) => Err(invalid(
            "producer_epoch",
            value,
            "a producer epoch: at most 2^15 - 1",
        )),
    }
}

/// A producer's sequence.
///
/// # Errors
/// Above 2^31 - 1.
pub fn base_sequence(value: u32) -> Result<Sequence, Failure> {
    if i32::try_from(value).is_err() {
        return Err(invalid("base_sequence", value, "a sequence: at most 2^31 - 1"));
    }
    Ok(Sequence::new(value))
}

/// An enum's value with its default in place of `_UNSPECIFIED`; a number that nobody knows is refused, so that a
/// request of a newer client never means something else here.
macro_rules! known_values {
    ($($enum:ident, $field:literal, $default:ident;)*) => { $(
        impl v1::$enum {
            #[doc = concat!("From the field `", $field, "`: unspecified means `", stringify!($default), "`.")]
            ///
            /// # Errors
            /// A number that this version does not know.
            pub fn from_wire(number: i32) -> Result<Self, Failure> {
                match Self::try_from(number) {
                    Ok(Self::Unspecified) => Ok(Self::$default),
                    Ok(value) => Ok(value),
                    Err(_) => Err(invalid($field, number, concat!("a value of ", stringify!($enum)))),
                }
            }
        }
    )* };
}

known_values! {
    Acks, "acks", All;
    CommitMode, "commit", Auto;
    Compression, "compression", None;
    Format, "format", Records;
    Routing, "routing", Forward;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_by_field() {
        for failure in [
            topic_id("flights").unwrap_err(),
            offset("fetch.offset", 1 << 63).unwrap_err(),
            producer_id(u64::MAX).unwrap_err(),
            producer_epoch(1 << 15).unwrap_err(),
            base_sequence(1 << 31).unwrap_err(),
            v1::Acks::from_wire(4).unwrap_err(),
        ] {
            assert_eq!(failure.code, ErrorCode::InvalidRequest);
            assert!(failure.message.contains(": "), "{}", failure.message);
        }
    }

    #[test]
    fn the_greatest_that_fit_are_taken() {
        assert_eq!(offset("offset", i64::MAX.unsigned_abs()).unwrap(), Offset::MAX);
        assert_eq!(producer_epoch((1 << 15) - 1).unwrap().get(), (1 << 15) - 1);
        assert_eq!(base_sequence((1 << 31) - 1).unwrap().get(), (1 << 31) - 1);
    }

    #[test]
    fn unspecified_is_the_documented_default() {
        assert_eq!(v1::Acks::from_wire(0).unwrap(), v1::Acks::All);
        assert_eq!(v1::Routing::from_wire(0).unwrap(), v1::Routing::Forward);
        assert_eq!(v1::Format::from_wire(0).unwrap(), v1::Format::Records);
        assert_eq!(v1::Compression::from_wire(2).unwrap(), v1::Compression::Zstd);
    }

    #[test]
    fn a_topic_id_survives_its_text() {
        let id = TopicId::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788);
        assert_eq!(topic_id(&id.to_string()).unwrap(), id);
        assert_eq!(optional_topic_id(None).unwrap(), None);
    }
}
