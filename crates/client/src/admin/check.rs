//! The cluster looked over: by its metadata, which any broker can tell, and by each broker's own disk and logs.

use super::{Admin, CheckReport, Finding, Severity, read};
use crate::error::CallError;
use crate::routing::{Operation, timed};
use quipu_proto::v1;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_record::BrokerId;
use std::time::Duration;
use tokio::task::JoinSet;

/// A broker that is well answers at once.
const ONE_BROKER: Duration = Duration::from_secs(3);

impl Admin {
    /// Asks the cluster what is wrong with it, and every broker that should run what is wrong with its own disk and logs.
    ///
    /// # Errors
    /// [`CallError`]: nobody could be asked. A broker that does not answer is a finding.
    pub async fn check(&self) -> Result<CheckReport, CallError> {
        let operation = self.repeatable("check the cluster");
        let answer = self.cluster.call(operation, |connection, left| async move {
            let request = timed(of_scope(v1::CheckScope::Metadata), left);
            ClusterServiceClient::new(connection).check_cluster(request).await
        });
        let mut report = read::check_report(answer.await?);
        let mut asking = JoinSet::new();
        // Of those that are fenced the metadata has told.
        let running = self.cluster().await?.brokers.into_iter();
        for broker in running.filter(|broker| !broker.fenced) {
            let admin = self.clone();
            asking.spawn(async move { admin.check_broker(broker.id, &broker.endpoint).await });
        }
        for found in asking.join_all().await {
            report.findings.extend(found);
        }
        // Worst first; brokers answer in any order.
        report.findings.sort_by(|a, b| {
            let worst_first = b.severity.cmp(&a.severity);
            worst_first.then_with(|| a.subject.cmp(&b.subject))
        });
        Ok(report)
    }

    async fn check_broker(&self, broker: BrokerId, endpoint: &str) -> Vec<Finding> {
        let operation = Operation::look("check a broker", ONE_BROKER);
        let answer = self
            .cluster
            .call_at(operation, endpoint, |connection, left| async move {
                let request = timed(of_scope(v1::CheckScope::Broker), left);
                ClusterServiceClient::new(connection).check_cluster(request).await
            });
        match answer.await.map(read::check_report) {
            Ok(report) => {
                let findings = report.findings.into_iter().map(|finding| Finding {
                    subject: format!("broker {broker}: {}", finding.subject),
                    ..finding
                });
                findings.collect()
            }
            Err(error) => vec![Finding {
                severity: Severity::Critical,
                subject: format!("broker {broker}"),
                problem: format!("the controllers hear of it, and it does not answer here: {error}"),
                remedy: format!(
                    "see whether {endpoint} can be reached from here, and look at the broker's log"
                ),
            }],
        }
    }
}

fn of_scope(scope: v1::CheckScope) -> v1::CheckClusterRequest {
    v1::CheckClusterRequest { scope: scope.into() }
}
