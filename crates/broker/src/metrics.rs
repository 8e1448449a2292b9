//! What the broker counts, by the names of `docs/operations.md`, with few series: labels are RPCs, stages, error codes and
//! topics, never partitions or clients. What can be looked up when asked (partition states, the disk, the process) is a
//! [`Collector`] and costs nothing in between.

pub(crate) mod collect;
mod labels;

pub use labels::{RequestLabels, Stage, TopicLabels};

use crate::admit::Api;
use labels::{ApiCode, BuildLabels, ListenerLabels};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use quipu_record::ErrorCode;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

type Histograms = Family<RequestLabels, Histogram, fn() -> Histogram>;

/// From 50 us to 10 s, in steps that a person reads.
const SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// The counters of one topic. Cheap to clone: keep them with the partition, since looking them up takes a lock.
#[derive(Clone, Debug, Default)]
pub struct TopicMetrics {
    /// Bytes of batches produced.
    pub bytes_in: Counter,
    /// Bytes of batches given to consumers.
    pub bytes_out: Counter,
    /// Records produced.
    pub records_in: Counter,
}

/// Every metric of the broker.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    process: Registry,
    requests: Histograms,
    // An RPC's histograms appear with its first request, and are then found without a lock.
    by_api: Box<[[OnceLock<Histogram>; Stage::ALL.len()]]>,
    errors: Family<ApiCode, Counter>,
    bytes_in: Family<TopicLabels, Counter>,
    bytes_out: Family<TopicLabels, Counter>,
    records_in: Family<TopicLabels, Counter>,
    connections: Family<ListenerLabels, Gauge>,
    /// Seconds that one flush round's sync took.
    pub fsync_duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut process = Registry::default();
        process.register_collector(Box::new(collect::ProcessCollector));
        let metrics = Self {
            process,
            registry: Mutex::new(Registry::with_prefix("quipu")),
            requests: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            by_api: Api::ALL.iter().map(|_| Default::default()).collect(),
            errors: Family::default(),
            bytes_in: Family::default(),
            bytes_out: Family::default(),
            records_in: Family::default(),
            connections: Family::default(),
            fsync_duration: Histogram::new(SECONDS),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let build = Info::new(BuildLabels {
            version: env!("CARGO_PKG_VERSION"),
        });
        registry.register("build", "The program", build);
        registry.register(
            "request_duration_seconds",
            "Seconds of a request, by stage: queue, local, remote, response, and total",
            self.requests.clone(),
        );
        registry.register(
            "request_errors",
            "Requests and items refused or failed",
            self.errors.clone(),
        );
        registry.register("bytes_in", "Bytes of batches produced", self.bytes_in.clone());
        registry.register(
            "bytes_out",
            "Bytes of batches given to consumers",
            self.bytes_out.clone(),
        );
        registry.register("records_in", "Records produced", self.records_in.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register(
            "fsync_duration_seconds",
            "Seconds that one flush round's sync took",
            self.fsync_duration.clone(),
        );
    }

    /// Adds what is looked up at each scrape.
    pub fn add_collector(&self, collector: impl Collector) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(collector));
    }

    /// Adds a metric that another module owns; `name` without the prefix `quipu_`.
    pub fn add(&self, name: &str, help: &str, metric: impl prometheus_client::registry::Metric) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric);
    }

    /// Notes how long a stage of a request took.
    pub fn observe(&self, api: Api, stage: Stage, took: Duration) {
        self.by_api[api as usize][stage as usize]
            .get_or_init(|| self.requests.get_or_create_owned(&RequestLabels { api, stage }))
            .observe(took.as_secs_f64());
    }

    /// Notes a request, or one item of it, that was refused or failed.
    pub fn error(&self, api: Api, code: ErrorCode) {
        self.errors.get_or_create(&ApiCode::new(api, code)).inc();
    }

    /// The counters of a topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> TopicMetrics {
        let labels = TopicLabels::new(name);
        TopicMetrics {
            bytes_in: self.bytes_in.get_or_create_owned(&labels),
            bytes_out: self.bytes_out.get_or_create_owned(&labels),
            records_in: self.records_in.get_or_create_owned(&labels),
        }
    }

    /// Ends the series of a topic that was deleted.
    pub fn forget_topic(&self, name: &str) {
        let labels = TopicLabels::new(name);
        self.bytes_in.remove(&labels);
        self.bytes_out.remove(&labels);
        self.records_in.remove(&labels);
    }

    /// The gauge of a listener's open connections.
    #[must_use]
    pub fn connections(&self, listener: &str) -> Gauge {
        self.connections
            .get_or_create_owned(&ListenerLabels::new(listener))
    }

    /// All of it, as a scrape gets it (`OpenMetrics` text).
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut page = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a `String` cannot fail; a collector's own failure leaves a page without its end mark, which
        // the scraper reports.
        let encoded =
            text::encode_registry(&mut page, &self.process).and_then(|()| text::encode(&mut page, &registry));
        if let Err(error) = encoded {
            tracing::warn!(%error, "a collector failed; the scrape is incomplete");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones_and_series_are_few() {
        let metrics = Metrics::default();
        metrics.observe(Api::Produce, Stage::Local, Duration::from_micros(300));
        metrics.error(Api::Produce, ErrorCode::CorruptBatch);
        let flights = metrics.topic("flights");
        flights.bytes_in.inc_by(1024);
        flights.records_in.inc();
        metrics.topic("flights").bytes_out.inc_by(7);
        metrics.fsync_duration.observe(0.002);
        metrics.connections("client").inc();

        let page = metrics.scrape();
        for line in [
            r#"quipu_request_duration_seconds_bucket{le="0.0005",api="Produce",stage="local"} 1"#,
            r#"quipu_request_errors_total{api="Produce",code="CORRUPT_BATCH"} 1"#,
            r#"quipu_bytes_in_total{topic="flights"} 1024"#,
            r#"quipu_bytes_out_total{topic="flights"} 7"#,
            r#"quipu_records_in_total{topic="flights"} 1"#,
            "quipu_fsync_duration_seconds_count 1",
            r#"quipu_connections{listener="client"} 1"#,
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
        }
        assert!(!page.contains(r#"api="Fetch""#), "series of RPCs nobody called");
        assert!(page.ends_with("# EOF\n"));

        metrics.forget_topic("flights");
        assert!(!metrics.scrape().contains("flights"));
    }
}
