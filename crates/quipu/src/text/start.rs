//! `consume --from`: beginning, end, an offset or a time.

use quipu_record::{Offset, Timestamp};
use std::str::FromStr;

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The oldest record there is.
    Beginning,
    /// What comes from now on.
    End,
    /// This offset, in every partition.
    Offset(Offset),
    /// The first record not earlier than this.
    Time(Timestamp),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" | "earliest" => return Ok(Self::Beginning),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(offset) = text.parse::<u64>() {
            let offset = Offset::new(offset);
            return if offset <= Offset::MAX {
                Ok(Self::Offset(offset))
            } else {
                Err("offsets end at 2^63 - 1".to_owned())
            };
        }
        time(text).map(Self::Time).ok_or_else(|| {
            "expected beginning, end, an offset such as 42, or a time such as 2013-01-31, \
             2013-01-31T19:00:00Z or 2013-01-31T14:00:00-05:00"
                .to_owned()
        })
    }
}

/// RFC 3339; without an offset from UTC it is UTC, without a time of day it is midnight.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    })?;
    Some(Timestamp::new(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_it() {
        let parse = |text: &str| text.parse::<Start>().unwrap();
        assert_eq!(parse("beginning"), Start::Beginning);
        assert_eq!(parse("end"), Start::End);
        assert_eq!(parse("42"), Start::Offset(Offset::new(42)));
        let noon = Start::Time(Timestamp::new(1_359_633_600_000));
        assert_eq!(parse("2013-01-31T12:00:00Z"), noon);
        assert_eq!(parse("2013-01-31T07:00:00-05:00"), noon);
        assert_eq!(parse("2013-01-31T12:00:00"), noon);
        assert_eq!(
            parse("2013-01-31"),
            Start::Time(Timestamp::new(1_359_590_400_000))
        );
    }

    #[test]
    fn nonsense_is_told_what_there_is() {
        for text in ["", "-1", "yesterday", "9223372036854775808", "2013-13-01"] {
            assert!(text.parse::<Start>().is_err(), "{text:?}");
        }
        assert!(
            "yesterday"
                .parse::<Start>()
                .unwrap_err()
                .contains("2013-01-31T19:00:00Z")
        );
    }
}
