//! Whose time a record carries, and how far it may be off.

use crate::config::PartitionConfig;
use crate::error::ProduceError;
use quipu_record::{Batch, RecordsSummary, Timestamp, TimestampType};
use std::time::Duration;

/// The earliest and the latest time that a producer's record may carry at `wall`.
fn bounds(config: &PartitionConfig, wall: Timestamp) -> (Timestamp, Timestamp) {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let earliest = config
        .timestamp_before_max
        .map_or(i64::MIN, |span| wall.get().saturating_sub(millis(span)));
    let latest = config
        .timestamp_after_max
        .map_or(i64::MAX, |span| wall.get().saturating_add(millis(span)));
    (Timestamp::new(earliest), Timestamp::new(latest))
}

/// Checks the records' times, where they are the producer's.
///
/// # Errors
/// The earliest or the latest record is out of bounds.
pub fn check(
    config: &PartitionConfig,
    summary: &RecordsSummary,
    wall: Timestamp,
) -> Result<(), ProduceError> {
    if config.timestamp_type == TimestampType::LogAppend {
        return Ok(());
    }
    let (earliest, latest) = bounds(config, wall);
    let outside = [summary.min_timestamp, summary.max_timestamp]
        .into_iter()
        .find(|time| *time < earliest || *time > latest);
    match outside {
        Some(timestamp) => Err(ProduceError::InvalidTimestamp {
            timestamp,
            earliest,
            latest,
        }),
        None => Ok(()),
    }
}

/// Gives the batch the leader's time, on topics that want it; says which.
#[must_use]
pub fn apply(config: &PartitionConfig, batch: Batch, wall: Timestamp) -> (Batch, Option<Timestamp>) {
    match config.timestamp_type {
        TimestampType::Create => (batch, None),
        TimestampType::LogAppend => (batch.with_append_time(wall), Some(wall)),
    }
}

/// The time that a stored batch was given by its leader, on topics where it is; `max_timestamp` is from its header.
#[must_use]
pub fn given(config: &PartitionConfig, max_timestamp: Timestamp) -> Option<Timestamp> {
    (config.timestamp_type == TimestampType::LogAppend).then_some(max_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(min: i64, max: i64) -> RecordsSummary {
        RecordsSummary {
            count: 2,
            keyless: 0,
            min_timestamp: Timestamp::new(min),
            max_timestamp: Timestamp::new(max),
            decoded_bytes: 20,
        }
    }

    fn config(before: Option<u64>, after: Option<u64>) -> PartitionConfig {
        PartitionConfig {
            timestamp_before_max: before.map(Duration::from_millis),
            timestamp_after_max: after.map(Duration::from_millis),
            ..PartitionConfig::default()
        }
    }

    #[test]
    fn both_bounds_hold_and_are_inclusive() {
        let config = config(Some(100), Some(10));
        let at = |min, max| check(&config, &summary(min, max), Timestamp::new(1_000));
        assert!(at(900, 1_010).is_ok());
        let early = at(899, 1_000).expect_err("too early").to_string();
        assert!(early.contains("899") && early.contains("900 to 1010"), "{early}");
        assert!(
            matches!(at(950, 1_011), Err(ProduceError::InvalidTimestamp { timestamp, .. }) if timestamp.get() == 1_011)
        );
    }

    #[test]
    fn without_bounds_any_time_will_do() {
        let config = config(None, None);
        assert!(check(&config, &summary(i64::MIN, i64::MAX), Timestamp::new(0)).is_ok());
    }

    #[test]
    fn the_leaders_time_needs_no_bounds() {
        let config = PartitionConfig {
            timestamp_type: TimestampType::LogAppend,
            ..config(Some(1), Some(1))
        };
        assert!(check(&config, &summary(-5, 5), Timestamp::new(1_000_000)).is_ok());
    }
}
