//! `quipu dev`.

use crate::broker_process::{BrokerProcess, Ready};
use crate::cli::Session;
use crate::local_cluster::{LocalCluster, start_all, stop_all};
use crate::output::{Ending, Failure, Outcome, Output, json_line, print, say};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often brokers are looked at: nobody but a person waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Run a local cluster that stays up, and say how to connect
///
/// Each broker is a process of its own. With --data-dir, everything is there again next time.
/// Without, a temporary directory is used and removed at the end.
///
/// Examples:
///   quipu dev --data-dir /tmp/quipu
///   quipu dev --brokers 3
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How many brokers; one, unless there are more in the data directory
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    brokers: Option<u32>,
    /// Where everything is kept; made if it is not there
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect to the first broker; the next ones are 10 ports further each, and probes and metrics two
    /// ports above. 0: any free ports
    #[arg(long, default_value_t = 4600, value_parser = clap::value_parser!(u16).range(..=65_000))]
    port: u16,
}

pub(crate) fn run(args: Args, session: &Session) -> Outcome {
    session.block_on(serve_until_told(args, session.output()))
}

async fn serve_until_told(args: Args, out: Output) -> Outcome {
    // Listened to before anything is started: nothing is left behind by a signal that comes early.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;

    let (directory, temporary) = match args.data_dir {
        Some(directory) => (directory, None),
        None => {
            let temporary = tempfile::Builder::new().prefix("quipu-dev-").tempdir();
            let temporary = temporary
                .map_err(|e| Failure::new(format_args!("cannot make a temporary directory: {e}")))?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let cluster = LocalCluster {
        directory: &directory,
        brokers: args.brokers,
        port: args.port,
        log_to_file: false,
    };
    let specs = cluster.specs()?;
    let mut brokers = tokio::select! {
        started = start_all(&specs) => started?,
        _ = interrupt.recv() => return Ok(Ending::Done),
        _ = terminate.recv() => return Ok(Ending::Done),
    };
    tell(&brokers, &directory, temporary.is_some(), out)?;

    tokio::select! {
        failure = until_none_is_left(&mut brokers) => return Err(failure?),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("stopping");
    let ended = stop_all(brokers).await.map_err(Failure::new)?;
    match ended.into_iter().find(|(_, status)| !status.success()) {
        Some((id, status)) => Err(Failure::new(format_args!(
            "broker {id} did not stop cleanly: {status}"
        ))),
        None => Ok(Ending::Done),
    }
}

/// Whoever tries what happens when a broker dies may kill one: the others go on. Returns when there is no other.
async fn until_none_is_left(brokers: &mut Vec<BrokerProcess>) -> Result<Failure, Failure> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut left = Vec::with_capacity(brokers.len());
        for mut broker in brokers.drain(..) {
            let id = broker.ready().broker_id;
            match broker.ended().map_err(Failure::new)? {
                None => left.push(broker),
                Some(status) => say(format_args!("broker {id} ended by itself, with {status}")),
            }
        }
        *brokers = left;
        if brokers.is_empty() {
            return Ok(Failure::new("no broker is left").next("what they said is above"));
        }
    }
}

/// What `dev -o json` says: of the first broker what `serve` says, then of all.
#[derive(Serialize)]
struct DevJson<'a> {
    #[serde(flatten)]
    first: &'a Ready,
    bootstrap: String,
    brokers: Vec<&'a Ready>,
}

fn tell(brokers: &[BrokerProcess], directory: &Path, temporary: bool, out: Output) -> Result<(), Failure> {
    let [first, ..] = brokers else {
        return Err(Failure::new("no broker was started"));
    };
    let addresses: Vec<&str> = brokers.iter().map(BrokerProcess::client).collect();
    let bootstrap = addresses.join(",");
    if out.is_json() {
        return json_line(&DevJson {
            first: first.ready(),
            bootstrap,
            brokers: brokers.iter().map(BrokerProcess::ready).collect(),
        });
    }
    let export = match &*bootstrap {
        "127.0.0.1:4600" => String::new(),
        other => format!("  export QUIPU_BOOTSTRAP={other}\n"),
    };
    let kept = if temporary {
        ", removed at the end; --data-dir DIR keeps it"
    } else {
        ""
    };
    let data = format!("data: {}{kept}", directory.display());
    let http = |broker: &BrokerProcess| broker.ready().http.clone().unwrap_or_else(|| "off".to_owned());
    let mut text = match brokers {
        [only] => format!(
            "Quipu is up: clients connect to {bootstrap}\nprobes and metrics: http://{}, {data}\n",
            http(only)
        ),
        _ => {
            let each = brokers.iter().map(|broker| {
                let Ready { broker_id, pid, .. } = broker.ready();
                let (client, http) = (broker.client(), http(broker));
                format!("  broker {broker_id}: clients {client}, http://{http}, process {pid}\n")
            });
            format!(
                "Quipu is up, with {} brokers:\n{}{data}\n",
                brokers.len(),
                each.collect::<String>()
            )
        }
    };
    text.push_str(&format!(
        "\nIn another terminal:\n{export}\
         \x20 quipu topic create greetings\n\
         \x20 echo hello | quipu produce greetings\n\
         \x20 quipu consume greetings --exit-at-end\n"
    ));
    if brokers.len() > 1 {
        text.push_str("  quipu cluster check           (and again after kill -9 of one of the processes)\n");
    }
    text.push_str("\nCtrl-C stops it.");
    print(&text)
}
