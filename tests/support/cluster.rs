//! Real clusters: several brokers that are controllers as well, started at once since none is ready alone.

use super::{ANY_PORT, Broker, Home, Result};
use std::net::TcpListener;
use std::path::Path;

/// Brokers 1, 2, 3 ... of one cluster, each with its controller. Dropped, they are killed and their directories removed.
pub(crate) struct Cluster {
    members: Vec<Member>,
}

enum Member {
    Up(Broker),
    Down(Home),
    /// Between the two: it could not be started or stopped.
    Lost,
}

impl Cluster {
    /// `count` brokers over new directories in `parent`, with more of the configuration (`key=value`); all are ready.
    pub(crate) fn start(count: usize, parent: &Path, settings: &[String]) -> Result<Self> {
        let internal = free_addresses(count)?;
        let voters = format!("controllers.voters={}", internal.join(","));
        let mut members = Vec::new();
        for (at, internal) in internal.into_iter().enumerate() {
            let mut all = vec![format!("broker.id={}", at + 1), voters.clone()];
            all.extend_from_slice(settings);
            let directory = tempfile::Builder::new()
                .prefix("quipu-test-")
                .tempdir_in(parent)?;
            members.push(Member::Down(Home {
                directory,
                args: all
                    .into_iter()
                    .flat_map(|set| ["--set".to_owned(), set])
                    .collect(),
                listen: ANY_PORT.to_owned(),
                internal,
            }));
        }
        let mut cluster = Self { members };
        cluster.start_all()?;
        Ok(cluster)
    }

    /// How many, up or down.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The running broker with this id.
    pub(crate) fn broker(&self, id: usize) -> Result<&Broker> {
        match &self.members[id - 1] {
            Member::Up(broker) => Ok(broker),
            Member::Down(_) | Member::Lost => Err(format!("broker {id} is down").into()),
        }
    }

    /// The brokers that run.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = (usize, &Broker)> {
        let up = |(at, member): (usize, &'_ Member)| match member {
            Member::Up(_) => Some(at + 1),
            Member::Down(_) | Member::Lost => None,
        };
        let ids: Vec<usize> = self.members.iter().enumerate().filter_map(up).collect();
        ids.into_iter().filter_map(|id| Some((id, self.broker(id).ok()?)))
    }

    /// Where clients find those that run: host:port, separated by commas.
    pub(crate) fn addresses(&self) -> String {
        let all: Vec<&str> = self.brokers().map(|(_, broker)| broker.address()).collect();
        all.join(",")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, id: usize) -> Result<()> {
        self.stop(id, Broker::kill)
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn terminate(&mut self, id: usize) -> Result<()> {
        self.stop(id, |broker| {
            let (status, home) = broker.terminate()?;
            if !status.success() {
                return Err(format!("broker {id} ended with {status}").into());
            }
            Ok(home)
        })
    }

    /// Starts one that is down, over its old directory and at its old addresses; it is ready on return.
    pub(crate) fn restart(&mut self, id: usize) -> Result<()> {
        let member = std::mem::replace(&mut self.members[id - 1], Member::Lost);
        self.members[id - 1] = match member {
            Member::Down(home) => Member::Up(home.start()?),
            up => up,
        };
        Ok(())
    }

    /// Starts all that are down, at once.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        std::thread::scope(|scope| {
            let starting: Vec<_> = self
                .members
                .iter_mut()
                .filter(|member| matches!(member, Member::Down(_)))
                .map(|member| {
                    scope.spawn(move || {
                        if let Member::Down(home) = std::mem::replace(member, Member::Lost) {
                            *member = Member::Up(home.start().map_err(|error| error.to_string())?);
                        }
                        Ok::<_, String>(())
                    })
                })
                .collect();
            starting.into_iter().try_for_each(|one| match one.join() {
                Ok(started) => started.map_err(Into::into),
                Err(_) => Err("a thread that starts a broker panicked".into()),
            })
        })
    }

    /// Where a broker that is down keeps its data.
    pub(crate) fn home(&self, id: usize) -> Result<&Home> {
        match &self.members[id - 1] {
            Member::Down(home) => Ok(home),
            Member::Up(_) | Member::Lost => Err(format!("broker {id} is not down").into()),
        }
    }

    fn stop(&mut self, id: usize, how: impl FnOnce(Broker) -> Result<Home>) -> Result<()> {
        let member = std::mem::replace(&mut self.members[id - 1], Member::Lost);
        self.members[id - 1] = match member {
            Member::Up(broker) => Member::Down(how(broker)?),
            down => down,
        };
        Ok(())
    }
}

/// Addresses on loopback that nobody listens on: all held at once, so that they differ.
fn free_addresses(count: usize) -> Result<Vec<String>> {
    let held = (0..count)
        .map(|_| TcpListener::bind(ANY_PORT))
        .collect::<std::io::Result<Vec<_>>>()?;
    let addresses = held.iter().map(|one| Ok(one.local_addr()?.to_string()));
    addresses.collect()
}
