//! Latencies, without keeping every value.

use super::LatencyReport;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Three digits, from a microsecond to an hour.
const HIGHEST_MICROS: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// A histogram of latencies in microseconds.
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        // The bounds are constants that the library takes; the fallback has the same precision and grows by itself.
        let histogram = Histogram::new_with_bounds(1, HIGHEST_MICROS, DIGITS)
            .or_else(|_| Histogram::new(DIGITS))
            .unwrap_or_else(|_| unreachable!("three digits are allowed"));
        Self { histogram }
    }

    /// Counts one latency; beyond an hour it counts as an hour.
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_MICROS);
        self.histogram.saturating_record(micros.max(1));
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What they come to.
    pub(crate) fn report(&self) -> LatencyReport {
        let at = |quantile: f64| millis(self.histogram.value_at_quantile(quantile));
        LatencyReport {
            samples: self.count(),
            avg_ms: self.histogram.mean() / 1000.0,
            max_ms: millis(self.histogram.max()),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut latencies = Latencies::new();
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis));
        }
        let report = latencies.report();
        assert_eq!(report.samples, 1000);
        let near = |found: f64, expected: f64| (found - expected).abs() / expected < 0.002;
        assert!(near(report.p50_ms, 500.0), "{report:?}");
        assert!(near(report.p99_ms, 990.0), "{report:?}");
        assert!(near(report.p999_ms, 999.0), "{report:?}");
        assert!(near(report.max_ms, 1000.0), "{report:?}");
        assert!(near(report.avg_ms, 500.5), "{report:?}");
    }

    #[test]
    fn the_unmeasurable_is_counted_too() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(100_000));
        assert_eq!(latencies.count(), 2);
    }
}
