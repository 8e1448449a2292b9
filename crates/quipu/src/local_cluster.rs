//! Brokers on loopback that are one cluster: which ports they have, and how they start and stop together.

use crate::broker_process::{BrokerProcess, BrokerSpec, SpawnError};
use crate::output::Failure;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::task::Poll;

/// So many of the brokers vote on the metadata: more would bear more losses, and nobody tries that on one machine.
const VOTERS_MAX: usize = 3;
/// From one broker's client port to the next one's.
const PORTS_APART: u16 = 10;
/// HTTP is so many ports above the clients'.
const HTTP_PORT_ABOVE: u16 = 2;
/// Where a cluster's directory says which ports its brokers know each other by.
const FILE: &str = "local-cluster.json";

/// What must be the same at every start: controllers remember each other by address.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    /// host:port of each broker's internal listener, by broker id.
    internal: Vec<String>,
}

/// How a local cluster is to be.
pub(crate) struct LocalCluster<'a> {
    /// Everything is kept here; made if it is not there.
    pub(crate) directory: &'a Path,
    /// How many brokers; `None`: as many as there were, or one.
    pub(crate) brokers: Option<u32>,
    /// The first broker's client port; 0: any, for each.
    pub(crate) port: u16,
    /// Whether each broker's log goes to a file beside its data; else to this process's standard error.
    pub(crate) log_to_file: bool,
}

impl LocalCluster<'_> {
    /// What each broker is to be started with.
    pub(crate) fn specs(&self) -> Result<Vec<BrokerSpec>, Failure> {
        let internal = self.internal_addresses()?;
        let alone = internal.len() == 1;
        let voters: Vec<String> = if alone {
            Vec::new()
        } else {
            internal.iter().take(VOTERS_MAX).cloned().collect()
        };
        let specs = (0..).zip(internal).map(|(broker_id, internal)| BrokerSpec {
            broker_id,
            data_dir: self.data_dir(broker_id),
            client: self.address(broker_id, 0),
            http: self.address(broker_id, HTTP_PORT_ABOVE),
            internal,
            voters: voters.clone(),
            log: self
                .log_to_file
                .then(|| self.directory.join(format!("broker-{broker_id}.log"))),
        });
        Ok(specs.collect())
    }

    fn data_dir(&self, broker: u32) -> PathBuf {
        self.directory.join(format!("broker-{broker}"))
    }

    fn address(&self, broker: u32, above: u16) -> String {
        let apart = u16::try_from(broker)
            .unwrap_or(u16::MAX)
            .saturating_mul(PORTS_APART);
        match self.port {
            0 => "127.0.0.1:0".to_owned(),
            port => format!("127.0.0.1:{}", port.saturating_add(apart).saturating_add(above)),
        }
    }

    fn internal_addresses(&self) -> Result<Vec<String>, Failure> {
        let was = self.read_layout()?;
        let there = was.as_ref().map(|layout| layout.internal.len());
        let there = there.or_else(|| self.data_dir(0).exists().then_some(1));
        let wanted = self
            .brokers
            .map_or(there.unwrap_or(1), |brokers| brokers as usize);
        if let Some(there) = there.filter(|there| *there != wanted) {
            return Err(Failure::new(format_args!(
                "{} holds a cluster of {there} brokers, not of {wanted}",
                self.directory.display()
            ))
            .next(format_args!("--brokers {there}, or another --data-dir")));
        }
        if wanted == 1 {
            return Ok(vec!["127.0.0.1:0".to_owned()]);
        }
        if let Some(layout) = was {
            return Ok(layout.internal);
        }
        let layout = Layout {
            internal: free_addresses(wanted)
                .map_err(|error| Failure::new(format_args!("there are no free ports: {error}")))?,
        };
        self.write_layout(&layout)
            .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", self.file().display())))?;
        Ok(layout.internal)
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn read_layout(&self) -> Result<Option<Layout>, Failure> {
        let cannot =
            |what: &dyn std::fmt::Display| Failure::new(format_args!("{}: {what}", self.file().display()));
        match std::fs::read(self.file()) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| cannot(&error))
                .map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot(&error)),
        }
    }

    fn write_layout(&self, layout: &Layout) -> io::Result<()> {
        std::fs::create_dir_all(self.directory)?;
        std::fs::write(self.file(), serde_json::to_vec(layout)?)
    }
}

/// Addresses that nobody listens on now. All are held until all are known, so that they differ.
fn free_addresses(count: usize) -> io::Result<Vec<String>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<_>>()?;
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect()
}

/// Starts all of them at once (none gets ready before a majority of the controllers runs), in the order of their ids.
pub(crate) async fn start_all(specs: &[BrokerSpec]) -> Result<Vec<BrokerProcess>, SpawnError> {
    let started = together(specs.iter().map(BrokerProcess::start)).await;
    started.into_iter().collect()
}

/// SIGTERM to all of them at once; returns once all are gone, with how each ended.
pub(crate) async fn stop_all(brokers: Vec<BrokerProcess>) -> io::Result<Vec<(u32, ExitStatus)>> {
    let stopping = brokers.into_iter().map(|broker| async {
        let id = broker.ready().broker_id;
        broker.terminate().await.map(|status| (id, status))
    });
    together(stopping).await.into_iter().collect()
}

/// Waits for all of them side by side. Not as tasks: who stops waiting has dropped them, processes and all.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut all_done = true;
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => *output = Some(done),
                Poll::Pending => all_done = false,
            }
        }
        if all_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(directory: &Path, brokers: Option<u32>) -> LocalCluster<'_> {
        LocalCluster {
            directory,
            brokers,
            port: 4600,
            log_to_file: false,
        }
    }

    #[test]
    fn a_cluster_keeps_its_internal_addresses_and_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let first = cluster(directory.path(), Some(5)).specs().unwrap();
        assert_eq!(first.len(), 5);
        assert_eq!(first[3].voters.len(), 3);
        assert_eq!(first[0].voters[1], first[1].internal);
        assert_eq!(
            (&*first[4].client, &*first[4].http),
            ("127.0.0.1:4640", "127.0.0.1:4642")
        );
        let again = cluster(directory.path(), None).specs().unwrap();
        let internal = |specs: &[BrokerSpec]| -> Vec<String> {
            specs.iter().map(|spec| spec.internal.clone()).collect()
        };
        assert_eq!(internal(&again), internal(&first));
        assert!(cluster(directory.path(), Some(3)).specs().is_err());
    }

    #[test]
    fn one_broker_is_a_cluster_alone_and_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let specs = cluster(directory.path(), None).specs().unwrap();
        assert_eq!((specs.len(), specs[0].voters.len()), (1, 0));
        std::fs::create_dir(&specs[0].data_dir).unwrap();
        assert!(cluster(directory.path(), Some(3)).specs().is_err());
        assert_eq!(cluster(directory.path(), Some(1)).specs().unwrap().len(), 1);
    }
}
