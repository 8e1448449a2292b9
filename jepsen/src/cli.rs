//! The command line, and what comes of it: a plan.

use crate::cluster::Settings;
use crate::disk::{Disks, Flush};
use crate::faults::{self, KINDS, Kind, Needs};
use crate::planted::Planted;
use crate::{Result, shell};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ALL_WORKLOADS: &str = "append,read,groups,commits,topics";

/// Real quipu processes under real faults; what their clients saw is checked
///
/// Ends with 0 if nothing was found; 1 if something was; 2 if it could not run; 3 if it proves nothing: a kind of fault
/// never came, fewer than half of the operations were ok, or a floor was missed. With --plant: 0 if the bug was found by what
/// it does, 3 if not.
///
/// Example:
///   jepsen/run --time 120 --faults kill,pause,halves --seed 7
#[derive(clap::Parser)]
#[command(name = "jepsen/run", verbatim_doc_comment)]
pub(crate) struct Args {
    /// Seconds of faults
    #[arg(long, default_value_t = 120)]
    time: u64,
    /// Seconds before the first fault, in which everything has to go well
    #[arg(long, default_value_t = 10)]
    control: u64,
    /// How many nodes: 3 to 5
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=5))]
    nodes: u32,
    /// Kinds of faults, separated by commas; "all": every kind that needs nothing special; "everything": those too;
    /// "none"; "list" shows them. By default all, or those that suit the planted bug
    #[arg(long)]
    faults: Option<String>,
    /// What the run is drawn from; by default the time
    #[arg(long, env = crate::isolate::SEED)]
    seed: Option<u64>,
    /// The executable
    #[arg(long, default_value = "target/release/quipu")]
    quipu: PathBuf,
    /// A bug that the nodes shall have (a build with the feature test-util): it must be found
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
    /// Where the report, the history, the nodes' logs and their data go; by default below target/jepsen
    #[arg(long)]
    out: Option<PathBuf>,
    /// Records that must be acknowledged
    #[arg(long)]
    floor_acked: Option<u64>,
    /// Faults that must be injected
    #[arg(long)]
    floor_faults: Option<u64>,
    /// Milliseconds that a fault lasts: LEAST-MOST. By default 2000-4000, or what suits the planted bug
    #[arg(long)]
    hold: Option<String>,
    /// Milliseconds of quiet after each healing
    #[arg(long, default_value_t = 1000)]
    quiet: u64,
    /// Seconds from a healing to the next write acknowledged on every partition
    #[arg(long, default_value_t = 5)]
    heal_limit: u64,
    /// Records a second that producers send, if the cluster takes them
    #[arg(long, default_value_t = 1500)]
    rate: u32,
    /// Disks that can lose what was not synced, and how nodes flush to them; without it, only if a fault needs them
    #[arg(long)]
    flush: Option<Flush>,
    /// What clients do, separated by commas: append, read, groups, commits, topics. By default all, or what suits the
    /// planted bug
    #[arg(long)]
    workloads: Option<String>,
    /// Partitions of the topic that is written
    #[arg(long, default_value_t = 6)]
    partitions: u32,
    /// Leave timeouts as they come: a fault must last longer than 6 s to be noticed
    #[arg(long)]
    patient: bool,
}

/// A run, as it was asked for and checked.
pub(crate) struct Plan {
    pub(crate) command: String,
    /// What was built, if that is known.
    pub(crate) commit: Option<String>,
    pub(crate) seed: u64,
    pub(crate) nodes: u32,
    pub(crate) settings: Settings,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) out: PathBuf,
    pub(crate) time: Duration,
    pub(crate) control: Duration,
    pub(crate) hold: (Duration, Duration),
    pub(crate) quiet: Duration,
    pub(crate) heal_limit: Duration,
    pub(crate) floor_acked: u64,
    pub(crate) floor_faults: u64,
    pub(crate) rate: u32,
    pub(crate) workloads: Vec<String>,
    pub(crate) partitions: u32,
}

