//! What the demo shows while it runs and at its end: one screen.

use super::flights::Flights;
use super::proof::group_digits;
use super::report::{CheckReport, ConsumedReport, OutageReport, ProducedReport, RebalanceReport};
use crate::brokers::Brokers;
use crate::output::{Failure, Output, print};
use std::collections::BTreeMap;
use std::time::Duration;

/// Carriers beside each other in the table of totals.
const CARRIERS_A_ROW: usize = 8;

/// Where the demo is told: line by line, or nowhere until the report in JSON.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    silent: bool,
}

impl Screen {
    pub(super) fn new(out: Output) -> Self {
        Self {
            silent: out.is_json(),
        }
    }

    fn line(self, name: &str, text: &str) -> Result<(), Failure> {
        if self.silent {
            Ok(())
        } else {
            print(&format!("  {name:<10}  {text}"))
        }
    }

    fn text(self, text: &str) -> Result<(), Failure> {
        if self.silent { Ok(()) } else { print(text) }
    }

    pub(super) fn title(self, brokers: u32) -> Result<(), Failure> {
        let through = match brokers {
            1 => "through a broker that is killed on the way",
            _ => "through a cluster that loses a leader on the way",
        };
        self.text(&format!(
            "Quipu: January 2013, every flight out of New York, {through}\n\n"
        ))
    }

    pub(super) fn brokers(self, brokers: &Brokers, topic: &str, partitions: u32) -> Result<(), Failure> {
        let (count, addresses) = (brokers.count(), brokers.addresses().join(", "));
        let what = if count == 1 { "process" } else { "processes" };
        self.line(
            "brokers",
            &format!("{count} {what} on {addresses}, temporary data directories"),
        )?;
        let replicas = count.min(3);
        self.line(
            "topic",
            &format!(
                "{topic}: {partitions} partitions, replicas of each: {replicas}, durability=fsync, retention.ms=-1"
            ),
        )
    }

    pub(super) fn source(self, flights: &Flights) -> Result<(), Failure> {
        let (rows, aircraft) = (group_digits(flights.rows.len()), group_digits(flights.aircraft()));
        let keyless = flights.rows.iter().filter(|flight| flight.key.is_none()).count();
        let text =
            format!("{rows} flights; key: one of {aircraft} aircraft ({keyless} without), time: departure");
        self.line("source", &text)
    }

    pub(super) fn outage(self, outage: &OutageReport) -> Result<(), Failure> {
        let again = if outage.kills > 1 {
            format!(" (kill {}: none were before)", outage.kills)
        } else {
            String::new()
        };
        let led: Vec<String> = outage.partitions.iter().map(u32::to_string).collect();
        let too = if outage.was_controller {
            ", the active controller too"
        } else {
            ""
        };
        self.line(
            "SIGKILL",
            &format!(
                "broker {}, leader of partitions {}{too}, after {:.1} s",
                outage.broker_id,
                led.join(", "),
                outage.killed_at_seconds
            ),
        )?;
        self.line(
            "",
            &format!(
                "batches unacknowledged: {}{again}; nobody told the producer",
                outage.unacknowledged_batches
            ),
        )?;
        self.line(
            "failover",
            &format!(
                "{:.2} s from the kill to the next acknowledgement on one of them, {:.2} s on all",
                outage.failover_seconds, outage.failover_of_all_seconds
            ),
        )?;
        self.line(
            "restart",
            &format!("the killed broker recovered in {:.2} s", outage.recovery_seconds),
        )
    }

    pub(super) fn produced(self, produced: &ProducedReport) -> Result<(), Failure> {
        let acknowledged = group_digits(usize::try_from(produced.acknowledged).unwrap_or(usize::MAX));
        #[allow(clippy::cast_precision_loss)]
        let rate = produced.records as f64 / produced.seconds;
        self.line(
            "produced",
            &format!(
                "{acknowledged} acknowledged in {:.1} s ({rate:.0} a second); batches sent again: {}; \
                 records recognised as stored: {}",
                produced.seconds, produced.retries, produced.deduplicated
            ),
        )
    }

    pub(super) fn in_sync(self, after_producing: Duration) -> Result<(), Failure> {
        let text = format!(
            "every replica, {:.2} s after the last record",
            after_producing.as_secs_f64()
        );
        self.line("in sync", &text)
    }

    pub(super) fn group(self, members: usize, topic: &str, partitions: u32) -> Result<(), Failure> {
        self.line(
            "group",
            &format!("{members} processes share the {partitions} partitions of {topic} as they are produced"),
        )
    }

    pub(super) fn rebalance(self, rebalance: &RebalanceReport) -> Result<(), Failure> {
        let shares = |shares: &[usize]| {
            let shares: Vec<String> = shares.iter().map(usize::to_string).collect();
            shares.join("+")
        };
        let text = format!(
            "{}: {} became {}, partitions moved: {}; all flow again after {:.2} s",
            rebalance.what,
            shares(&rebalance.before),
            shares(&rebalance.after),
            rebalance.moved,
            rebalance.flowing_after_seconds
        );
        self.line("rebalance", &text)
    }

    pub(super) fn consumed(self, consumed: &ConsumedReport) -> Result<(), Failure> {
        let text = format!("{} in {:.2} s", group_digits(consumed.records), consumed.seconds);
        self.line("consumed", &text)
    }

    pub(super) fn proof(self, checks: &[CheckReport], totals: &BTreeMap<String, u64>) -> Result<(), Failure> {
        self.text("\n")?;
        for check in checks {
            let verdict = if check.holds { "holds" } else { "DOES NOT HOLD" };
            self.text(&format!(
                "  {:<36}{:>20}   {verdict}\n",
                check.claim, check.looked_at
            ))?;
            for fault in &check.faults {
                self.text(&format!("      {fault}\n"))?;
            }
            if check.fault_count > check.faults.len() {
                self.text(&format!(
                    "      and {} more\n",
                    check.fault_count - check.faults.len()
                ))?;
            }
        }
        self.text(&format!("\n{}", totals_table(totals)))
    }

    pub(super) fn verdict(self, proven: bool) -> Result<(), Failure> {
        self.text(if proven {
            "\nProven: nothing acknowledged was lost, doubled, reordered or changed.\n"
        } else {
            "\nNOT PROVEN: see above.\n"
        })
    }
}

/// Flights per carrier, some carriers beside each other.
fn totals_table(totals: &BTreeMap<String, u64>) -> String {
    let totals: Vec<(&String, &u64)> = totals.iter().collect();
    let mut text = String::new();
    for row in totals.chunks(CARRIERS_A_ROW) {
        let cells = |cell: &dyn Fn(&(&String, &u64)) -> String| -> String {
            row.iter().map(|pair| format!("{:>8}", cell(pair))).collect()
        };
        let carriers = cells(&|(carrier, _)| (*carrier).clone());
        let counts = cells(&|(_, count)| group_digits(usize::try_from(**count).unwrap_or(usize::MAX)));
        text.push_str(&format!("  carrier {carriers}\n  flights {counts}\n"));
    }
    let sum = totals
        .iter()
        .map(|(_, count)| usize::try_from(**count).unwrap_or(usize::MAX))
        .sum();
    text.push_str(&format!("  total   {:>8}\n", group_digits(sum)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_fit_a_screen() {
        let names = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA"];
        let totals: BTreeMap<String, u64> = names.iter().map(|name| ((*name).to_owned(), 1_500)).collect();
        let text = totals_table(&totals);
        assert!(text.starts_with("  carrier       9E      AA"), "{text}");
        assert!(text.contains("\n  flights    1,500"), "{text}");
        assert!(text.ends_with("  total     13,500\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
