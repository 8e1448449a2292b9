//! Real clusters: several brokers that are controllers as well, started at once since none is ready alone.

use super::{ANY_PORT, Broker, Home, Result};
use std::net::TcpListener;
use std::path::Path;

/// Brokers 1, 2, 3 ... of one cluster, each with its controller. Dropped, they are killed and their directories removed.
pub(crate) struct Cluster {
    members: Vec<Member>,
    /// So many of the first are no brokers.
    controllers: usize,
    voters: String,
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
        let voters = internal.join(",");
        let members = internal.into_iter().enumerate().map(|(at, internal)| {
            let own = [
                format!("broker.id={}", at + 1),
                format!("controllers.voters={voters}"),
            ];
            member(parent, internal, own.into_iter().chain(settings.iter().cloned()))
        });
        let mut cluster = Self {
            members: members.collect::<Result<_>>()?,
            controllers: 0,
            voters: voters.clone(),
        };
        cluster.start_all()?;
        Ok(cluster)
    }

    /// The same, with controllers that are no brokers: they come first, the brokers after them.
    pub(crate) fn start_with_controllers(
        controllers: usize,
        brokers: usize,
        parent: &Path,
        settings: &[String],
    ) -> Result<Self> {
        let internal = free_addresses(controllers + brokers)?;
        let voters = internal[..controllers].join(",");
        let members = internal.into_iter().enumerate().map(|(at, internal)| {
            let role = if at < controllers { "controller" } else { "broker" };
            let own = [
                format!("broker.id={}", at + 1),
                format!("broker.roles={role}"),
                format!("controllers.voters={voters}"),
            ];
            member(parent, internal, own.into_iter().chain(settings.iter().cloned()))
        });
        let mut cluster = Self {
            members: members.collect::<Result<_>>()?,
            controllers,
            voters: voters.clone(),
        };
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Three that do not agree on who votes: what they say.
    pub(crate) fn start_disagreeing(parent: &Path) -> Result<String> {
        let internal = free_addresses(3)?;
        let mut members = Vec::new();
        for (at, own) in internal.iter().enumerate() {
            let mut voters = internal.clone();
            if at == 2 {
                voters.swap(0, 1);
            }
            let settings = [
                format!("broker.id={}", at + 1),
                format!("controllers.voters={}", voters.join(",")),
            ];
            members.push(member(parent, own.clone(), settings.into_iter())?);
        }
        let mut cluster = Self {
            members,
            controllers: 0,
            voters: String::new(),
        };
        match cluster.start_all() {
            Ok(()) => Err("they began a cluster though they disagree".into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// The internal addresses of the controllers that it began with, separated by commas.
    pub(crate) fn voters(&self) -> String {
        self.voters.clone()
    }

    /// Who has this internal address.
    pub(crate) fn id_at(&self, internal: &str) -> Option<usize> {
        let is = |member: &Member| match member {
            Member::Up(broker) => broker.internal() == internal,
            Member::Down(home) => home.internal == internal,
            Member::Lost => false,
        };
        self.members.iter().position(is).map(|at| at + 1)
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

    /// The brokers that run (and not the controllers that are no brokers).
    pub(crate) fn brokers(&self) -> impl Iterator<Item = (usize, &Broker)> {
        let up = |(at, member): (usize, &'_ Member)| match member {
            Member::Up(_) => Some(at + 1),
            Member::Down(_) | Member::Lost => None,
        };
        let brokers = self.members.iter().enumerate().skip(self.controllers);
        let ids: Vec<usize> = brokers.filter_map(up).collect();
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
        self.stop(id, terminated)
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
        self.all_at_once(|member| match member {
            Member::Down(home) => Ok(Member::Up(home.start()?)),
            other => Ok(other),
        })
    }

    /// SIGTERM to all that are up, at once; all must end cleanly.
    pub(crate) fn terminate_all(&mut self) -> Result<()> {
        self.all_at_once(|member| match member {
            Member::Up(broker) => terminated(broker).map(Member::Down),
            other => Ok(other),
        })
    }

    fn all_at_once(&mut self, how: impl Fn(Member) -> Result<Member> + Copy + Send) -> Result<()> {
        std::thread::scope(|scope| {
            let each = self.members.iter_mut().map(|member| {
                scope.spawn(move || {
                    let was = std::mem::replace(member, Member::Lost);
                    *member = how(was).map_err(|error| error.to_string())?;
                    Ok::<_, String>(())
                })
            });
            let each: Vec<_> = each.collect();
            each.into_iter().try_for_each(|one| match one.join() {
                Ok(done) => done.map_err(Into::into),
                Err(_) => Err("a thread of the helper panicked".into()),
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

fn member(parent: &Path, internal: String, settings: impl Iterator<Item = String>) -> Result<Member> {
    let directory = tempfile::Builder::new()
        .prefix("quipu-test-")
        .tempdir_in(parent)?;
    Ok(Member::Down(Home {
        directory,
        args: settings.flat_map(|set| ["--set".to_owned(), set]).collect(),
        listen: ANY_PORT.to_owned(),
        internal,
    }))
}

fn terminated(broker: Broker) -> Result<Home> {
    let (pid, log) = (broker.pid(), broker.log());
    let (status, home) = broker.terminate()?;
    if !status.success() {
        return Err(format!("broker process {pid} ended with {status}\n{log}").into());
    }
    Ok(home)
}

/// Addresses on loopback that nobody listens on: all held at once, so that they differ.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<String>> {
    let held = (0..count)
        .map(|_| TcpListener::bind(ANY_PORT))
        .collect::<std::io::Result<Vec<_>>>()?;
    let addresses = held.iter().map(|one| Ok(one.local_addr()?.to_string()));
    addresses.collect()
}
