//! The groups coordinated here, as metrics.

use super::figures::{Figures, Latest};
use super::shard::ShardState;
use super::shards::Shards;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// Looks the groups up at each scrape; figures that other brokers must be asked for are those of the scrape before.
#[derive(Debug)]
pub(super) struct GroupsCollector {
    pub(super) shards: Arc<Shards>,
    pub(super) latest: Arc<Latest>,
}

impl Collector for GroupsCollector {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.shards.states();
        self.loads(&mut to, states.iter().map(|(_, state)| state))?;
        encode_figures(&mut to, &self.latest.take())
    }
}

impl GroupsCollector {
    fn loads<'s>(
        &self,
        to: &mut DescriptorEncoder<'_>,
        states: impl Iterator<Item = &'s ShardState>,
    ) -> fmt::Result {
        let (mut active, mut loading, mut failed) = (0, 0, 0);
        let (mut bytes, mut records, mut millis) = (0, 0, 0);
        for state in states {
            match state {
                ShardState::Idle => {}
                ShardState::Loading => loading += 1,
                ShardState::Failed(_) => failed += 1,
                ShardState::Active(load) => {
                    active += 1;
                    bytes += load.bytes;
                    records += load.records;
                    millis = millis.max(u64::try_from(load.took.as_millis()).unwrap_or(u64::MAX));
                }
            }
        }
        for (name, help, value) in [
            (
                "group_partitions_active",
                "Partitions of the offsets topic served here",
                active,
            ),
            (
                "group_partitions_loading",
                "Being loaded: their groups wait",
                loading,
            ),
            (
                "group_partitions_failed",
                "That cannot be loaded: their groups stand still",
                failed,
            ),
            ("group_load_bytes", "Log bytes replayed by the last loads", bytes),
            (
                "group_load_records",
                "Records replayed by the last loads",
                records,
            ),
            ("group_load_milliseconds", "The longest of the last loads", millis),
            (
                "group_commits",
                "Offsets committed since the start",
                self.shards.commits(),
            ),
        ] {
            gauge(to, name, help, value)?;
        }
        Ok(())
    }
}

fn encode_figures(to: &mut DescriptorEncoder<'_>, figures: &Figures) -> fmt::Result {
    gauge(
        to,
        "group_members",
        "Members of groups coordinated here",
        figures.members,
    )?;
    gauge(
        to,
        "groups_expiring",
        "Groups without members whose offsets expire within a day",
        figures.expiring,
    )?;
    gauge(
        to,
        "group_lags_left_out",
        "Series of quipu_group_lag beyond what is shown",
        figures.left_out,
    )?;
    let mut groups = to.encode_descriptor("groups", "Groups coordinated here", None, MetricType::Gauge)?;
    for (state, count) in &figures.groups {
        let label = [("state", *state)];
        let family = groups.encode_family(&label)?;
        ConstGauge::new(i64::try_from(*count).unwrap_or(i64::MAX)).encode(family)?;
    }
    let help = "Records committed to the log that the group has not processed";
    let mut lags = to.encode_descriptor("group_lag", help, None, MetricType::Gauge)?;
    for lag in &figures.lags {
        let partition = lag.at.partition.to_string();
        let labels = [
            ("group", lag.group.as_str()),
            ("topic", &*lag.topic),
            ("partition", &partition),
        ];
        let family = lags.encode_family(&labels)?;
        ConstGauge::new(i64::try_from(lag.records).unwrap_or(i64::MAX)).encode(family)?;
    }
    Ok(())
}

fn gauge(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    let encoder = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}
