//! What is looked up at each scrape, and costs nothing in between: the process, the disk, partitions, the controller.

use crate::applied::Applied;
use crate::controllers::Controllers;
use crate::data_plane::{DataPlane, Stats};
use crate::lifecycle::disk_room;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use quipu_record::BrokerId;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

/// The cluster, this broker's part of it, and its disk.
#[derive(Debug)]
pub(crate) struct BrokerCollector {
    pub(crate) broker: BrokerId,
    pub(crate) controllers: Controllers,
    pub(crate) applied: Arc<Applied>,
    /// Weak, since the data plane counts in the very metrics that this is part of.
    pub(crate) data: Weak<DataPlane>,
    pub(crate) data_dir: PathBuf,
}

/// Partitions that this broker leads, or that nobody leads and it has a replica of: so each is counted once in a sum over
/// brokers, or as often as it is nobody's.
#[derive(Default)]
struct Partitions {
    under_replicated: u64,
    under_min_isr: u64,
    offline: u64,
}

impl BrokerCollector {
    fn partitions(&self) -> Partitions {
        let mut count = Partitions::default();
        for (_, _, state) in self.applied.image().partitions() {
            if state.leader.is_none() && state.replicas.contains(self.broker) {
                count.offline += 1;
            } else if state.leader == Some(self.broker) {
                count.under_replicated += u64::from(state.isr.len() < state.replicas.len());
                count.under_min_isr += u64::from(state.isr.len() < usize::from(state.min_insync));
            }
        }
        count
    }
}

impl Collector for BrokerCollector {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut to;
        let partitions = self.partitions();
        gauge(
            to,
            "partitions_under_replicated",
            "Led here, with replicas out of sync",
            partitions.under_replicated,
        )?;
        gauge(
            to,
            "partitions_under_min_isr",
            "Led here, too few in sync to acknowledge",
            partitions.under_min_isr,
        )?;
        gauge(
            to,
            "partitions_offline",
            "With a replica here, and no leader",
            partitions.offline,
        )?;

        if let Some(data) = self.data.upgrade() {
            encode_stats(to, &data.stats())?;
        }
        let image = self.applied.image();
        gauge(to, "topics", "Topics of the cluster", image.topic_count() as u64)?;
        gauge(
            to,
            "metadata_version",
            "Metadata in effect here",
            image.version().get(),
        )?;
        if let Some(controller) = self.controllers.local() {
            let status = controller.status();
            gauge(
                to,
                "raft_is_leader",
                "Whether the active controller is here",
                u64::from(status.is_active()),
            )?;
            gauge(to, "raft_term", "Raft's term", status.term)?;
        }

        if let Some((free, size)) = disk_room(&self.data_dir) {
            gauge(to, "disk_free_bytes", "Free on the file system of data.dir", free)?;
            gauge(to, "disk_size_bytes", "Size of the file system of data.dir", size)?;
        }
        Ok(())
    }
}

fn encode_stats(to: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    gauge(to, "partitions", "Replicas on this broker", stats.replicas as u64)?;
    gauge(
        to,
        "partitions_leading",
        "Partitions led here",
        stats.leading as u64,
    )?;
    gauge(to, "log_size_bytes", "Logs on this broker", stats.log_bytes)?;
    gauge(
        to,
        "queued_bytes",
        "Produced batches that wait in the broker",
        stats.queued_bytes as u64,
    )
}

/// The process, by the names that every Prometheus client uses.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut to;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let bytes = |name: &str| field(name).map(|kib| kib << 10);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory in use", bytes("VmRSS")),
            (
                "process_resident_anonymous_bytes",
                "Memory in use that is no file's",
                bytes("RssAnon"),
            ),
            ("process_virtual_memory_bytes", "Address space", bytes("VmSize")),
            ("process_threads", "Threads", field("Threads")),
            ("process_open_fds", "Open files", open_files()),
            ("process_max_fds", "Files that may be open", max_files()),
        ] {
            if let Some(value) = value {
                gauge(to, name, help, value)?;
            }
        }
        let times = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds of one process: far below 2^52"
        )]
        let seconds = times.tv_sec as f64 + times.tv_nsec as f64 / 1e9;
        let encoder = to.encode_descriptor(
            "process_cpu_seconds",
            "Processor time used",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(seconds).encode(encoder)
    }
}

fn open_files() -> Option<u64> {
    // The listing itself holds one open.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn max_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
