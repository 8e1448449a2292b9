//! What rebalances cost, in seconds and in repetitions. Members commit after they processed: every record is processed at
//! least once whatever happens, and what is repeated was not committed yet.

use super::{
    Flow, GROUP, Member, Seen, describe, describe_group, lock, owners, until, until_shared, until_shared_in,
};
use crate::slack;
use crate::support::cluster::Cluster;
use crate::support::{Result, quipu};
use quipu_client::{Client, ClientConfig, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 60;
/// A record to each partition.
const EVERY: Duration = Duration::from_millis(50);
/// What a member is told besides.
const NOTHING: &[&str] = &[];
/// What is looked at, before and after something happens.
const WINDOW: Duration = Duration::from_secs(5);

/// Three brokers, a flow of records, members that read it.
struct Bed {
    cluster: Cluster,
    addresses: String,
    group: String,
    flow: Flow,
    members: Vec<Member>,
    seen: Seen,
}

impl Bed {
    fn start(members: &[&[&str]]) -> Result<Self> {
        Self::start_in(members, |_, _| Ok(GROUP.to_owned()))
    }

    /// In a group that is chosen once the cluster is there.
    fn start_in(members: &[&[&str]], choose: impl FnOnce(&Cluster, &str) -> Result<String>) -> Result<Self> {
        let cluster = Cluster::start(3, &std::env::temp_dir(), &[])?;
        let addresses = cluster.addresses();
        let partitions = PARTITIONS.to_string();
        let create = ["topic", "create", "t", "--partitions", &partitions];
        quipu(
            &addresses,
            &[&create[..], &["--config", "durability=replicated"]].concat(),
        )?;
        let group = choose(&cluster, &addresses)?;
        let flow = Flow::start(&addresses, "t", PARTITIONS, EVERY);
        let started = members
            .iter()
            .map(|more| Member::start_in(&group, &addresses, "t", more));
        let bed = Self {
            members: started.collect::<Result<_>>()?,
            cluster,
            flow,
            seen: Seen::default(),
            addresses,
            group,
        };
        until_shared_in(&bed.group, &bed.addresses, bed.members.len(), PARTITIONS as usize)?;
        bed.until_flowing(Instant::now())?;
        Ok(bed)
    }

    /// Waits until every partition has given something after this moment, and then for the window.
    fn until_flowing(&self, after: Instant) -> Result<()> {
        until("every partition flows", || {
            let mut flowing = BTreeSet::new();
            for member in &self.members {
                let lines = lock(&member.lines);
                flowing.extend(
                    lines
                        .iter()
                        .rev()
                        .take_while(|line| line.at > after)
                        .map(|line| line.partition),
                );
            }
            Ok(flowing.len() == PARTITIONS as usize)
        })
    }

    /// The window after this moment is over.
    fn watch(&self, from: Instant) -> Result<()> {
        self.until_flowing(from)?;
        until("time passes", || Ok(from.elapsed() > WINDOW))
    }

    /// The longest pause of each partition since this moment, in order.
    fn pauses(&self, from: Instant) -> BTreeMap<u32, Duration> {
        let mut seen = Seen::default();
        for member in &self.members {
            seen.take(&member.lines());
        }
        // What those who are gone have printed counts too.
        for (partition, times) in &self.seen.times {
            seen.times.entry(*partition).or_default().extend(times);
        }
        let to = from + WINDOW;
        (0..PARTITIONS)
            .map(|partition| (partition, seen.pause(partition, from, to)))
            .collect()
    }

    /// Ends it, after everything was processed: records and repetitions.
    fn end(mut self, what: &str) -> Result<(usize, u64)> {
        let ends = self.flow.stop()?;
        let total: u64 = ends.iter().map(|end| end.get()).sum();
        let (members, gone) = (&self.members, &self.seen);
        until("everything is processed", || {
            let mut seen = Seen {
                counts: gone.counts.clone(),
                times: BTreeMap::new(),
            };
            for member in members {
                seen.take(&member.lines());
            }
            Ok(seen.below(&ends) as u64 == total)
        })?;
        for member in std::mem::take(&mut self.members) {
            let (status, lines) = member.terminate()?;
            assert!(status.success(), "{status}");
            self.seen.take(&lines);
        }
        let (records, repeats) = self.seen.check(&ends)?;
        println!("{what}: {records} records, each processed at least once; {repeats} repeated");
        Ok((records, repeats))
    }
}

fn worst<'a>(pauses: impl Iterator<Item = &'a Duration>) -> Duration {
    pauses.max().copied().unwrap_or_default()
}

