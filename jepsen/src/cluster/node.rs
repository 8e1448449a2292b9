//! One node: a real `quipu serve` in its own network, with a disk and a clock of its own.

use super::volume::Volume;
use crate::clock::Clock;
use crate::disk::{Disks, LossyDisk};
use crate::planted::Planted;
use crate::{Result, network, proxy, shell};
use quipu_client::BrokerId;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const CLIENT_PORT: u16 = 4600;
const INTERNAL_PORT: u16 = 4601;
const HTTP_PORT: u16 = 4602;
/// One look at a probe.
const PROBE: Duration = Duration::from_millis(500);
/// What is read of an answer.
const ANSWER_MAX: u64 = 4096;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Shows the node a start of the machine of its own, and becomes it.
const BECOME: &str = r#"mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@""#;

/// How nodes are run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The executable.
    pub(crate) quipu: PathBuf,
    /// A bug that it shall have.
    pub(crate) plant: Option<&'static Planted>,
    /// Whether clocks can be moved.
    pub(crate) clocks: bool,
    /// Disks that can lose what was not synced, if the run has them.
    pub(crate) disks: Option<Disks>,
    /// Timeouts as they come, not shortened.
    pub(crate) patient: bool,
}

/// What becomes of the process.
enum State {
    Down,
    Up(Child),
    Paused(Child),
}

/// A node.
pub(crate) struct Node {
    id: BrokerId,
    home: PathBuf,
    settings: Settings,
    volume: Volume,
    clock: Option<Clock>,
    state: State,
    /// It may end by itself: its disk was made to fail.
    may_end: bool,
    /// Starts of its machine.
    boots: u32,
}

/// A node's address for clients.
pub(crate) fn client_address(node: BrokerId) -> String {
    format!("{}:{CLIENT_PORT}", network::address(node))
}

/// A node's address for other nodes.
pub(crate) fn internal_address(node: BrokerId) -> String {
    format!("{}:{INTERNAL_PORT}", network::address(node))
}

impl Node {
    /// Prepares one below `out`; it does not run yet.
    pub(crate) fn new(id: BrokerId, all: &[BrokerId], out: &Path, settings: &Settings) -> Result<Self> {
        let home = out.join(format!("node-{}", id.get()));
        // Another run of the same seed was here.
        if home.exists() {
            std::fs::remove_dir_all(&home)?;
        }
        std::fs::create_dir_all(&home)?;
        let clock = settings.clocks.then(|| Clock::new(&home)).transpose()?;
        let mut node = Self {
            id,
            volume: match &settings.disks {
                None => Volume::plain(&home)?,
                Some(disks) => Volume::Lossy(LossyDisk::new(&home, disks)?),
            },
            clock,
            state: State::Down,
            may_end: false,
            boots: 0,
            settings: settings.clone(),
            home,
        };
        node.restart_machine()?;
        std::fs::write(node.home.join("quipu.toml"), node.configuration(all))?;
        Ok(node)
    }

    pub(crate) fn id(&self) -> BrokerId {
        self.id
    }

    pub(crate) fn volume(&mut self) -> &mut Volume {
        &mut self.volume
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.volume.data_dir()
    }

