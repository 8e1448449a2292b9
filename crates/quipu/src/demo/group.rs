//! The group that consumes while the flights are produced: processes of their own, as a user would start them. A third one joins
//! on the way, the first one is killed.

use super::proof::{Consumed, Place, Processed};
use super::read_back;
use crate::broker_process::is_configuration;
use crate::output::Failure;
use quipu_client::{Client, GroupState, Offset, PartitionId};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Its name.
pub(super) const GROUP: &str = "flight-watchers";
/// A member's line: where the record is.
const FORMAT: &str = "%p %o\\n";
/// What was waited for so long will not happen any more.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Something that made the group share anew.
#[derive(Clone, Debug)]
pub(super) struct Rebalance {
    /// What happened.
    pub(super) what: &'static str,
    /// Partitions of each member before it.
    pub(super) before: Vec<usize>,
    /// And after.
    pub(super) after: Vec<usize>,
    /// Partitions that another member has now.
    pub(super) moved: usize,
    /// Until every partition gave records again.
    pub(super) flowing: Duration,
}

/// The members.
pub(super) struct Group {
    topic: &'static str,
    partitions: u32,
    addresses: String,
    members: Vec<Member>,
}

/// A record that a member printed, and when.
#[derive(Clone, Copy)]
struct Line {
    place: Place,
    at: Instant,
}

/// A member's process. Dropped, it is killed.
struct Member {
    child: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    killed: bool,
    /// Held open: it closes with this process, and the member leaves.
    _stdin: Option<ChildStdin>,
}

impl Group {
    /// Starts two members; they share the partitions on return.
    pub(super) async fn start(
        client: &Client,
        topic: &'static str,
        partitions: u32,
        addresses: &[String],
    ) -> Result<Self, Failure> {
        let mut group = Self {
            topic,
            partitions,
            addresses: addresses.join(","),
            members: Vec::new(),
        };
        for _ in 0..2 {
            group.join()?;
        }
        group.until_shared(client).await?;
        Ok(group)
    }

