//! Every workload at once against three brokers: what clients did and saw, and what lies on the disks in the end, is what
//! may be. And the same history with one thing changed in it is not.

use crate::support::cluster::Cluster;
use crate::support::{PATIENCE, Result, quipu};
use quipu_checker::{AnomalyKind, Event, History, Kind, Op, Verdict, check};
use quipu_client::{BrokerId, Client, ClientConfig, NewTopic, TopicDescription};
use quipu_workload::{Chance, Pace, Polled, Recorder, Site, Tasks, poll_to_the_end, replica_ops, workloads};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SEED: u64 = 5;
const PARTITIONS: u32 = 3;
/// Of each there is so much before it ends.
const ACKED: u64 = 1_500;
const READ: u64 = 1_500;
const PACE: Pace = Pace {
    records_per_second: 1_000,
    polls_per_second: 10,
    calls_per_second: 20,
};

/// Whether something of every kind has happened by now.
fn enough(recorder: &Recorder) -> bool {
    let live = recorder.live();
    live.acked >= ACKED
        && live.read >= READ
        && recorder.with_history(|history| {
            let told = |kind: Kind, is: fn(&Op) -> bool| {
                let mut events = history.events().iter();
                events.any(|event| event.kind == kind && is(&event.op))
            };
            let happened = |is| told(Kind::Ok, is);
            happened(|op| matches!(op, Op::Latest(_)))
                && happened(|op| matches!(op, Op::Commit(_)))
                && happened(|op| matches!(op, Op::Committed(one) if one.found.is_some()))
                && happened(|op| matches!(op, Op::MetadataRead(one) if !one.topics.is_empty()))
                && happened(|op| matches!(op, Op::MetadataWrite(_)))
                && told(Kind::Info, |op| matches!(op, Op::Released(_)))
        })
}

/// A cluster, and every workload at work on it.
struct Work {
    site: Site,
    tasks: Tasks,
    cluster: Cluster,
    // Last: what runs on it is dropped before.
    runtime: Runtime,
}

impl Work {
    fn start(seed: u64) -> Result<Self> {
        let cluster = Cluster::start(3, &std::env::temp_dir(), &[])?;
        let config = ClientConfig::new(cluster.addresses().split(','));
        let site = Site::new(&Recorder::new(), config, "w", PARTITIONS).with_pace(PACE);
        let runtime = Runtime::new()?;
        let topic = NewTopic::default().with_replication_factor(3);
        runtime.block_on(site.create_topic(topic, PATIENCE))?;
        let (mut tasks, mut chance) = (Tasks::new(), Chance::new(seed));
        let entered = runtime.enter();
        for name in workloads::NAMES {
            let workload = workloads::named(name).ok_or("no such workload")?;
            workload.spawn(&site, chance.fork(), &mut tasks);
        }
        drop(entered);
        Ok(Self {
            site,
            tasks,
            cluster,
            runtime,
        })
    }

