//! News of leaders, as soon as there is any.
//!
//! Whoever lost a leader asks who leads now, and mostly hears the old name: the controllers need a second to be sure that
//! it is gone. To ask again and again would find out late or cost much; so the broker that was asked is watched for a while.

use super::table::Route;
use super::{Cluster, lock};
use crate::backoff::BackoffLimits;
use crate::error::CallError;
use quipu_proto::v1;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use std::time::Duration;
use tokio::time::timeout;

/// How long it is watched. Short at first: what is known may be right, and the new leader itself the one who does not know
/// it yet. At most a second, and then the next broker is asked: this one may be cut off from the controllers.
const WATCH: BackoffLimits = BackoffLimits {
    min: Duration::from_millis(50),
    max: Duration::from_secs(1),
};

impl Cluster {
    /// Asks the cluster where these topics, which are known, are led; if that is known too, waits a while for news.
    pub(crate) async fn refresh(&self, topics: &[&str]) -> Result<(), CallError> {
        let before = self.routes_of(topics);
        self.look_up(topics).await?;
        if self.routes_of(topics) == before {
            let patience = lock(&self.watching).next(WATCH, &mut lock(&self.jitter));
            // Whatever ends it, the caller looks at what is known then.
            let _ = timeout(patience, self.watch(topics, &before)).await;
        }
        if self.routes_of(topics) != before {
            lock(&self.watching).reset();
        }
        Ok(())
    }

    async fn watch(&self, topics: &[&str], before: &[Option<Vec<Route>>]) -> Option<()> {
        let request = v1::WatchRoutingRequest {
            topics: topics.iter().map(|&name| name.to_owned()).collect(),
        };
        let address = self.candidates().into_iter().next()?;
        let lease = self.pool.lease(&address).await.ok()?;
        let mut client = ClusterServiceClient::new(lease.connection.clone());
        let Ok(answers) = client.watch_routing(request).await else {
            lock(&self.preference).failed(&address);
            return None;
        };
        let mut answers = answers.into_inner();
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    let news = answer.routing.unwrap_or_default();
                    self.table().take(&news).ok()?;
                    if self.routes_of(topics) != before {
                        return Some(());
                    }
                }
                Ok(None) => return None,
                Err(_) => {
                    lock(&self.preference).failed(&address);
                    return None;
                }
            }
        }
    }

    fn routes_of(&self, topics: &[&str]) -> Vec<Option<Vec<Route>>> {
        let table = self.table();
        let routes = |name: &&str| table.topic(name).map(|topic| topic.partitions.clone());
        topics.iter().map(routes).collect()
    }
}
