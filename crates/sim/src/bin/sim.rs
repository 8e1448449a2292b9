//! Runs seeds and says what they came to: for CI, for a night, and to look at one seed.

use clap::{Parser, ValueEnum};
use quipu_record::PlantedBug;
use quipu_sim::{ACKED_MIN, Counts, Deed, FAULTS_MIN, Fault, Options, Outcome, World, run};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Runs simulated worlds from seeds and checks every invariant after every step.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Which world.
    #[arg(long, value_enum, default_value_t = Which::Cluster)]
    world: Which,
    /// Simulated seconds of work and faults in each.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Stop after so many real seconds, with the seeds run so far.
    #[arg(long)]
    within: Option<u64>,
    /// How many seeds at a time.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Plant a bug: the run then succeeds if it is caught.
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
    /// Run so many of the seeds twice and compare their traces.
    #[arg(long, default_value_t = 0)]
    twice: u64,
    /// Go on after a seed that does not hold, and count them.
    #[arg(long)]
    all: bool,
    /// Tell everything that happens in the first seed.
    #[arg(long)]
    tell: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Which {
    Cluster,
    Controllers,
    Alone,
    Groups,
}

/// How often each deed of the protocol must have been seen in a run of so many seeds.
const DEEDS_MIN: u64 = 100;
const SEEDS_FOR_DEEDS: u64 = 1000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    match start(&arguments, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn start(arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let Some(name) = &arguments.plant else {
        return all_hold(arguments, out);
    };
    let Some(bug) = PlantedBug::named(name) else {
        let known: Vec<String> = PlantedBug::ALL.iter().map(|bug| format!("{bug:?}")).collect();
        let message = format!("there is no planted bug {name}; there are {}", known.join(", "));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    is_caught(arguments, bug, out)
}

fn options(arguments: &Arguments) -> Options {
    Options {
        world: match arguments.world {
            Which::Cluster => World::Cluster,
            Which::Controllers => World::Controllers,
            Which::Alone => World::Alone,
            Which::Groups => World::Groups,
        },
        duration: Duration::from_secs(arguments.seconds),
        tell: arguments.tell,
    }
}

/// One seed as a thread ran it.
struct Ran {
    outcome: Outcome,
    /// The trace of a second run, if there was one.
    again: Option<u64>,
}

/// Runs the seeds on some threads, and hands each over as it is done, until that says enough.
fn run_all(
    arguments: &Arguments,
    one: impl Fn(u64) -> Ran + Sync,
    mut done: impl FnMut(Ran) -> io::Result<bool>,
) -> io::Result<()> {
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let late = || {
        let limit = arguments.within.map(Duration::from_secs);
        limit.is_some_and(|limit| started.elapsed() >= limit)
    };
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..arguments.threads.max(1) {
            let tell = tell.clone();
            let (next, enough, one, late) = (&next, &enough, &one, &late);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) && !late() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= arguments.seeds || tell.send(one(arguments.seed + at)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        let mut result = Ok(());
        for ran in told {
            match done(ran) {
                Ok(true) => {}
                Ok(false) => enough.store(true, Ordering::Relaxed),
                Err(error) => {
                    result = Err(error);
                    enough.store(true, Ordering::Relaxed);
                }
            }
        }
        result
    })
}

/// What a run came to.
#[derive(Default)]
struct Sum {
    counts: Counts,
    seeds: u64,
    twice: u64,
    broken: u64,
    /// The least that a seed had of faults, and of acknowledged records.
    least: Option<(u64, u64)>,
}

/// Runs the seeds until one does not hold.
fn all_hold(arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let (started, options) = (Instant::now(), options(arguments));
    let mut sum = Sum::default();
    let has_floors = matches!(arguments.world, Which::Cluster | Which::Controllers);
    let one = |seed| {
        let outcome = run(seed, options);
        let twice = seed < arguments.seed + arguments.twice;
        let again = twice.then(|| run(seed, options).trace_hash);
        Ran { outcome, again }
    };
    run_all(arguments, one, |ran| {
        tell(&ran.outcome, out)?;
        sum.counts += &ran.outcome.counts;
        sum.seeds += 1;
        sum.twice += u64::from(ran.again.is_some());
        let (seed, first) = (ran.outcome.seed, ran.outcome.trace_hash);
        let differs = ran.again.filter(|again| *again != first);
        if let Some(second) = differs {
            writeln!(
                out,
                "seed {seed}: the trace is {first:016x} and then {second:016x}"
            )?;
        }
        let thin = has_floors && ran.outcome.is_clean() && !ran.outcome.counts.reach_the_floors();
        let (faults, acked) = (ran.outcome.counts.faults(), ran.outcome.counts.acked);
        if thin {
            writeln!(
                out,
                "seed {seed} falls short: {faults} faults of at least {FAULTS_MIN}, {acked} records acknowledged of at least {ACKED_MIN}"
            )?;
        }
        let (fewest, least) = sum.least.unwrap_or((faults, acked));
        sum.least = Some((fewest.min(faults), least.min(acked)));
        let holds = ran.outcome.is_clean() && differs.is_none() && !thin;
        sum.broken += u64::from(!holds);
        Ok(holds || arguments.all)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let (seeds, each) = (sum.seeds, arguments.seconds);
    writeln!(out, "{seeds} seeds of {each} simulated seconds in {seconds:.1} s")?;
    writeln!(out, "{}", sum.counts)?;
    writeln!(out, "{} seeds run twice", sum.twice)?;
    if let Some((faults, acked)) = sum.least {
        writeln!(
            out,
            "no seed had fewer than {faults} faults, nor fewer than {acked} records acknowledged"
        )?;
    }
    let full = not_vacuous(arguments, &sum, out)?;
    writeln!(out, "{} violations", sum.broken)?;
    Ok(full && sum.broken == 0)
}

/// Says what a run proves nothing about.
fn not_vacuous(arguments: &Arguments, sum: &Sum, out: &mut impl Write) -> io::Result<bool> {
    if sum.seeds < 100 || sum.broken > 0 {
        return Ok(true);
    }
    let (faults, deeds): (_, &[Deed]) = match arguments.world {
        Which::Cluster | Which::Controllers => (Fault::CLUSTER, Deed::ALL),
        Which::Alone => (Fault::ALONE, &[]),
        Which::Groups => (Fault::GROUPS, &[]),
    };
    let mut missing: Vec<String> = (faults.iter())
        .filter(|fault| !sum.counts.faults.contains_key(fault))
        .map(|fault| format!("{fault:?}"))
        .collect();
    if sum.seeds >= SEEDS_FOR_DEEDS {
        let seen = |deed: &Deed| sum.counts.deeds.get(deed).copied().unwrap_or_default();
        // An unclean election is an operator's: there need not be one.
        let wanted = deeds.iter().filter(|deed| **deed != Deed::UncleanElection);
        let rare = wanted.filter(|deed| seen(deed) < DEEDS_MIN);
        missing.extend(rare.map(|deed| format!("{deed:?} ({})", seen(deed))));
    }
    if !missing.is_empty() {
        writeln!(out, "vacuous: too rarely or never: {}", missing.join(", "))?;
    }
    Ok(missing.is_empty())
}

/// Runs the seeds until the bug is caught.
fn is_caught(arguments: &Arguments, bug: PlantedBug, out: &mut impl Write) -> io::Result<bool> {
    let options = options(arguments);
    let (mut tried, mut caught) = (0, false);
    let one = |seed| Ran {
        outcome: bug.plant(|| run(seed, options)),
        again: None,
    };
    run_all(arguments, one, |ran| {
        tried += 1;
        if let Some(fault) = ran.outcome.fault().filter(|_| !caught) {
            caught = true;
            let seed = ran.outcome.seed;
            writeln!(
                out,
                "{bug:?} is caught after {tried} seeds, by seed {seed}: {fault}"
            )?;
        }
        Ok(!caught)
    })?;
    if !caught {
        writeln!(out, "{bug:?} is not caught within {tried} seeds")?;
    }
    Ok(caught)
}

fn tell(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    for line in &outcome.told {
        writeln!(out, "{line}")?;
    }
    if let Some(fault) = outcome.fault() {
        let seed = outcome.seed;
        writeln!(
            out,
            "seed {seed} (trace {:016x}) does not hold:\n{fault}",
            outcome.trace_hash
        )?;
        writeln!(
            out,
            "replay: cargo run -p quipu-sim --bin sim -- --seeds 1 --seed {seed} --tell"
        )?;
    }
    Ok(())
}
