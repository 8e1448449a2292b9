//! What a benchmark found, for JSON and in the words of Kafka's own tools.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Kafka's megabyte.
const MEGABYTE: f64 = 1024.0 * 1024.0;

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LatencyReport {
    /// How many were measured.
    pub(crate) samples: u64,
    pub(crate) avg_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

/// As `kafka-producer-perf-test.sh`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProduceReport {
    pub(crate) records: u64,
    /// Keys and values.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) records_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    pub(crate) latency: LatencyReport,
}

impl ProduceReport {
    pub(crate) fn new(records: u64, bytes: u64, took: Duration, latency: LatencyReport) -> Self {
        let (records_per_second, megabytes_per_second) = rates(records, bytes, took);
        let seconds = took.as_secs_f64();
        Self {
            records,
            bytes,
            seconds,
            records_per_second,
            megabytes_per_second,
            latency,
        }
    }
}

impl fmt::Display for ProduceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            records_per_second,
            megabytes_per_second,
            latency,
            ..
        } = self;
        let LatencyReport {
            avg_ms,
            max_ms,
            p50_ms,
            p95_ms,
            p99_ms,
            p999_ms,
            ..
        } = latency;
        write!(
            f,
            "{records} records sent, {records_per_second:.1} records/sec ({megabytes_per_second:.2} MB/sec), \
             {avg_ms:.2} ms avg latency, {max_ms:.2} ms max latency, \
             {p50_ms:.2} ms 50th, {p95_ms:.2} ms 95th, {p99_ms:.2} ms 99th, {p999_ms:.2} ms 99.9th."
        )
    }
}

/// As `kafka-consumer-perf-test.sh`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConsumeReport {
    pub(crate) start_time: String,
    pub(crate) end_time: String,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) records_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    /// Until the first record came.
    pub(crate) first_record_ms: f64,
}

impl ConsumeReport {
    pub(crate) fn new(
        records: u64,
        bytes: u64,
        started: jiff::Timestamp,
        took: Duration,
        first: Duration,
    ) -> Self {
        let (records_per_second, megabytes_per_second) = rates(records, bytes, took);
        let ended = started.checked_add(took).unwrap_or(started);
        Self {
            start_time: wall(started),
            end_time: wall(ended),
            records,
            bytes,
            seconds: took.as_secs_f64(),
            records_per_second,
            megabytes_per_second,
            first_record_ms: first.as_secs_f64() * 1000.0,
        }
    }
}

impl fmt::Display for ConsumeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss)]
        let megabytes = self.bytes as f64 / MEGABYTE;
        writeln!(
            f,
            "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, first.record.ms"
        )?;
        write!(
            f,
            "{}, {}, {megabytes:.4}, {:.4}, {}, {:.4}, {:.2}",
            self.start_time,
            self.end_time,
            self.megabytes_per_second,
            self.records,
            self.records_per_second,
            self.first_record_ms
        )
    }
}

/// As `kafka-run-class.sh EndToEndLatency`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EndToEndReport {
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    pub(crate) latency: LatencyReport,
}

impl fmt::Display for EndToEndReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LatencyReport {
            avg_ms,
            max_ms,
            p50_ms,
            p95_ms,
            p99_ms,
            p999_ms,
            ..
        } = self.latency;
        writeln!(f, "Avg latency: {avg_ms:.4} ms")?;
        write!(
            f,
            "Percentiles: 50th = {p50_ms:.2}, 95th = {p95_ms:.2}, 99th = {p99_ms:.2}, 99.9th = {p999_ms:.2}, \
             max = {max_ms:.2}"
        )
    }
}

#[allow(clippy::cast_precision_loss)]
fn rates(records: u64, bytes: u64, took: Duration) -> (f64, f64) {
    let seconds = took.as_secs_f64().max(f64::EPSILON);
    (records as f64 / seconds, bytes as f64 / MEGABYTE / seconds)
}

/// As Kafka's consumer test prints it.
fn wall(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S:%3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency() -> LatencyReport {
        LatencyReport {
            samples: 9,
            avg_ms: 1.5,
            max_ms: 20.0,
            p50_ms: 1.0,
            p95_ms: 2.0,
            p99_ms: 10.0,
            p999_ms: 20.0,
        }
    }

    #[test]
    fn produce_in_kafkas_words() {
        let report = ProduceReport::new(1000, 1024 * 1024, Duration::from_secs(2), latency());
        assert_eq!(
            report.to_string(),
            "1000 records sent, 500.0 records/sec (0.50 MB/sec), 1.50 ms avg latency, 20.00 ms max latency, \
             1.00 ms 50th, 2.00 ms 95th, 10.00 ms 99th, 20.00 ms 99.9th."
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["records_per_second"], 500.0);
        assert_eq!(json["latency"]["p999_ms"], 20.0);
    }

    #[test]
    fn consume_in_kafkas_words() {
        let started = "2013-01-31T19:00:00Z".parse().unwrap();
        let took = Duration::from_millis(500);
        let report = ConsumeReport::new(10, 1024 * 1024, started, took, Duration::from_millis(3));
        let text = report.to_string();
        let row = text.lines().nth(1).unwrap();
        assert_eq!(
            row,
            "2013-01-31 19:00:00:000, 2013-01-31 19:00:00:500, 1.0000, 2.0000, 10, 20.0000, 3.00"
        );
    }

    #[test]
    fn end_to_end_in_kafkas_words() {
        let report = EndToEndReport {
            records: 9,
            seconds: 1.0,
            latency: latency(),
        };
        assert!(
            report
                .to_string()
                .starts_with("Avg latency: 1.5000 ms\nPercentiles: 50th = 1.00, ")
        );
    }
}