#[test]
fn a_member_joins_and_only_what_moves_pauses() -> Result<()> {
    let mut bed = Bed::start(&[NOTHING; 5])?;
    let before = owners(&describe(&bed.addresses)?);
    let calm = Instant::now();
    bed.watch(calm)?;
    let idle = worst(bed.pauses(calm).values());
    let joins = Instant::now();
    bed.members.push(Member::start(&bed.addresses, "t", &[])?);
    bed.watch(joins)?;
    until_shared(&bed.addresses, 6, PARTITIONS as usize)?;
    let after = owners(&describe(&bed.addresses)?);
    let pauses = bed.pauses(joins);
    let moved: BTreeSet<u32> = before
        .iter()
        .filter(|(partition, owner)| after.get(partition) != Some(owner))
        .map(|(partition, _)| u32::try_from(*partition).unwrap_or(u32::MAX))
        .collect();
    let of = |moves: bool| {
        worst(
            pauses
                .iter()
                .filter(|(partition, _)| moved.contains(partition) == moves)
                .map(|(_, pause)| pause),
        )
    };
    println!(
        "a sixth member joins five on {PARTITIONS} partitions: {} moved; the longest pause of one that moved {:.3} s, of one \
         that stayed {:.3} s (without a rebalance {:.3} s)",
        moved.len(),
        of(true).as_secs_f64(),
        of(false).as_secs_f64(),
        idle.as_secs_f64()
    );
    assert_eq!(moved.len(), 10, "{moved:?}");
    let (_, repeats) = bed.end("a member joins")?;
    assert_eq!(repeats, 0, "who gives up in order commits before");
    assert!(of(true) < Duration::from_secs(1) + slack(), "{pauses:?}");
    assert!(of(false) < Duration::from_millis(500) + slack(), "{pauses:?}");
    Ok(())
}

#[test]
fn a_killed_member_hands_over() -> Result<()> {
    let mut bed = Bed::start(&[NOTHING; 5])?;
    let victim = bed.members.remove(0);
    let killed = Instant::now();
    let lines = victim.kill()?;
    let its: BTreeSet<u32> = lines.iter().rev().take(200).map(|line| line.partition).collect();
    bed.seen.take(&lines);
    bed.watch(killed)?;
    let pauses = bed.pauses(killed);
    let handed = worst(
        pauses
            .iter()
            .filter(|(partition, _)| its.contains(partition))
            .map(|(_, pause)| pause),
    );
    println!(
        "SIGKILL of one of five members: its {} partitions flow again after {:.3} s at most",
        its.len(),
        handed.as_secs_f64()
    );
    bed.end("a member is killed")?;
    assert!(handed < Duration::from_secs(1) + slack(), "{pauses:?}");
    Ok(())
}

/// What a group has committed, looked at all the time: it never goes backwards.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<std::result::Result<(), String>>,
    last: Arc<Mutex<BTreeMap<u32, Offset>>>,
}

impl Watcher {
    fn start(group: &str, addresses: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let last = Arc::new(Mutex::new(BTreeMap::new()));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&last));
        let (group, addresses) = (group.to_owned(), addresses.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
            let watching = async {
                let config = ClientConfig::new(addresses.split(','));
                let client = Client::connect(config).await.map_err(|error| error.to_string())?;
                while !stopped.load(Ordering::Relaxed) {
                    let known = client.admin().group_offsets(&group).await;
                    for offset in known.map_err(|error| error.to_string())? {
                        let (Some(now), partition) = (offset.committed, offset.partition.partition.get())
                        else {
                            continue;
                        };
                        let before = lock(&seen).insert(partition, now);
                        if before.is_some_and(|before| before > now) {
                            return Err(format!(
                                "partition {partition}: {before:?} was committed, then {now:?}"
                            ));
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(())
            };
            runtime.block_on(watching)
        });
        Self { stop, thread, last }
    }

    fn end(self) -> Result<BTreeMap<u32, Offset>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the watcher panicked")??;
        Ok(lock(&self.last).clone())
    }
}

#[test]
fn the_coordinators_broker_is_killed_and_the_group_goes_on() -> Result<()> {
    the_coordinator_is_killed(false)
}

/// Then there is nobody to give its partitions new leaders, before the others have agreed on who that is.
#[test]
fn the_coordinators_broker_is_killed_that_is_the_active_controller_too_and_the_group_goes_on() -> Result<()> {
    the_coordinator_is_killed(true)
}