    fn join(&mut self) -> Result<(), Failure> {
        let binary = std::env::current_exe().map_err(Failure::new)?;
        let mut command = Command::new(binary);
        // What is configured for other clusters of this user is not for it.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_configuration(name)) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["consume", self.topic, "--group", GROUP, "--format", FORMAT])
            .args(["--bootstrap", &self.addresses, "--stop-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            // An interrupt is the demo's to deal with.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::new(format_args!("cannot start a member: {error}")))?;
        let lines = Arc::default();
        if let Some(out) = child.stdout.take() {
            tokio::spawn(read(out, Arc::clone(&lines)));
        }
        self.members.push(Member {
            _stdin: child.stdin.take(),
            child,
            lines,
            killed: false,
        });
        Ok(())
    }

    /// A third member joins.
    pub(super) async fn third(&mut self, client: &Client) -> Result<Rebalance, Failure> {
        let (before, begun) = (owners(client).await?, Instant::now());
        self.join()?;
        self.rebalanced("a third member joined", &before, begun, client)
            .await
    }

    /// The first member is killed.
    pub(super) async fn kill_one(&mut self, client: &Client) -> Result<Rebalance, Failure> {
        let before = owners(client).await?;
        self.members[0].killed = true;
        let begun = Instant::now();
        self.members[0].child.kill().await.map_err(Failure::new)?;
        self.rebalanced("a member was killed", &before, begun, client)
            .await
    }

    async fn rebalanced(
        &mut self,
        what: &'static str,
        before: &BTreeMap<PartitionId, String>,
        begun: Instant,
        client: &Client,
    ) -> Result<Rebalance, Failure> {
        let after = self.until_shared(client).await?;
        let flowing = self
            .until_flowing(Instant::now(), client)
            .await?
            .duration_since(begun);
        let moved = after
            .iter()
            .filter(|(partition, owner)| before.get(*partition) != Some(*owner));
        Ok(Rebalance {
            what,
            before: shares(before),
            after: shares(&after),
            moved: moved.count(),
            flowing,
        })
    }

    /// Waits until exactly those that live share all partitions: who has which.
    async fn until_shared(&mut self, client: &Client) -> Result<BTreeMap<PartitionId, String>, Failure> {
        let living = self.members.iter().filter(|member| !member.killed).count();
        let begun = Instant::now();
        loop {
            // There is no group before the first has joined.
            if let Ok(group) = client.admin().describe_group(GROUP).await
                && group.state == GroupState::Stable
                && group.members.len() == living
            {
                let owners = owners_of(group);
                if owners.len() == self.partitions as usize {
                    return Ok(owners);
                }
            }
            self.all_there()?;
            patient(begun, "the group does not share the partitions")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// When every partition had given a record after this moment, or had nothing left to give.
    async fn until_flowing(&mut self, after: Instant, client: &Client) -> Result<Instant, Failure> {
        let begun = Instant::now();
        loop {
            let mut first: BTreeMap<PartitionId, Instant> = BTreeMap::new();
            for member in self.members.iter().filter(|member| !member.killed) {
                for line in lock(&member.lines)
                    .iter()
                    .rev()
                    .take_while(|line| line.at > after)
                {
                    let first = first.entry(line.place.partition).or_insert(line.at);
                    *first = (*first).min(line.at);
                }
            }
            if first.len() < self.partitions as usize {
                for (partition, end) in read_back::ends(client, self.topic, self.partitions).await? {
                    if self.has_all(&[(partition, end)]) {
                        first.entry(partition).or_insert_with(Instant::now);
                    }
                }
            }
            if first.len() == self.partitions as usize {
                return Ok(first.into_values().max().unwrap_or(after));
            }
            self.all_there()?;
            patient(begun, "not every partition gives records to the group")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until everything below `ends` was processed, lets the members leave, and says what each of them processed and
    /// what they committed.
    pub(super) async fn finish(
        mut self,
        client: &Client,
        ends: &[(PartitionId, Offset)],
    ) -> Result<Consumed, Failure> {
        let begun = Instant::now();
        while !self.has_all(ends) {
            self.all_there()?;
            patient(begun, "the group does not process all that there is")?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for member in self.members.iter_mut().filter(|member| !member.killed) {
            member.leave().await?;
        }
        let committed = client.admin().group_offsets(GROUP).await?;
        let committed = committed.into_iter().filter_map(|offset| {
            let partition = offset.partition.partition;
            offset.committed.map(|committed| (partition, committed))
        });
        let mut seen: Vec<(Instant, Processed)> = Vec::new();
        for (number, member) in self.members.iter().enumerate() {
            seen.extend(lock(&member.lines).iter().map(|line| {
                let (member, place) = (number, line.place);
                (line.at, Processed { member, place })
            }));
        }
        // Stable: what one member did stays in its order.
        seen.sort_by_key(|(at, _)| *at);
        Ok(Consumed {
            killed: self.members.iter().map(|member| member.killed).collect(),
            processed: seen.into_iter().map(|(_, processed)| processed).collect(),
            committed: committed.collect(),
        })
    }

    /// No member has ended by itself.
    fn all_there(&mut self) -> Result<(), Failure> {
        for member in self.members.iter_mut().filter(|member| !member.killed) {
            if let Some(status) = member.child.try_wait().map_err(Failure::new)? {
                return Err(Failure::new(format_args!(
                    "a member of the group ended with {status}"
                )));
            }
        }
        Ok(())
    }

    fn has_all(&self, ends: &[(PartitionId, Offset)]) -> bool {
        ends.iter().all(|(partition, end)| {
            self.members.iter().any(|member| {
                let lines = lock(&member.lines);
                let last = lines.iter().rev().find(|line| line.place.partition == *partition);
                last.is_some_and(|line| line.place.offset.next() >= *end)
            }) || *end == Offset::ZERO
        })
    }
}

impl Member {
    /// SIGTERM: it commits and leaves.
    async fn leave(&mut self) -> Result<(), Failure> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(Failure::new)?;
        }
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended
            .map_err(|_| Failure::new("a member does not end"))?
            .map_err(Failure::new)?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format_args!("a member ended with {status}")))
        }
    }
}

async fn read(out: ChildStdout, lines: Arc<Mutex<Vec<Line>>>) {
    let mut out = BufReader::new(out).lines();
    // It ends with the member.
    while let Ok(Some(line)) = out.next_line().await {
        let place = line.split_once(' ').and_then(|(partition, offset)| {
            Some(Place {
                partition: PartitionId::new(partition.parse().ok()?),
                offset: Offset::new(offset.parse().ok()?),
            })
        });
        if let Some(place) = place {
            let at = Instant::now();
            lock(&lines).push(Line { place, at });
        }
    }
}

fn lock(lines: &Mutex<Vec<Line>>) -> MutexGuard<'_, Vec<Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn patient(begun: Instant, what: &str) -> Result<(), Failure> {
    if begun.elapsed() > PATIENCE {
        return Err(Failure::new(what));
    }
    Ok(())
}

async fn owners(client: &Client) -> Result<BTreeMap<PartitionId, String>, Failure> {
    Ok(owners_of(client.admin().describe_group(GROUP).await?))
}

fn owners_of(group: quipu_client::GroupDescription) -> BTreeMap<PartitionId, String> {
    let members = group.members.into_iter();
    let owned = members.flat_map(|member| {
        let id = member.member_id;
        let owned = member.owned.into_iter();
        owned.map(move |owned| (owned.partition, id.clone()))
    });
    owned.collect()
}

/// How many partitions each member has.
fn shares(owners: &BTreeMap<PartitionId, String>) -> Vec<usize> {
    let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
    for owner in owners.values() {
        *shares.entry(owner).or_default() += 1;
    }
    shares.into_values().collect()
}
