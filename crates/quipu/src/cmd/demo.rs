//! `quipu demo`.

use crate::cli::Session;
use crate::demo;
use crate::output::Outcome;

/// Prove it on real data: January's flights out of New York, through a broker that is killed on the way
///
/// Starts a broker process with a temporary directory on free ports, produces 27,004 flights through gRPC at a steady
/// rate, keyed by aircraft, into six partitions; kills the broker with SIGKILL while batches are unacknowledged and
/// starts it again, without telling the producer; reads everything and proves it complete, in order for each aircraft
/// and equal to the source byte for byte. Succeeds only if all of it holds. Nothing is left behind.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How many brokers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    brokers: u32,
    /// How many seconds the producing takes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    session.block_on(demo::run(args.brokers, args.seconds, session.output()))
}
