//! Real brokers for tests and benchmarks: processes on free ports over directories of their own, waited for by
//! condition, and killed by their own process id only.

#[allow(dead_code, reason = "tests and benches use different parts of it")]
pub(crate) mod cluster;
#[allow(dead_code, reason = "benches alone use it")]
pub(crate) mod process;

use serde_json::Value;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The executable under test.
pub(crate) const QUIPU: &str = env!("CARGO_BIN_EXE_quipu");
const ANY_PORT: &str = "127.0.0.1:0";
/// A broker that is not ready by then never will be.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long anything else may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A broker process. Dropped, it is killed and its directory removed.
pub(crate) struct Broker {
    child: Child,
    ready: Value,
    home: Home,
    /// How long it took to get ready.
    pub(crate) took: Duration,
}

/// What outlives a broker's process.
pub(crate) struct Home {
    directory: TempDir,
    /// What `serve` is told besides.
    args: Vec<String>,
    listen: String,
    /// Where it speaks to other brokers.
    internal: String,
}

impl Broker {
    /// A broker over a new directory.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&std::env::temp_dir(), &[])
    }

    /// A broker over a new directory in `parent`, with more of the configuration: `key=value`.
    pub(crate) fn start_with(parent: &Path, settings: &[String]) -> Result<Self> {
        let settings = settings.iter().map(|setting| ["--set", setting]);
        let args: Vec<&str> = settings.flatten().collect();
        Self::start_told(parent, &args)
    }

    /// The same, with any flags of `serve`.
    pub(crate) fn start_told(parent: &Path, args: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("quipu-test-")
            .tempdir_in(parent)?;
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Home {
            directory,
            args,
            listen: ANY_PORT.to_owned(),
            internal: ANY_PORT.to_owned(),
        }
        .start()
    }

    /// host:port for clients.
    pub(crate) fn address(&self) -> &str {
        self.ready["listeners"]["client"].as_str().unwrap_or_default()
    }

    /// host:port of probes and metrics.
    pub(crate) fn http(&self) -> &str {
        self.ready["http"].as_str().unwrap_or_default()
    }

    /// host:port of its internal listener.
    pub(crate) fn internal(&self) -> &str {
        &self.home.internal
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.data_dir()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.log()).unwrap_or_default()
    }

    /// SIGKILL. What is left is where it lived.
    pub(crate) fn kill(mut self) -> Result<Home> {
        self.child.kill()?;
        self.child.wait()?;
        self.into_home()
    }

    /// SIGTERM, and waits for it: how it ended, and where it lived.
    pub(crate) fn terminate(mut self) -> Result<(ExitStatus, Home)> {
        signal(self.pid(), rustix::process::Signal::TERM)?;
        let status = self.wait()?;
        Ok((status, self.into_home()?))
    }

    /// Waits until it ends.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("the broker does not end:\n{}", self.log()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes its standard input, as the end of its owner does.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Stops it cleanly and starts it again at the same address.
    pub(crate) fn restart(self) -> Result<Self> {
        let (status, home) = self.terminate()?;
        if !status.success() {
            return Err(format!("the broker ended with {status}").into());
        }
        home.start()
    }

    fn into_home(mut self) -> Result<Home> {
        let nowhere = Home {
            directory: tempfile::tempdir()?,
            args: Vec::new(),
            listen: String::new(),
            internal: String::new(),
        };
        let listen = self.address().to_owned();
        let mut home = std::mem::replace(&mut self.home, nowhere);
        // Clients know that address. (A controller that is no broker has none.)
        if !listen.is_empty() {
            home.listen = listen;
        }
        Ok(home)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It is gone either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Home {
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("broker.log")
    }

    /// The command that serves this directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(QUIPU);
        command
            .args([
                "serve",
                "-o",
                "json",
                "--stop-with-stdin",
                "--http",
                "127.0.0.1:0",
            ])
            .args([
                "--listen",
                &self.listen,
                "--internal",
                &self.internal,
                "--data-dir",
            ])
            .arg(self.data_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.args(&self.args);
        without_configuration(&mut command);
        command
    }

    /// Starts a broker over this directory, and waits until it is ready.
    pub(crate) fn start(self) -> Result<Broker> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let begun = Instant::now();
        let mut child = self.command().stderr(log).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line).map(|_| line);
            // Nobody waits any more after the timeout.
            let _ = sender.send(read);
        });
        let line = receiver.recv_timeout(READY_TIMEOUT);
        let mut broker = Broker {
            child,
            ready: Value::Null,
            home: self,
            took: begun.elapsed(),
        };
        let line = line.map_err(|_| format!("the broker is not ready:\n{}", broker.log()))??;
        broker.ready = serde_json::from_str(&line).map_err(|_| {
            format!(
                "the broker said {line:?} instead of being ready:\n{}",
                broker.log()
            )
        })?;
        Ok(broker)
    }
}

/// A test's environment says nothing about brokers.
pub(crate) fn without_configuration(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"QUIPU_")) {
        command.env_remove(name);
    }
}

/// Sends a signal to a process of the test's own.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).ok_or("no process id")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Runs `quipu` against a broker: standard output, if it succeeded.
pub(crate) fn quipu(address: &str, args: &[&str]) -> Result<String> {
    quipu_with_input(address, args, b"")
}

/// The same, with something on standard input.
pub(crate) fn quipu_with_input(address: &str, args: &[&str], input: &[u8]) -> Result<String> {
    let ran = run(address, args, input)?;
    if ran.code != Some(0) {
        return Err(format!(
            "quipu {}: exit code {:?}\n{}",
            args.join(" "),
            ran.code,
            ran.stderr
        )
        .into());
    }
    Ok(ran.stdout)
}

/// How a command ended, and what it said.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `quipu` against a broker, whatever comes of it.
pub(crate) fn run(address: &str, args: &[&str], input: &[u8]) -> Result<Ran> {
    let mut command = Command::new(QUIPU);
    without_configuration(&mut command);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !address.is_empty() {
        command.env("QUIPU_BOOTSTRAP", address);
    }
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let input = input.to_vec();
    let writing = std::thread::spawn(move || {
        // A command that does not read its input closes it: no fault.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output()?;
    writing
        .join()
        .map_err(|_| "the writer of standard input panicked")?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What a process has in memory that is not a file's, in bytes.
pub(crate) fn anonymous_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .ok_or("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
