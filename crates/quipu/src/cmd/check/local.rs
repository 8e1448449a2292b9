//! Against a cluster of its own, which is broken on the way.

use super::faults::Faults;
use super::load::{Load, StopEarly, Worked, told};
use super::plan::Plan;
use super::tell::{Done, say_begin};
use super::{remote, replicas};
use crate::brokers::Brokers;
use crate::cli::{client_config, connect};
use crate::output::{Failure, Output, say};
use quipu_workload::Chance;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A client's call is given up after this time: a paused broker does not answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// So that the choices of the faults are not those of the clients.
const FAULTS_SALT: u64 = 0x6661_756c_7473;

const NOT_EXERCISED: &[&str] = &[
    "power cuts: SIGKILL leaves what the operating system has not yet written",
    "lost, full or damaged disks",
    "cut or slow networks, and clocks that run wrong",
];

pub(super) async fn run(plan: &Plan, out: Output, stop: StopEarly) -> Result<Done, Failure> {
    let directory = tempfile::Builder::new().prefix("quipu-check-").tempdir();
    let directory =
        directory.map_err(|e| Failure::new(format_args!("cannot make a temporary directory: {e}")))?;
    let done = exercise(plan, directory.path(), out, stop).await;
    keep_logs(plan, directory.path());
    let removed = directory.close();
    let done = done?;
    removed.map_err(|error| Failure::new(format_args!("cannot remove the temporary directory: {error}")))?;
    Ok(done)
}

/// What the brokers said, if they said anything.
fn keep_logs(plan: &Plan, directory: &Path) {
    for broker in 0..plan.brokers {
        let name = format!("broker-{broker}.log");
        let said = std::fs::read(directory.join(&name)).unwrap_or_default();
        if said.is_empty() {
            continue;
        }
        if let Err(error) = std::fs::write(plan.out.join(&name), said) {
            say(format_args!("cannot write {name}: {error}"));
        }
    }
}

async fn exercise(plan: &Plan, directory: &Path, out: Output, stop: StopEarly) -> Result<Done, Failure> {
    let mut brokers = Brokers::start(directory, plan.brokers).await?;
    let addresses = brokers.addresses();
    say_begin(plan, plan.brokers, out)?;
    let client = connect(&addresses).await?;
    let config = client_config(&addresses, CALL_TIMEOUT);
    let load = Load::start(plan, config, remote::topic(plan.brokers), stop).await?;
    let recorder = Arc::clone(&load.recorder);
    let faults = Faults {
        brokers: &mut brokers,
        kinds: &plan.faults,
        topic: &plan.topic,
        recorder: &recorder,
        client: &client,
        clock: load.clock.clone(),
        chance: Chance::new(plan.seed ^ FAULTS_SALT),
    };
    let ((), broken) = tokio::join!(load.work(), faults.run());
    let mut incidents = Vec::new();
    incidents.extend(broken.err().map(|failure| failure.to_string()));
    let healed = brokers.until_in_sync(&client, &plan.topic).await;
    incidents.extend(healed.err().map(|failure| failure.to_string()));
    let Worked {
        recorder,
        ends,
        incomplete,
    } = load.finish().await;
    let topic = client.admin().get_topic(&plan.topic).await;
    drop(client);
    match (brokers.stop().await, topic) {
        (Err(failure), _) => incidents.push(failure.to_string()),
        (Ok(_), Err(error)) => incidents.push(format!("the topic is not there: {error}")),
        (Ok(specs), Ok(topic)) => {
            for op in replicas::read(&specs, &topic, &ends).await? {
                told(&recorder, op)?;
            }
        }
    }
    Ok(Done {
        recorder,
        nodes: plan.brokers,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        not_exercised: NOT_EXERCISED.iter().map(ToString::to_string).collect(),
        incidents,
        incomplete,
    })
}
