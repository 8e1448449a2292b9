//! `quipu dev`.

use crate::broker_process::{BrokerProcess, BrokerSpec};
use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, Output, json_line, print, say};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// HTTP is so many ports above the clients'.
const HTTP_PORT_ABOVE: u16 = 2;

/// Run a local cluster that stays up, and say how to connect
///
/// With --data-dir, everything is there again next time. Without, a temporary directory is used and removed at the end.
///
/// Example:
///   quipu dev --data-dir /tmp/quipu
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How many brokers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1))]
    brokers: u32,
    /// Where everything is kept; made if it is not there
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect; probes and metrics are two ports above. 0: any free ports
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
    let address = |above: u16| match args.port {
        0 => "127.0.0.1:0".to_owned(),
        port => format!("127.0.0.1:{}", port + above),
    };
    let spec = BrokerSpec {
        data_dir: directory.join("broker-0"),
        client: address(0),
        http: address(HTTP_PORT_ABOVE),
        log: None,
    };
    let mut broker = tokio::select! {
        started = BrokerProcess::start(&spec) => started?,
        _ = interrupt.recv() => return Ok(Ending::Done),
        _ = terminate.recv() => return Ok(Ending::Done),
    };
    tell(&broker, &spec, temporary.is_some(), out)?;

    tokio::select! {
        status = broker.ended() => {
            let status = status.map_err(Failure::new)?;
            return Err(Failure::new(format_args!("the broker ended by itself, with {status}"))
                .next("what it said is above"));
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("stopping");
    let status = broker.terminate().await.map_err(Failure::new)?;
    if !status.success() {
        return Err(Failure::new(format_args!(
            "the broker did not stop cleanly: {status}"
        )));
    }
    Ok(Ending::Done)
}

fn tell(broker: &BrokerProcess, spec: &BrokerSpec, temporary: bool, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return json_line(broker.ready());
    }
    let address = broker.client();
    let bootstrap = match address {
        "127.0.0.1:4600" => String::new(),
        other => format!("  export QUIPU_BOOTSTRAP={other}\n"),
    };
    let kept = if temporary {
        ", removed at the end; --data-dir DIR keeps it"
    } else {
        ""
    };
    let http = broker.ready().http.as_deref().unwrap_or("off");
    print(&format!(
        "Quipu is up: clients connect to {address}\n\
         probes and metrics: http://{http}, data: {}{kept}\n\n\
         In another terminal:\n{bootstrap}\
         \x20 quipu topic create greetings\n\
         \x20 echo hello | quipu produce greetings\n\
         \x20 quipu consume greetings --exit-at-end\n\n\
         Ctrl-C stops it.",
        spec.data_dir.display()
    ))
}