impl Args {
    /// The plan, if it makes sense.
    pub(crate) fn checked(self) -> Result<Plan> {
        let plant = self.plant.as_deref().map(Planted::named).transpose()?;
        let kinds = kinds(
            self.faults
                .as_deref()
                .unwrap_or(plant.map_or("all", |bug| bug.faults)),
        )?;
        let workloads = self.workloads.as_deref();
        let workloads = words(workloads.unwrap_or(plant.map_or(ALL_WORKLOADS, |bug| bug.workloads)));
        let quipu = self.quipu.canonicalize();
        let quipu = quipu.map_err(|error| format!("{}: {error}", self.quipu.display()))?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        };
        let out = self
            .out
            .unwrap_or_else(|| PathBuf::from(format!("target/jepsen/{seed}")));
        std::fs::create_dir_all(&out)?;
        let hold = self.hold.as_deref();
        let hold = hold.unwrap_or(plant.map_or("2000-4000", |bug| bug.hold));
        let hold = hold.split_once('-').ok_or("--hold: LEAST-MOST")?;
        let clocks = kinds.iter().any(|kind| kind.needs == Needs::Clocks);
        let lossy = self.flush.is_some() || kinds.iter().any(|kind| kind.needs == Needs::Disks);
        let disks = lossy
            .then(|| Disks::new(self.flush.unwrap_or_default()))
            .transpose()?;
        Ok(Plan {
            command: command(seed),
            commit: commit(),
            seed,
            nodes: self.nodes,
            settings: Settings {
                quipu,
                plant,
                clocks,
                disks,
                patient: self.patient,
            },
            kinds,
            out: out.canonicalize()?,
            time: Duration::from_secs(self.time),
            control: Duration::from_secs(self.control),
            hold: (millis(hold.0)?, millis(hold.1)?),
            quiet: Duration::from_millis(self.quiet),
            heal_limit: Duration::from_secs(self.heal_limit),
            floor_acked: self.floor_acked.unwrap_or(1),
            floor_faults: self.floor_faults.unwrap_or(0),
            rate: self.rate,
            workloads,
            partitions: self.partitions,
        })
    }
}

fn millis(text: &str) -> Result<Duration> {
    Ok(Duration::from_millis(text.trim().parse()?))
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// How to repeat it: the executable is the script's to find.
fn command(seed: u64) -> String {
    let mut words = vec!["jepsen/run".to_owned()];
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--quipu" {
            args.next();
        } else {
            words.push(arg);
        }
    }
    if !words.iter().any(|word| word.starts_with("--seed")) {
        words.push(format!("--seed {seed}"));
    }
    words.join(" ")
}

/// The commit that is checked out, with a mark if more was changed.
fn commit() -> Option<String> {
    let told = shell::run("git", &["describe", "--always", "--dirty", "--abbrev=12"]).ok()?;
    Some(told.trim().to_owned())
}

fn kinds(text: &str) -> Result<Vec<Kind>> {
    let all = || KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(",");
    let mut chosen = Vec::new();
    for word in words(text) {
        match word.as_str() {
            "all" => chosen.extend(KINDS.iter().filter(|kind| kind.needs == Needs::Nothing)),
            "everything" => chosen.extend(KINDS),
            "none" => {}
            "list" => return Err(format!("kinds of faults: {}", all()).into()),
            name => chosen.push(
                faults::named(name)
                    .ok_or_else(|| format!("there is no fault {name:?}; there are {}", all()))?,
            ),
        }
    }
    let mut names = std::collections::BTreeSet::new();
    Ok(chosen
        .into_iter()
        .filter(|kind| names.insert(kind.name))
        .copied()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        kinds(text)
            .expect("known kinds")
            .iter()
            .map(|kind| kind.name)
            .collect()
    }

    #[test]
    fn kinds_are_chosen_by_name_and_each_once() {
        assert_eq!(names("kill, pause,kill"), ["kill", "pause"]);
        assert_eq!(names("none"), [""; 0]);
        assert_eq!(names("everything").len(), KINDS.len());
        assert!(names("all").len() < KINDS.len() && !names("all").contains(&"clock-jump"));
        assert!(kinds("earthquake").is_err());
    }
}
