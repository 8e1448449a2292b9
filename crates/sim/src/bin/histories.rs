//! Random lives of groups, many of them: the coordinator's own histories (`quipu_coordinator::histories`), on some threads.

use clap::Parser;
use quipu_coordinator::histories::{Counts, Violation, histories};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets groups of consumers live random lives and checks what must hold after every step.
#[derive(Debug, Parser)]
#[command(name = "histories")]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The first; the others follow it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// How many a thread takes at once.
const LOT: u64 = 100;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "histories: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let work = || -> Result<Counts, Violation> {
        let mut counts = Counts::default();
        loop {
            let from = next.fetch_add(LOT, Ordering::Relaxed);
            let to = (from + LOT).min(arguments.histories);
            if from >= to {
                return Ok(counts);
            }
            counts.merge(&histories(arguments.seed + from..arguments.seed + to)?);
        }
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut all = Counts::default();
    for counts in ended {
        match counts {
            Ok(Ok(counts)) => all.merge(&counts),
            Ok(Err(violation)) => {
                writeln!(out, "{violation}")?;
                let seed = violation.seed;
                let again = "cargo run -p quipu-sim --bin histories -- --histories 1 --seed";
                writeln!(out, "replay: {again} {seed}")?;
                return Ok(false);
            }
            Err(_) => return Err(io::Error::other("a thread panicked")),
        }
    }
    writeln!(out, "{all}")?;
    writeln!(out, "0 violations in {:.1} s", started.elapsed().as_secs_f64())?;
    Ok(true)
}