fn the_coordinator_is_killed(and_active: bool) -> Result<()> {
    let mut bed = Bed::start_in(&[NOTHING; 3], |cluster, addresses| {
        group_coordinated(cluster, addresses, and_active)
    })?;
    let watcher = Watcher::start(&bed.group, &bed.addresses);
    until("commits are seen", || {
        let seen = lock(&watcher.last);
        Ok(seen.len() == PARTITIONS as usize && seen.values().all(|at| at.get() > 0))
    })?;
    let before = owners(&describe_group(&bed.group, &bed.addresses)?);
    let coordinator = coordinator_of(&bed.group, &bed.addresses)?;
    assert_eq!(
        active_controller(&bed.cluster, &bed.addresses)? == coordinator,
        and_active,
        "one of the two moved before anything was done"
    );
    let also = match and_active {
        true => ", the active controller too",
        false => "",
    };
    let killed = Instant::now();
    bed.cluster.kill(coordinator)?;
    let committed = lock(&watcher.last).clone();
    until("commits go on", || {
        let now = lock(&watcher.last);
        Ok(committed
            .iter()
            .all(|(partition, before)| now.get(partition) > Some(before)))
    })?;
    let commits_after = killed.elapsed();
    bed.watch(killed)?;
    let pauses = bed.pauses(killed);
    let moved = {
        let after = owners(&describe_group(&bed.group, &bed.cluster.addresses())?);
        before
            .iter()
            .filter(|(partition, owner)| after.get(partition) != Some(owner))
            .count()
    };
    println!(
        "SIGKILL of the coordinator's broker ({coordinator}{also}): every partition flows again after {:.3} s at most, all \
         commit again within {:.3} s, {moved} partitions moved, no commit went backwards",
        worst(pauses.values()).as_secs_f64(),
        commits_after.as_secs_f64()
    );
    bed.cluster.restart(coordinator)?;
    let last = watcher.end()?;
    assert!(last.len() == PARTITIONS as usize);
    bed.end("the coordinator's broker is killed")?;
    let limit = Duration::from_secs(3) + slack();
    assert!(worst(pauses.values()) < limit, "{pauses:?}");
    assert!(commits_after < limit, "{commits_after:?}");
    Ok(())
}

/// A group whose coordinator is on the active controller's broker, or on another.
fn group_coordinated(cluster: &Cluster, addresses: &str, on_the_active: bool) -> Result<String> {
    let active = active_controller(cluster, addresses)?;
    for name in (0..100).map(|name| format!("g{name}")) {
        // It is there while somebody is in it.
        let member = Member::start_in(&name, addresses, "t", NOTHING)?;
        until_shared_in(&name, addresses, 1, PARTITIONS as usize)?;
        let coordinator = coordinator_of(&name, addresses)?;
        member.terminate()?;
        if (coordinator == active) == on_the_active {
            return Ok(name);
        }
    }
    Err("no group's coordinator is where it shall be".into())
}

fn coordinator_of(group: &str, addresses: &str) -> Result<usize> {
    let coordinator = describe_group(group, addresses)?["coordinator"].as_u64();
    Ok(usize::try_from(coordinator.ok_or("no coordinator")?)?)
}

fn active_controller(cluster: &Cluster, addresses: &str) -> Result<usize> {
    let runtime = tokio::runtime::Runtime::new()?;
    let found = runtime.block_on(async {
        let client = Client::connect(ClientConfig::new(addresses.split(','))).await;
        let client = client.map_err(|error| error.to_string())?;
        let found = client.admin().controllers().await;
        found.map_err(|error| error.to_string())
    })?;
    let active = found.controllers.iter().find(|controller| controller.active);
    let active = active.ok_or("no controller is active")?;
    Ok(cluster
        .id_at(&active.address)
        .ok_or("the active controller is none of the brokers")?)
}

#[test]
fn a_static_member_restarts_and_nothing_moves() -> Result<()> {
    let names = ["one", "two", "three"].map(|name| ["--instance-id", name]);
    let mut bed = Bed::start(&names.each_ref().map(|args| &args[..]))?;
    let before = owners(&describe(&bed.addresses)?);
    let began = Instant::now();
    let (status, lines) = bed.members.remove(1).terminate()?;
    assert!(status.success(), "{status}");
    bed.seen.take(&lines);
    let during = owners(&describe(&bed.addresses)?);
    bed.members.push(Member::start(&bed.addresses, "t", &names[1])?);
    bed.watch(began)?;
    let after = owners(&describe(&bed.addresses)?);
    let pauses = bed.pauses(began);
    println!(
        "a static member restarts: 0 of {} partitions moved; its own were away for {:.3} s",
        after.len(),
        worst(pauses.values()).as_secs_f64()
    );
    assert_eq!(before, after);
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 3);
    assert!(
        during
            .values()
            .all(|owner| names.iter().any(|[_, name]| name == owner))
    );
    let (_, repeats) = bed.end("a static member restarts")?;
    assert_eq!(repeats, 0);
    Ok(())
}