    /// Its clock, if clocks can be moved in this run.
    pub(crate) fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("quipu.log")
    }

    /// From the next start on its machine is one that was started anew: the page cache is gone.
    pub(crate) fn restart_machine(&mut self) -> Result<()> {
        self.boots += 1;
        let boot = format!("00000000-0000-4000-8000-{:012}\n", self.boots);
        std::fs::write(self.home.join("boot_id"), boot)?;
        Ok(())
    }

    /// It may end by itself from now on (or may not any more): its disk fails.
    pub(crate) fn let_end(&mut self, may_end: bool) {
        self.may_end = may_end;
    }

    /// Whether it runs and is not paused.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Whether there is no process.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    /// Starts the process, unless there is one; it is not ready yet.
    pub(crate) fn start(&mut self) -> Result<()> {
        if !self.is_down() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", network::namespace(self.id)))
            .args(["unshare", "--mount", "--propagation", "slave"])
            .args(["sh", "-c", BECOME])
            .arg(self.home.join("boot_id"))
            .arg("env");
        if let Some(clock) = &self.clock {
            command.args(clock.environment());
        }
        command
            .arg(&self.settings.quipu)
            .args(["serve", "--config"])
            .arg(self.home.join("quipu.toml"));
        if let Some(bug) = &self.settings.plant {
            command.args(["--planted-bug", bug.name]);
        }
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"QUIPU_"))
        {
            command.env_remove(name);
        }
        command.current_dir(&self.home).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        self.state = State::Up(child);
        Ok(())
    }

    /// SIGKILL, paused or not.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let State::Up(mut child) | State::Paused(mut child) =
            std::mem::replace(&mut self.state, State::Down)
        {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Down) {
            State::Up(child) => {
                signal(&child, Signal::STOP)?;
                State::Paused(child)
            }
            other => other,
        };
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Down) {
            State::Paused(child) => {
                signal(&child, Signal::CONT)?;
                State::Up(child)
            }
            other => other,
        };
        Ok(())
    }

    /// SIGTERM, and waits for the end: how it ended, if it ran.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        self.resume()?;
        let State::Up(child) = &mut self.state else {
            return Ok(None);
        };
        signal(child, Signal::TERM)?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = child.try_wait()? {
                self.state = State::Down;
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Err(format!("node {} does not stop within {patience:?}", self.id).into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether it ended by itself: how, and whether it may have. It is down then.
    pub(crate) fn has_ended(&mut self) -> Result<Option<(ExitStatus, bool)>> {
        let State::Up(child) = &mut self.state else {
            return Ok(None);
        };
        let Some(status) = child.try_wait()? else {
            return Ok(None);
        };
        self.state = State::Down;
        Ok(Some((status, self.may_end)))
    }

    /// Whether it says that it has started: its logs are open, and the cluster counts on it.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_up()
            && self
                .probe()
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// The time of day that it tells in its answers, in seconds since 1970.
    pub(crate) fn told_time(&self) -> Result<i64> {
        let answer = self.probe()?;
        let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
        let date = headers.find(|(name, _)| name.eq_ignore_ascii_case("date"));
        let (_, date) = date.ok_or("its answer has no date")?;
        Ok(shell::run("date", &["-d", date, "+%s"])?.trim().parse()?)
    }

    /// Asks `/startupz`: the answer, as it came.
    fn probe(&self) -> Result<String> {
        let address = format!("{}:{HTTP_PORT}", network::address(self.id));
        let mut stream = TcpStream::connect_timeout(&address.parse()?, PROBE)?;
        stream.set_read_timeout(Some(PROBE))?;
        stream.write_all(b"GET /startupz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn configuration(&self, all: &[BrokerId]) -> String {
        let voters = all.iter().map(|node| format!("{:?}", internal_address(*node)));
        let voters = voters.collect::<Vec<_>>().join(", ");
        let (id, address) = (self.id.get(), network::address(self.id));
        // What takes seconds by default takes less, so that a fault of a few seconds is one that is noticed.
        let timers = if self.settings.patient {
            ""
        } else {
            "heartbeat.ms = 300\nsession.timeout.ms = 2000\n[replication]\nlag.max.ms = 3000\n"
        };
        format!(
            "[broker]\nid = {id}\n[data]\ndir = {data:?}\n[http]\nbind = \"{address}:{HTTP_PORT}\"\n\
             [listeners.client]\nbind = \"{address}:{CLIENT_PORT}\"\n\
             [listeners.proxied]\nbind = \"{address}:{proxied}\"\nadvertised = \"{proxy}\"\n\
             [internal]\nbind = \"{address}:{INTERNAL_PORT}\"\n[storage]\nflush.method = \"{flush}\"\n\
             [controllers]\nvoters = [{voters}]\n{timers}",
            data = self.data_dir().display().to_string(),
            proxied = proxy::NODE_PORT,
            proxy = proxy::address(self.id),
            flush = self.volume.flush_method(),
        )
    }
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or("no process id")?;
    Ok(kill_process(pid, signal)?)
}
