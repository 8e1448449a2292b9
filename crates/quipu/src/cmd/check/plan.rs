//! What was asked for, and where the report goes.

use super::Args;
use crate::output::Failure;
use quipu_workload::workloads;
use std::path::PathBuf;

/// What is done to a broker of a local cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum FaultKind {
    /// SIGKILL, and started again
    Kill,
    /// SIGSTOP, SIGCONT
    Pause,
    /// Nothing
    None,
}

impl FaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::None => "none",
        }
    }
}

/// A workload's name, as `--workloads` takes it.
pub(super) fn workload(name: &str) -> Result<String, String> {
    match workloads::named(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(format!("there are {}", workloads::NAMES.join(", "))),
    }
}

/// What was asked for, with all that was left open decided.
pub(super) struct Plan {
    pub(super) local: bool,
    pub(super) brokers: u32,
    pub(super) faults: Vec<FaultKind>,
    pub(super) seed: u64,
    pub(super) seconds: u64,
    pub(super) rate: u32,
    pub(super) partitions: u32,
    pub(super) workloads: Vec<String>,
    pub(super) out: PathBuf,
    pub(super) keep: bool,
    /// The topic's name, and how those of everything else begin that is made on the way.
    pub(super) topic: String,
}

const BROKERS: u32 = 3;

impl Plan {
    pub(super) fn new(args: Args) -> Result<Self, Failure> {
        let mut faults = args
            .faults
            .unwrap_or_else(|| vec![FaultKind::Kill, FaultKind::Pause]);
        faults.retain(|kind| args.local && *kind != FaultKind::None);
        let mut names = args.workloads;
        if names.is_empty() {
            names = workloads::NAMES.iter().map(ToString::to_string).collect();
        }
        Ok(Self {
            local: args.local,
            brokers: args.brokers.unwrap_or(BROKERS),
            faults,
            // Short enough to be typed again.
            seed: args.seed.unwrap_or_else(|| rand::random::<u64>() % 1_000_000),
            seconds: args.time,
            rate: args.rate,
            partitions: args.partitions,
            workloads: names,
            out: directory(args.out)?,
            keep: args.keep,
            topic: format!("quipu-check-{:012x}", rand::random::<u64>() >> 16),
        })
    }

    /// The command that does the same again.
    pub(super) fn command(&self, bootstrap: &str) -> String {
        let mut words = vec!["quipu check".to_owned()];
        if self.local {
            let kinds: Vec<&str> = self.faults.iter().map(|kind| kind.name()).collect();
            let kinds = if kinds.is_empty() {
                "none".to_owned()
            } else {
                kinds.join(",")
            };
            words.push(format!("--local --brokers {} --faults {kinds}", self.brokers));
        } else {
            words.push(format!("--bootstrap {bootstrap}"));
        }
        words.push(format!(
            "--seed {} --time {} --rate {} --partitions {} --workloads {}",
            self.seed,
            self.seconds,
            self.rate,
            self.partitions,
            self.workloads.join(",")
        ));
        words.join(" ")
    }

    /// Nothing came of it: an empty directory would be in the way.
    pub(super) fn forget(&self) {
        // It may hold something by now.
        let _ = std::fs::remove_dir(&self.out);
    }

    /// What to tell somebody who could not wait.
    pub(super) fn interrupted(&self) -> Failure {
        let failure = Failure::new("interrupted");
        if self.local {
            return failure;
        }
        failure.next(format_args!(
            "what begins with {0} may be left: `quipu topic list`, `quipu group list`, `quipu topic delete {0}`",
            self.topic
        ))
    }
}

/// A directory of the report's own, made now: that it cannot be written must not be found out after an hour.
fn directory(asked: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let directory = match asked {
        Some(directory) => directory,
        None => {
            let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
            PathBuf::from(format!("quipu-check-{now}"))
        }
    };
    let cannot = |error: std::io::Error| {
        Failure::new(format_args!(
            "cannot make the report's directory {}: {error}",
            directory.display()
        ))
        .next("--out DIR writes it somewhere else")
    };
    std::fs::create_dir_all(&directory).map_err(cannot)?;
    let mut held = std::fs::read_dir(&directory).map_err(cannot)?;
    if held.next().is_some() {
        return Err(
            Failure::usage(format_args!("{} is not empty", directory.display()))
                .next("--out DIR with a directory that is new or empty: no report is overwritten"),
        );
    }
    Ok(directory)
}
