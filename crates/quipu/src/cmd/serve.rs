//! `quipu serve`.

use crate::broker_process::Ready;
use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, json_line, print};
use crate::owner;
use quipu_broker::config::Sources;
use quipu_broker::{Broker, Config, Ended, StartError, logging};
use std::path::PathBuf;

const CONFIGURATION: &str = "docs/quipu.toml lists every key with its default";

/// Run one broker
///
/// What it is told comes from a TOML file, over it QUIPU_* in the environment, over it flags. Unknown
/// keys are refused, and every mistake is named at once. SIGTERM and SIGINT drain it: what was taken
/// in is answered, then it stops cleanly.
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
    /// Where brokers and controllers connect to each other (internal.bind); port 0: any
    #[arg(long, value_name = "HOST:PORT")]
    internal: Option<String>,
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
    plant(&args)?;
    let config = Config::load(&args.sources()).map_err(|error| Failure::new(error).next(CONFIGURATION))?;
    let logs = logging::install(&config.log).map_err(Failure::new)?;
    let runtime = quipu_broker::runtime(&config.threads);
    let runtime = runtime.map_err(|error| Failure::new(format_args!("cannot start threads: {error}")))?;
    let json = session.output().is_json();
    let stop = owner::is_gone(args.stop_with_stdin);
    let ended = runtime.block_on(quipu_broker::run(
        config,
        logs,
        |broker| tell_ready(broker, json),
        stop,
    ));
    // What still runs after an end that is not clean must not hold up the process.
    runtime.shutdown_background();
    match ended.map_err(Failure::new)? {
        Ended::Stopped => Ok(Ending::Done),
        Ended::NotStarted(error) => Err(not_started(&error)),
        Ended::Unclean(error) => Err(Failure::new(error).next("start it again: it recovers by itself")),
        Ended::Failed(reason) => Err(Failure::new(format_args!("the broker could not go on: {reason}"))
            .next("mend what its log names, then start it again: it recovers by itself")),
        Ended::Forced => {
            Err(Failure::new("stopped at once, without a clean end").next("the next start recovers"))
        }
    }
}

impl Args {
    fn sources(&self) -> Sources {
        let mut sources = Sources::of_process(self.config.as_deref());
        let data_dir = self.data_dir.as_ref().map(|path| path.display().to_string());
        let flags = [
            ("data.dir", data_dir),
            ("broker.id", self.broker_id.map(|id| id.to_string())),
            ("listeners.client.bind", self.listen.clone()),
            ("internal.bind", self.internal.clone()),
            ("http.bind", self.http.clone()),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                sources = sources.with(key, value);
            }
        }
        for (key, value) in &self.set {
            sources = sources.with(key, value);
        }
        sources
    }
}

fn not_started(error: &StartError) -> Failure {
    let failure = Failure::new(error);
    match error {
        StartError::Bind(_) => failure
            .next("give it another port with --listen, --internal or --http, or stop what has this one"),
        StartError::DataDir { .. } => failure
            .next("one data directory serves one broker: stop the other, or name another with --data-dir"),
        _ => failure,
    }
}

/// Says where the broker is, once it serves. Whoever started it may have stopped listening: that is no fault.
fn tell_ready(broker: &Broker, json: bool) {
    let addresses = broker.addresses();
    let ready = Ready {
        broker_id: addresses.broker_id.get(),
        pid: std::process::id(),
        listeners: addresses
            .listeners
            .iter()
            .map(|l| (l.name.to_string(), l.advertised.to_string()))
            .collect(),
        http: addresses.http.map(|http| http.to_string()),
    };
    let told = if json {
        json_line(&ready)
    } else {
        let clients = ready.listeners.values().cloned().collect::<Vec<_>>().join(", ");
        let http = ready.http.as_deref().unwrap_or("off");
        print(&format!(
            "broker {} is ready: clients {clients}, probes and metrics {http}",
            ready.broker_id
        ))
    };
    drop(told);
}

#[cfg(feature = "test-util")]
fn plant(args: &Args) -> Result<(), Failure> {
    let Some(name) = &args.planted_bug else {
        return Ok(());
    };
    let Some(bug) = quipu_record::PlantedBug::named(name) else {
        let bugs = quipu_record::PlantedBug::ALL;
        return Err(
            Failure::usage(format_args!("there is no bug {name}")).next(format_args!("one of {bugs:?}"))
        );
    };
    bug.plant_everywhere();
    Ok(())
}

#[cfg(not(feature = "test-util"))]
fn plant(args: &Args) -> Result<(), Failure> {
    match &args.planted_bug {
        None => Ok(()),
        Some(_) => Err(Failure::usage("--planted-bug: this binary has no bugs to plant")
            .next("build one that has: cargo build -p quipu --features test-util")),
    }
}
