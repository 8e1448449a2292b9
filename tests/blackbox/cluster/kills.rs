//! SIGKILL under load: of leaders, of followers, of whoever is the active controller. Nothing acknowledged is lost, nothing
//! is doubled or reordered, and others take over.

use super::{ACKED_BETWEEN, Bed, Times, member, until_acknowledged};
use crate::slack;
use crate::support::cluster::Cluster;
use crate::support::{Result, signal};
use quipu_client::{BrokerId, PartitionDescription, PartitionId};
use std::time::{Duration, Instant};

/// Of each kind, unless `QUIPU_KILLS` says more.
const KILLS: usize = 3;

/// In this time a dead leader is replaced, with the defaults, and whatever else it was.
const REPLACED: Duration = Duration::from_secs(2);

fn kills() -> usize {
    let told = std::env::var("QUIPU_KILLS").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or(KILLS)
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// One who leads, and is not the active controller.
    Leader,
    /// One who follows, and is not the active controller; what it leads is not looked at.
    Follower,
    /// The active controller, which leads and follows like all others.
    Controller,
}

impl Victim {
    /// A broker, and the partitions that must do without it.
    fn choose(
        self,
        partitions: &[PartitionDescription],
        controller: BrokerId,
    ) -> Option<(BrokerId, Vec<PartitionId>)> {
        let broker = match self {
            Self::Controller => controller,
            Self::Leader | Self::Follower => partitions
                .iter()
                .filter_map(|partition| partition.leader)
                .find(|leader| *leader != controller)?,
        };
        let affected = partitions.iter().filter(|partition| match self {
            Self::Leader => partition.leader == Some(broker),
            Self::Follower => partition.leader != Some(broker),
            Self::Controller => true,
        });
        Some((broker, affected.map(|partition| partition.partition).collect()))
    }
}

/// Kills one and waits for the next acknowledgements; starts it again and waits until it is in sync.
fn kill(bed: &mut Bed, victim: Victim) -> Result<Duration> {
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    let controller = BrokerId::new(u32::try_from(bed.active_controller(None)?)?);
    let (broker, affected) = victim
        .choose(&bed.partitions()?, controller)
        .ok_or("nobody to kill")?;
    bed.recorder()?
        .fault(format!("kill of broker {broker}, {victim:?}"))?;
    let killed = Instant::now();
    signal(
        bed.cluster.broker(member(broker))?.pid(),
        rustix::process::Signal::KILL,
    )?;
    bed.cluster.kill(member(broker))?;
    let took = until_acknowledged(bed, &affected, killed)?;
    bed.cluster.restart(member(broker))?;
    bed.until_in_sync()?;
    println!(
        "{victim:?}, broker {broker}: {:.3} s to the next acknowledgement on {} partitions, in sync again after {:.3} s",
        took.as_secs_f64(),
        affected.len(),
        killed.elapsed().as_secs_f64()
    );
    Ok(took)
}

#[test]
fn killed_brokers_cost_nothing_but_time() -> Result<()> {
    let mut bed = Bed::combined()?;
    let kinds = [
        ("kills of a leader", Victim::Leader),
        ("kills of a follower", Victim::Follower),
        ("kills of the active controller", Victim::Controller),
    ];
    let mut all = Vec::new();
    for (name, victim) in kinds {
        let times = (0..kills()).map(|_| kill(&mut bed, victim));
        all.push(Times(name, times.collect::<Result<_>>()?));
    }
    let verdict = bed.verdict()?;
    assert_eq!(verdict.counts.faults, 3 * kills());
    assert_eq!((verdict.counts.fail, verdict.counts.info), (0, 0), "{verdict}");
    let late = all.iter().flat_map(|times| &times.1);
    let late = late.filter(|took| **took >= REPLACED + slack()).count();
    all.into_iter().for_each(Times::print);
    assert_eq!(late, 0, "new leaders took longer");
    Ok(())
}

/// Who only votes is not missed at all.
#[test]
fn a_killed_controller_that_is_no_broker_makes_no_pause() -> Result<()> {
    let cluster = Cluster::start_with_controllers(3, 3, &std::env::temp_dir(), &[])?;
    let mut bed = Bed::over(cluster)?;
    let partitions: Vec<PartitionId> = (0..super::SHAPE.partitions).map(PartitionId::new).collect();
    let mut times = Vec::new();
    for _ in 0..kills().min(10) {
        bed.load()?.until_in_flight(ACKED_BETWEEN)?;
        let active = bed.active_controller(None)?;
        bed.recorder()?.fault(format!("kill of controller {active}"))?;
        let killed = Instant::now();
        bed.cluster.kill(active)?;
        times.push(until_acknowledged(&bed, &partitions, killed)?);
        // Another is active before this one is back: the metadata can be changed without it.
        bed.active_controller(Some(active))?;
        bed.cluster.restart(active)?;
    }
    bed.verdict()?;
    Times("kills of a dedicated controller", times).print();
    Ok(())
}
