//! The wall clock for records that bring no time of their own.

use quipu_record::Timestamp;

/// Milliseconds now. On Linux by the kernel's tick (4 ms or so): a tenth of what the exact time costs, and paid for each
/// record.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn wall_clock() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Timestamp::new(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}

/// Milliseconds now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn wall_clock() -> Timestamp {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::new(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn it_is_the_time_of_day() {
        let exact = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ours = u128::try_from(wall_clock().get()).unwrap();
        assert!(ours.abs_diff(exact) < 1000, "{ours} for {exact}");
    }
}
