//! `quipu serve`.

use crate::cli::Session;
use crate::output::{Failure, Outcome};
use std::path::PathBuf;

/// Run one broker
///
/// What it is told comes from a TOML file, over it QUIPU_* in the environment, over it flags. Unknown keys are refused,
/// and every mistake is named at once. SIGTERM and SIGINT drain it: what was taken in is answered, then it stops cleanly.
///
/// Examples:
///   quipu serve --data-dir /var/lib/quipu
///   quipu serve --config /etc/quipu.toml --set log.format=json
///   QUIPU_STORAGE_FLUSH_METHOD=fdatasync quipu serve
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The configuration, in TOML
    #[arg(long, short, env = "QUIPU_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept (data.dir)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Who this broker is (broker.id)
    #[arg(long, value_name = "ID")]
    broker_id: Option<u32>,
    /// Where clients connect (listeners.client.bind); port 0: any
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where probes and metrics are (http.bind); port 0: any; off: nowhere
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Any other key of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::text::key_value)]
    set: Vec<(String, String)>,
    /// Stop, as on SIGTERM, when standard input closes
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    /// A bug to plant, for tests of tests
    #[arg(long, hide = true, value_name = "NAME")]
    planted_bug: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    let _ = (args, session);
    Err(Failure::new("not yet"))
}
