//! `quipu demo`.

use crate::cli::Session;
use crate::demo;
use crate::output::Outcome;

/// Prove it on real data: January's flights out of New York, through a cluster that loses a leader on the way
///
/// Starts three broker processes with temporary directories on free ports, produces 27,004 flights
/// through gRPC at a steady rate, keyed by aircraft, into six partitions of three replicas, while a
/// group of two processes consumes them and a third joins; kills a leader with SIGKILL while batches
/// are unacknowledged, without telling the producer, starts it again once others have taken over, and
/// kills a member of the group; reads everything and proves it complete, in order for each aircraft
/// and equal to the source byte for byte, and that the group has processed all of it; stops the
/// brokers and compares the replicas on their disks. Succeeds only if all of it holds. Nothing is
/// left behind.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How many brokers; a single one is killed too, and nobody takes over until it is back
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    brokers: u32,
    /// How many seconds the producing takes
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    session.block_on(demo::run(args.brokers, args.seconds, session.output()))
}