    /// Waits until something holds of the history.
    fn until(&mut self, what: &str, holds: impl Fn(&Recorder) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.site.recorder) {
            if let Some(error) = self.tasks.broken() {
                return Err(error.into());
            }
            if Instant::now() > deadline {
                return Err(format!("no {what}: {:?}", self.site.recorder.live()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The reading at the end, by new clients and from the disks of the stopped brokers: all that was recorded.
    fn finish(self) -> Result<(Polled, History)> {
        let Self {
            site,
            tasks,
            cluster,
            runtime,
        } = self;
        let (polled, topic) = runtime.block_on(async {
            tasks.stop(PATIENCE).await?;
            site.recorder.tell(Op::FinalPolls)?;
            let polled = poll_to_the_end(&site, PATIENCE).await?;
            let client = Client::connect(site.config.clone()).await?;
            let topic = client.admin().get_topic(&site.topic).await?;
            Ok::<_, Box<dyn std::error::Error>>((polled, topic))
        })?;
        drop(runtime);
        for op in replicas(cluster, &polled, &topic)? {
            site.recorder.tell(op)?;
        }
        let recorder = Arc::clone(&site.recorder);
        drop(site);
        let history = recorder.into_history().ok_or("somebody still records")?;
        Ok((polled, history))
    }
}

/// What the stopped brokers hold.
fn replicas(mut cluster: Cluster, polled: &Polled, topic: &TopicDescription) -> Result<Vec<Op>> {
    cluster.terminate_all()?;
    let mut ops = Vec::new();
    for id in 1..=cluster.len() {
        let logs = cluster.home(id)?.data_dir().join("logs").display().to_string();
        let text = quipu("", &["log", "dump", &logs, "--headers", "-o", "json"])?;
        let replica = BrokerId::new(u32::try_from(id)?);
        ops.extend(replica_ops(
            &text,
            replica,
            std::slice::from_ref(topic),
            &polled.ends,
        )?);
    }
    Ok(ops)
}

/// The verdict on a history that differs in one event from this one.
fn with_one_changed(history: &History, change: impl Fn(&mut Event) -> bool) -> Result<Verdict> {
    let mut changed = History::default();
    let mut done = false;
    for event in history.events() {
        let mut event = event.clone();
        done = done || change(&mut event);
        changed.push(event)?;
    }
    assert!(done, "there was nothing to change");
    Ok(check(&changed))
}

/// Nothing was found, and there was something to look at.
fn clean(history: &History) -> Verdict {
    let verdict = check(history);
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.unchecked.is_empty(), "{verdict}");
    assert!(verdict.counts.acked as u64 >= ACKED, "{verdict}");
    verdict
}

#[test]
fn all_workloads_at_once_are_clean_and_a_changed_history_is_not() -> Result<()> {
    let mut work = Work::start(SEED)?;
    work.until("end of it", enough)?;
    let (polled, history) = work.finish()?;
    clean(&history);
    assert!(polled.records >= ACKED, "{polled:?}");

    // One acknowledgement is moved by one offset.
    let moved = with_one_changed(&history, |event| match &mut event.op {
        Op::Send(send) if event.kind == Kind::Ok && send.offset.is_some() => {
            send.offset = send.offset.map(quipu_client::Offset::next);
            true
        }
        _ => false,
    })?;
    assert!(
        moved.found.contains_key(&AnomalyKind::InconsistentOffsets),
        "{moved}"
    );
    // One replica's batch has another checksum.
    let torn = with_one_changed(&history, |event| match &mut event.op {
        Op::Final(last) if !last.batches.is_empty() => {
            last.batches[0].crc ^= 1;
            true
        }
        _ => false,
    })?;
    assert!(torn.found.contains_key(&AnomalyKind::DivergedReplicas), "{torn}");
    Ok(())
}

/// How often a broker is killed; `QUIPU_KILLS` says otherwise.
fn kills() -> usize {
    let told = std::env::var("QUIPU_KILLS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn all_workloads_at_once_go_through_a_killed_broker() -> Result<()> {
    let mut work = Work::start(SEED + 1)?;
    for kill in 1..=kills() {
        let (acked, id) = (work.site.recorder.acked(), kill % 3 + 1);
        work.until("load", |recorder| recorder.acked() >= acked + ACKED / 3)?;
        let what = format!("kill {kill}: broker {id}");
        work.site.recorder.fault_begins("kill", &what)?;
        work.cluster.kill(id)?;
        work.cluster.restart(id)?;
        let back = work.site.recorder.fault_ends("kill", &what)?;
        let keys = work.site.keys().to_vec();
        work.until("acknowledgement on every partition", |recorder| {
            recorder.first_ack_of_all_after(&keys, back).is_some()
        })?;
    }
    work.until("end of it", enough)?;
    let (polled, history) = work.finish()?;
    let verdict = clean(&history);
    assert_eq!(verdict.counts.faults, kills(), "{verdict}");
    assert!(polled.records >= ACKED, "{polled:?}");
    Ok(())
}
