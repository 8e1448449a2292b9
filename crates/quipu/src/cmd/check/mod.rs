//! `quipu check`: clients, a record of what they saw, and the checker, for anybody's cluster.
//!
//! `plan` is what was asked for, `remote` and `local` are the two courses of events, `load` the clients at work, `faults`
//! what is done to a local cluster meanwhile, `replicas` what its disks hold at the end, `tell` the report.

mod faults;
mod load;
mod local;
mod plan;
mod remote;
mod replicas;
mod tell;

use crate::cli::Session;
use crate::output::{Failure, Outcome, say};
use load::StopEarly;
use plan::Plan;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Prove a cluster: clients use it, and what they saw is checked for anything that may not happen
///
/// Clients send records whose values tell who they are, read them while they come, share them in
/// groups, commit offsets, and create and delete topics. At the end everything is read once more, and
/// the record of it all goes through a checker: was anything acknowledged lost, doubled, reordered,
/// changed, skipped, or read that nobody sent?
///
/// Against a running cluster (--bootstrap) nothing is broken, and nothing is touched but one topic (and
/// groups and topics whose names begin with its name) that is made for it and deleted at the end.
/// With --local it runs against a cluster of its own in a temporary directory, kills and pauses its
/// brokers on the way, and compares the replicas on their disks at the end.
///
/// Leaves a directory: report.md to attach to a ticket, latency.svg, report.json for scripts, and
/// history.jsonl, which is what clients did and saw (history.edn: the same, for Jepsen's own checker).
/// Exit code 0: nothing was found, and enough was exercised for that to mean something. 1: else.
///
/// Examples:
///   quipu check --local
///   quipu check --local --brokers 5 --time 300 --seed 7
///   quipu check --bootstrap broker-1.example:4600 --time 60 --rate 5000
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Start a cluster of its own on this machine, break it, and leave nothing of it behind
    #[arg(long)]
    local: bool,
    /// How many brokers the cluster of its own has [default: 3]
    #[arg(long, requires = "local", value_parser = clap::value_parser!(u32).range(1..=9))]
    brokers: Option<u32>,
    /// What is done to its brokers: kill (SIGKILL, and started again), pause (SIGSTOP, SIGCONT), none [default: kill,pause]
    #[arg(long, requires = "local", value_name = "KIND,...", value_delimiter = ',')]
    faults: Option<Vec<plan::FaultKind>>,
    /// What all choices come from, those of the clients and those of the faults [default: a new one, told]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many seconds the clients work; reading it all again and checking come on top
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=86_400))]
    time: u64,
    /// Records sent a second, by all producers together. The record of it is kept in memory: a thousand a second for an hour
    /// take some gigabytes
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    partitions: u32,
    /// What the clients do [default: all of it]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = plan::workload)]
    workloads: Vec<String>,
    /// Where the report goes: a directory that is made [default: quipu-check-DATE-TIME here]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the topic, for a look at it (not with --local)
    #[arg(long, conflicts_with = "local")]
    keep: bool,
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    session.block_on(async {
        let mut signals = Signals::new()?;
        let plan = Plan::new(args)?;
        let (early, stop) = StopEarly::new();
        let checking = check(&plan, session, stop);
        let ending = tokio::select! {
            ending = checking => ending,
            failure = async {
                signals.next().await;
                say("ending early: what was done so far is checked; again, and it just stops");
                early.ask();
                signals.next().await;
                plan.interrupted()
            } => Err(failure),
        };
        ending.inspect_err(|_| plan.forget())
    })
}

async fn check(plan: &Plan, session: &Session, stop: StopEarly) -> Outcome {
    let done = if plan.local {
        local::run(plan, session.output(), stop).await?
    } else {
        remote::run(plan, session, stop).await?
    };
    tell::tell(plan, done, session)
}

/// Ctrl-C, and what `timeout` and others send.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::new)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::new)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
