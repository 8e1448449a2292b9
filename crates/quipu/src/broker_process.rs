//! A broker as a process of its own: this very executable, run with `serve`. It ends when its owner does, however that
//! ends: the broker reads its standard input, which closes with the owner.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a broker may take to get ready: recovery after a kill included.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// What of the user's environment does concern these brokers; without it, they log only what is wrong.
const LOG_FILTER: &str = "QUIPU_LOG";
/// A killed process is gone in milliseconds; more than this is not waited for.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a broker's log is shown when it did not start.
const LOG_TAIL_BYTES: usize = 2000;

/// What `serve -o json` prints on standard output, as one line, once it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) broker_id: u32,
    pub(crate) pid: u32,
    /// host:port of each listener, by name.
    pub(crate) listeners: BTreeMap<String, String>,
    /// host:port of probes and metrics, unless they are off.
    pub(crate) http: Option<String>,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("cannot start a broker: {0}")]
    Io(#[from] io::Error),
    #[error("the broker was not ready after {} s\n{log}", READY_TIMEOUT.as_secs())]
    Late { log: String },
    #[error("the broker ended before it was ready, with {status}\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error("the broker said {line:?} where it should have said that it is ready")]
    Unexpected { line: String },
}

/// What a broker process is started with.
#[derive(Clone, Debug)]
pub(crate) struct BrokerSpec {
    pub(crate) broker_id: u32,
    pub(crate) data_dir: PathBuf,
    /// Where clients connect; port 0: any.
    pub(crate) client: String,
    /// Where probes and metrics are; port 0: any.
    pub(crate) http: String,
    /// Where brokers and controllers connect to each other; port 0, for any, if it is alone.
    pub(crate) internal: String,
    /// The internal addresses of the cluster's controllers; none: it is alone.
    pub(crate) voters: Vec<String>,
    /// Where the log goes; `None`: to this process's standard error.
    pub(crate) log: Option<PathBuf>,
}

/// A running broker process. Dropped, it is killed.
pub(crate) struct BrokerProcess {
    child: Child,
    ready: Ready,
    /// Held open: it closes with this process.
    _stdin: Option<ChildStdin>,
}

impl BrokerProcess {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(spec: &BrokerSpec) -> Result<Self, SpawnError> {
        let mut child = spec.command()?.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // From here on it is gone for sure if nobody waits any more.
        let mut broker = Self {
            child,
            ready: Ready::default(),
            _stdin: stdin,
        };
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout.ok_or(io::Error::from(io::ErrorKind::BrokenPipe))?);
        let read = tokio::time::timeout(READY_TIMEOUT, stdout.read_line(&mut line)).await;
        match read {
            Err(_) => Err(SpawnError::Late { log: spec.log_tail() }),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(0)) => {
                let status = broker.child.wait().await?;
                Err(SpawnError::Ended {
                    status,
                    log: spec.log_tail(),
                })
            }
            Ok(Ok(_)) => match serde_json::from_str::<Ready>(&line) {
                Ok(ready) => {
                    broker.ready = ready;
                    Ok(broker)
                }
                Err(_) => Err(SpawnError::Unexpected { line }),
            },
        }
    }

    /// Where it listens, and who it is.
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// host:port for clients.
    pub(crate) fn client(&self) -> &str {
        self.ready.listeners.get("client").map_or("", String::as_str)
    }

    /// SIGKILL; returns once the process is gone.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// SIGTERM; returns once the process is gone.
    pub(crate) async fn terminate(mut self) -> io::Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        self.child.wait().await
    }

    /// Sends it a signal, unless it is gone.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let pid = self.child.id();
        match pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            Some(pid) => Ok(rustix::process::kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// How it ended, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

/// Gone for sure, and not only told to go: whoever owns the data directory may remove it right after.
impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.start_kill();
        let patience = Instant::now() + GONE_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl BrokerSpec {
    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "--output", "json", "--stop-with-stdin"])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--broker-id", &self.broker_id.to_string()])
            .args(["--listen", &self.client, "--http", &self.http])
            .args(["--internal", &self.internal])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C at a terminal is for its owner, which then tells it in its own way.
            .process_group(0)
            .kill_on_drop(true);
        if !self.voters.is_empty() {
            let voters = format!("controllers.voters={}", self.voters.join(","));
            command.args(["--set", &voters]);
        }
        // It is told everything it needs; what is configured for other brokers of this user is not for it.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_configuration(name)) {
            command.env_remove(name);
        }
        if std::env::var_os(LOG_FILTER).is_none() {
            command.env(LOG_FILTER, "warn");
        }
        if let Some(log) = &self.log {
            command.stderr(File::options().create(true).append(true).open(log)?);
        }
        Ok(command)
    }

    /// The end of its log, for whoever has to find out why it did not start.
    fn log_tail(&self) -> String {
        self.log.as_deref().map_or_else(String::new, tail)
    }
}

pub(crate) fn is_configuration(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"QUIPU_") && name != LOG_FILTER
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
}
