//! `quipu cluster`.

use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, Output, table};
use clap::Subcommand;
use quipu_client::{CheckReport, Severity};
use serde::Serialize;

/// Look at the cluster as a whole
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Describe the cluster and its brokers
    Describe,
    /// Say what is wrong with the cluster, and what to do about it
    ///
    /// Answers as a Nagios plugin does: one line that says it all, and exit code 0 (fine: every partition
    /// has a leader and all its replicas in sync), 1 (warning) or 2 (critical, or nobody answered).
    #[command(verbatim_doc_comment)]
    Check,
}

pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    session.block_on(async {
        match command {
            Command::Describe => describe(session).await,
            Command::Check => check(session).await,
        }
    })
}

#[derive(Serialize)]
struct ClusterJson {
    cluster_id: String,
    answered_by: u32,
    controller: Option<u32>,
    topics: u32,
    partitions: u32,
    metadata_version: u64,
    feature_level: u32,
    brokers: Vec<BrokerJson>,
}

#[derive(Serialize)]
struct BrokerJson {
    broker_id: u32,
    broker_epoch: u64,
    endpoint: String,
    listeners: Vec<ListenerJson>,
    rack: Option<String>,
    fenced: bool,
    version: String,
}

#[derive(Serialize)]
struct ListenerJson {
    name: String,
    advertised: String,
    protocol: String,
}

async fn describe(session: &Session) -> Outcome {
    let cluster = session.client().await?.admin().cluster().await?;
    let brokers = cluster.brokers.into_iter().map(|b| BrokerJson {
        broker_id: b.id.get(),
        broker_epoch: b.epoch.get(),
        endpoint: b.endpoint,
        listeners: b
            .listeners
            .into_iter()
            .map(|l| ListenerJson {
                name: l.name,
                advertised: l.advertised,
                protocol: l.protocol,
            })
            .collect(),
        rack: b.rack,
        fenced: b.fenced,
        version: b.version,
    });
    let cluster = ClusterJson {
        cluster_id: cluster.cluster_id,
        answered_by: cluster.answered_by.get(),
        controller: cluster.controller.map(|id| id.get()),
        topics: cluster.topics,
        partitions: cluster.partitions,
        metadata_version: cluster.metadata_version.get(),
        feature_level: cluster.feature_level,
        brokers: brokers.collect(),
    };
    session.output().result(&cluster, describe_text)?;
    Ok(Ending::Done)
}

fn describe_text(cluster: &ClusterJson) -> String {
    let controller = cluster
        .controller
        .map_or("not known".to_owned(), |id| format!("broker {id}"));
    let rows: Vec<Vec<String>> = cluster
        .brokers
        .iter()
        .map(|b| {
            vec![
                b.broker_id.to_string(),
                b.endpoint.clone(),
                if b.fenced { "fenced" } else { "active" }.to_owned(),
                b.rack.clone().unwrap_or_else(|| "-".to_owned()),
                b.version.clone(),
            ]
        })
        .collect();
    format!(
        "cluster     {}\ncontroller  {controller}\ntopics      {}\npartitions  {}\n\n{}",
        cluster.cluster_id,
        cluster.topics,
        cluster.partitions,
        table(&["BROKER", "ENDPOINT", "STATE", "RACK", "VERSION"], &rows, &[0])
    )
}

#[derive(Serialize)]
struct CheckJson {
    status: &'static str,
    brokers: u32,
    partitions: u32,
    findings: Vec<FindingJson>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FindingJson {
    severity: &'static str,
    subject: String,
    problem: String,
    remedy: String,
}

async fn check(session: &Session) -> Outcome {
    let asked = async { Ok::<_, Failure>(session.client().await?.admin().check().await?) };
    match asked.await {
        Ok(report) => tell(report, session.output()),
        Err(failure) => Err(failure.critical()),
    }
}

fn tell(report: CheckReport, out: Output) -> Outcome {
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    let (status, ending) = match worst {
        None => ("OK", Ending::Done),
        Some(Severity::Warning) => ("WARNING", Ending::Warning),
        Some(_) => ("CRITICAL", Ending::Critical),
    };
    let findings = report.findings.into_iter().map(|finding| FindingJson {
        severity: if finding.severity == Severity::Warning {
            "warning"
        } else {
            "critical"
        },
        subject: finding.subject,
        problem: finding.problem,
        remedy: finding.remedy,
    });
    let json = CheckJson {
        status,
        brokers: report.brokers,
        partitions: report.partitions,
        findings: findings.collect(),
        notes: report.notes,
    };
    out.result(&json, |check| {
        let CheckJson {
            status,
            brokers,
            partitions,
            findings,
            notes,
        } = check;
        let mut text = match findings.len() {
            0 => format!(
                "QUIPU {status} - brokers: {brokers}, partitions: {partitions}, all led and in sync\n"
            ),
            n => format!("QUIPU {status} - findings: {n}, brokers: {brokers}, partitions: {partitions}\n"),
        };
        for FindingJson {
            severity,
            subject,
            problem,
            remedy,
        } in findings
        {
            text.push_str(&format!("{severity}: {subject}: {problem}\n  next: {remedy}\n"));
        }
        for note in notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    })?;
    Ok(ending)
}
