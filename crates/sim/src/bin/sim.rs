//! Runs seeds and says what they came to: for CI, for a night, and to look at one seed.

use clap::Parser;
use quipu_record::PlantedBug;
use quipu_sim::{Counts, Fault, Options, Outcome, run};
use std::io::{self, Write};
use std::process::ExitCode;
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
    /// Simulated seconds of work and faults in each.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Stop after so many real seconds, with the seeds run so far.
    #[arg(long)]
    within: Option<u64>,
    /// Plant a bug: the run then succeeds if it is caught.
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
    /// Run so many of the seeds twice and compare their traces.
    #[arg(long, default_value_t = 0)]
    twice: u64,
    /// Tell everything that happens in the first seed.
    #[arg(long)]
    tell: bool,
}

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
    let bug = PlantedBug::ALL.iter().find(|bug| format!("{bug:?}") == *name);
    let Some(bug) = bug else {
        let known: Vec<String> = PlantedBug::ALL.iter().map(|bug| format!("{bug:?}")).collect();
        let message = format!("there is no planted bug {name}; there are {}", known.join(", "));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    is_caught(arguments, *bug, out)
}

fn options(arguments: &Arguments) -> Options {
    Options {
        duration: Duration::from_secs(arguments.seconds),
        tell: arguments.tell,
    }
}

/// Runs the seeds until one does not hold.
fn all_hold(arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let (started, options) = (Instant::now(), options(arguments));
    let mut all = Counts::default();
    let mut done = 0;
    for seed in (arguments.seed..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        if arguments
            .within
            .is_some_and(|limit| started.elapsed().as_secs() >= limit)
        {
            break;
        }
        let outcome = run(seed, options);
        tell(&outcome, out)?;
        if !outcome.is_clean() {
            return Ok(false);
        }
        if done < arguments.twice {
            let again = run(seed, options);
            if again.trace_hash != outcome.trace_hash {
                let (first, second) = (outcome.trace_hash, again.trace_hash);
                writeln!(
                    out,
                    "seed {seed}: the trace is {first:016x} and then {second:016x}"
                )?;
                return Ok(false);
            }
        }
        all += &outcome.counts;
        done += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        out,
        "{done} seeds of {} simulated seconds in {seconds:.1} s",
        arguments.seconds
    )?;
    writeln!(out, "{all}")?;
    if arguments.twice > 0 {
        writeln!(out, "{} seeds run twice, traces equal", arguments.twice.min(done))?;
    }
    let missing: Vec<String> = Fault::ALL
        .iter()
        .filter(|fault| !all.faults.contains_key(fault))
        .map(|fault| format!("{fault:?}"))
        .collect();
    if done >= 20 && !missing.is_empty() {
        writeln!(out, "vacuous: never injected: {}", missing.join(", "))?;
        return Ok(false);
    }
    writeln!(out, "0 violations")?;
    Ok(true)
}

/// Runs the seeds until the bug is caught.
fn is_caught(arguments: &Arguments, bug: PlantedBug, out: &mut impl Write) -> io::Result<bool> {
    for seed in (arguments.seed..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        let outcome = bug.plant(|| run(seed, options(arguments)));
        if let Some(fault) = outcome.fault() {
            let tried = seed - arguments.seed + 1;
            writeln!(
                out,
                "{bug:?} is caught after {tried} seeds, by seed {seed}: {fault}"
            )?;
            return Ok(true);
        }
    }
    writeln!(out, "{bug:?} is not caught within {} seeds", arguments.seeds)?;
    Ok(false)
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
