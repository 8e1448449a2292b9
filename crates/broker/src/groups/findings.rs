//! What is wrong with groups, or soon will be, for CheckCluster.

use super::{Groups, ShardState};
use crate::partition::clock;
use crate::service::check::finding;
use quipu_coordinator::Expiring;
use quipu_proto::v1::{self, Severity};
use quipu_record::Timestamp;
use std::time::Duration;

/// Asking takes no longer.
const PATIENCE: Duration = Duration::from_secs(2);
const HOUR_MS: i64 = 3_600_000;

impl Groups {
    /// What this broker, which coordinates them, knows.
    pub(crate) async fn findings(&self) -> Vec<v1::Finding> {
        let mut findings = Vec::new();
        for (at, state) in self.states() {
            if let ShardState::Failed(why) = state {
                findings.push(finding(
                    Severity::Critical,
                    format!("groups in __consumer_offsets partition {}", at.partition),
                    format!("what they have stored cannot be loaded, and they stand still: {why}"),
                    "if a newer version of Quipu wrote it, upgrade this broker; else look at its disk and its log",
                ));
            }
        }
        let now = clock::wall();
        let expiring = tokio::time::timeout(PATIENCE, self.expiring_here()).await;
        let expiring = expiring.unwrap_or_default();
        findings.extend(expiring.iter().map(|expiring| expires(expiring, now)));
        findings
    }
}

fn expires(expiring: &Expiring, now: Timestamp) -> v1::Finding {
    let hours = (expiring.at.get().saturating_sub(now.get()) / HOUR_MS).max(0);
    finding(
        Severity::Warning,
        format!("group {}", expiring.group),
        format!(
            "it has no members, and its {} committed offsets expire in {hours} hours",
            expiring.offsets
        ),
        "start a member, or let it be: where it stood is still shown by quipu group describe",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_coordinator::GroupId;

    #[test]
    fn a_group_that_expires_within_a_day_is_named_with_the_time_that_is_left() {
        let expiring = Expiring {
            group: GroupId::new("billing").expect("a name"),
            at: Timestamp::new(5 * HOUR_MS + 1),
            offsets: 12,
        };
        let found = expires(&expiring, Timestamp::new(0));
        assert_eq!(found.subject, "group billing");
        assert!(
            found.problem.contains("12 committed offsets expire in 5 hours"),
            "{}",
            found.problem
        );
        assert!(
            expires(&expiring, Timestamp::new(9 * HOUR_MS))
                .problem
                .contains("in 0 hours")
        );
    }
}
