//! CheckCluster: what is wrong, where, and what to do. Pure, over an image and what the broker knows of itself.

use crate::controllers::Survey;
use quipu_controller::Controller;
use quipu_metadata::{Broker, Image, Partition, Topic};
use quipu_proto::v1::{self, Severity};
use quipu_record::{BrokerId, PartitionId};
use std::collections::BTreeSet;
use std::time::Duration;

/// One message must not hold thousands of partitions that all miss the same broker.
const FINDINGS_MAX: usize = 1000;

/// What is wrong with this broker's own logs and disk.
pub trait LocalFindings: Send + Sync + 'static {
    /// What is wrong now; topics have names in `image`.
    fn findings(&self, image: &Image) -> Vec<v1::Finding>;
}

/// One finding.
#[must_use]
pub fn finding(
    severity: Severity,
    subject: impl Into<String>,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> v1::Finding {
    v1::Finding {
        severity: severity.into(),
        subject: subject.into(),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

/// A majority that did not answer for so long is not there.
const MAJORITY_SILENT_MAX: Duration = Duration::from_secs(5);
/// A controller that is further behind is too slow, or cut off.
const LAG_MAX: u64 = 1000;

/// What the controllers show to be wrong, by their own words.
pub(super) fn controllers(survey: &Survey, local: Option<&Controller>) -> Vec<v1::Finding> {
    let failure = local.and_then(|local| local.status().failure);
    if let Some(failure) = failure {
        return vec![finding(
            Severity::Critical,
            "controller",
            failure.to_string(),
            "the broker is going down: look at its log and at the disk that it names, then start it again",
        )];
    }
    let mut findings = Vec::new();
    let newest = survey.active().map(|active| active.version.get());
    let silent = local.and_then(|local| local.status().quorum_silent);
    if newest.is_none() || silent.is_some_and(|silent| silent > MAJORITY_SILENT_MAX) {
        findings.push(finding(
            Severity::Critical,
            "controllers",
            "no controller is active: topics cannot be changed, and no partition gets a new leader",
            "start the controllers that are down; a majority of them must run",
        ));
    }
    for node in survey.nodes.iter().filter(|node| node.voter) {
        let subject = || format!("controller {}", node.member.id);
        let at = &node.member.address;
        match &node.status {
            None => findings.push(finding(
                Severity::Warning,
                subject(),
                format!("it does not answer at {at}: one more that fails may be one too many"),
                "start it again; if its disk is lost, start an empty one and run quipu controller replace",
            )),
            Some(status) => {
                let behind = newest.unwrap_or(0).saturating_sub(status.version.get());
                if behind > LAG_MAX {
                    findings.push(finding(
                        Severity::Warning,
                        subject(),
                        format!("at {at}, it is {behind} changes behind the active one"),
                        "look at its disk and its network; it must catch up before it can take over",
                    ));
                }
            }
        }
    }
    let voters = survey.nodes.iter().filter(|node| node.voter).count();
    if voters == 2 {
        findings.push(finding(
            Severity::Warning,
            "controllers",
            "there are two: the loss of either stops changes of the metadata",
            "let a third one join (quipu controller join)",
        ));
    }
    findings
}

/// What the metadata shows to be wrong.
pub(super) fn cluster(image: &Image) -> Vec<v1::Finding> {
    let mut findings: Vec<_> = image.brokers().filter_map(|b| broker(b)).collect();
    for (topic, index, state) in image.partitions() {
        partition(image, topic, index, state, &mut findings);
    }
    if !is_alone(image) {
        findings.extend(image.topics().filter_map(|topic| growing(topic)));
    }
    findings
}

/// What is as it must be in a cluster like this one, and may surprise.
pub(super) fn notes(image: &Image) -> Vec<String> {
    let internal = image.topics().filter(|topic| is_alone(image) && topic.internal);
    let note = |topic: &Topic| {
        let name = &topic.name;
        format!(
            "{name} has one replica: a cluster of one broker cannot do better; more brokers get replicas of it by themselves"
        )
    };
    internal.map(|topic| note(topic)).collect()
}

/// Whether one broker is all there is.
fn is_alone(image: &Image) -> bool {
    image.broker_count() == 1
}

/// Replicas of the cluster's own topics, as soon as there are brokers for them.
const INTERNAL_REPLICAS: usize = 3;

/// What an internal topic was made without, and gets by itself.
fn growing(topic: &Topic) -> Option<v1::Finding> {
    let replicas = topic
        .partitions
        .iter()
        .map(|(_, state)| state.replication_factor());
    let few = replicas
        .min()
        .filter(|few| topic.internal && *few < INTERNAL_REPLICAS)?;
    let adding = topic.partitions.iter().flat_map(|(_, state)| state.adding());
    let adding: BTreeSet<_> = adding.copied().collect();
    let problem = format!("it has {few} of {INTERNAL_REPLICAS} replicas");
    let remedy = match adding.is_empty() {
        true => "start more brokers: it gets replicas on them by itself".to_owned(),
        false => format!(
            "wait: the replicas that it is given on broker {} are not in sync yet",
            join(adding.into_iter())
        ),
    };
    Some(finding(Severity::Warning, &*topic.name, problem, remedy))
}

fn broker(broker: &Broker) -> Option<v1::Finding> {
    let subject = format!("broker {}", broker.id);
    if broker.fenced {
        return Some(finding(
            Severity::Critical,
            subject,
            "it is fenced: it is down, starting, or cut off from the controllers",
            "start it, or look at its log and its network if it runs",
        ));
    }
    broker.shutting_down.map(|_| {
        finding(
            Severity::Warning,
            subject,
            "it is shutting down, and leads nothing new",
            "wait until it is back before the next is restarted",
        )
    })
}

fn partition(
    image: &Image,
    topic: &Topic,
    index: PartitionId,
    state: &Partition,
    findings: &mut Vec<v1::Finding>,
) {
    let subject = || format!("{} partition {index}", topic.name);
    let missing = state
        .replicas
        .without(|b| state.isr.contains(b) || state.adding().contains(&b));
    let missing_text = join(missing.iter());
    if state.leader.is_none() {
        let safe: Vec<_> = state.isr.iter().chain(state.elr.iter()).collect();
        let remedy = match safe.is_empty() {
            true => "no replica is known to hold every acknowledged record: bring back the brokers of its replicas".to_owned(),
            false => format!("bring back broker {}, which holds every acknowledged record", join(safe.into_iter())),
        };
        findings.push(finding(
            Severity::Critical,
            subject(),
            "it has no leader: nothing is read or written",
            remedy,
        ));
    } else if state.isr.len() < usize::from(state.min_insync) {
        findings.push(finding(
            Severity::Critical,
            subject(),
            format!(
                "{} of {} replicas are in sync, and min.insync.replicas is {}: writes with acks=all are refused",
                state.isr.len(),
                state.replicas.len(),
                state.min_insync
            ),
            format!("bring back broker {missing_text}, or look why it does not keep up"),
        ));
    } else if !missing.is_empty() {
        findings.push(finding(
            Severity::Warning,
            subject(),
            format!("replicas on broker {missing_text} are not in sync"),
            "wait if they just started; else look at their log, disk and network",
        ));
    }
    if state.possible_loss() {
        findings.push(finding(
            Severity::Critical,
            subject(),
            "a leader was elected that may not have held every acknowledged record",
            "compare what producers sent with what is there; the flag stays as a reminder",
        ));
    }
    for cut in state
        .cut()
        .iter()
        .filter(|cut| image.broker(cut.broker).is_some())
    {
        findings.push(finding(
            Severity::Warning,
            subject(),
            format!(
                "broker {} cut the end of its copy at offset {} as it recovered from a crash",
                cut.broker, cut.log_end
            ),
            "nothing acknowledged is gone if another replica was in sync; with a single replica, compare with what \
             producers sent since the last flush",
        ));
    }
}

fn join(brokers: impl Iterator<Item = BrokerId>) -> String {
    let ids: Vec<_> = brokers.map(|id| id.to_string()).collect();
    ids.join(", ")
}

/// Worst first, bounded.
pub(super) fn response(image: &Image, mut findings: Vec<v1::Finding>) -> v1::CheckClusterResponse {
    // Stable: within a severity, the cluster comes before its brokers, and those before partitions by topic.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    if more > 0 {
        findings.truncate(FINDINGS_MAX);
        findings.push(finding(
            Severity::Critical,
            "cluster",
            format!("{more} more findings are left out"),
            "mend what is named first, then check again",
        ));
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::CheckClusterResponse {
        findings,
        partitions: count(image.partition_count()),
        brokers: count(image.broker_count()),
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
