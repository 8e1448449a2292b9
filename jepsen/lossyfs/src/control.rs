//! The control socket: a line asks, a line answers. Whatever comes in is bounded and checked.

use crate::state::Cut;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// The longest line that is taken.
const LINE_MAX: usize = 200;
/// Connections that are served at a time.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection may keep a line waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take: remounting waits for what still has files open.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The longest that writes and syncs may be made to take.
const SLOW_MAX: Duration = Duration::from_secs(60);

/// What can be asked of a mounted file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// `drop`, `torn SEED`: the power goes and comes back. Whoever used the mount has been killed before.
    PowerCut(Cut),
    /// `off drop`, `off torn SEED`: the power goes, and everything fails until `on`: for a loop device on top, which
    /// would otherwise be flushed while it is being taken down.
    Off(Cut),
    /// `on`: mounts again, so that the kernel's page cache forgets too.
    On,
    /// `fail-fsync N`: the next N syncs with something to do fail with EIO.
    FailSyncs(u64),
    /// `full BYTES`: room for so many more bytes.
    Full(u64),
    /// `slow MS`: each write and sync takes so much longer.
    Slow(Duration),
    /// `clear`: no fault any more.
    Clear,
    /// `stats`: what was done, as `name=number` parts.
    Stats,
    /// `stop`: unmounts, and the process ends.
    Stop,
}

/// A line that is no command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a command: say drop | torn SEED | off drop | off torn SEED | on | fail-fsync N | full BYTES | slow MS | clear | stats | stop"
)]
pub struct Malformed;

impl FromStr for Command {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |word: &str| {
            let digits = word.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| word.parse::<u64>().ok())
                .flatten()
                .ok_or(Malformed)
        };
        Ok(match words[..] {
            ["drop"] => Self::PowerCut(Cut::Drop),
            ["torn", seed] => Self::PowerCut(Cut::Torn(number(seed)?)),
            ["off", "drop"] => Self::Off(Cut::Drop),
            ["off", "torn", seed] => Self::Off(Cut::Torn(number(seed)?)),
            ["on"] => Self::On,
            ["fail-fsync", count] => Self::FailSyncs(number(count)?),
            ["full", bytes] => Self::Full(number(bytes)?),
            ["slow", ms] => match Duration::from_millis(number(ms)?) {
                long if long > SLOW_MAX => return Err(Malformed),
                delay => Self::Slow(delay),
            },
            ["clear"] => Self::Clear,
            ["stats"] => Self::Stats,
            ["stop"] => Self::Stop,
            _ => return Err(Malformed),
        })
    }
}

/// A listening control socket.
#[derive(Debug)]
pub struct Control(UnixListener);

impl Control {
    /// Listens at `path`, in place of a socket that an earlier process left there.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(path).map(Self)
    }

    /// Answers whoever asks, until `obey` says that this was the last command.
    ///
    /// # Errors
    /// If listening fails.
    pub fn serve(&self, obey: &Arc<impl Fn(Command) -> Answer + Send + Sync + 'static>) -> io::Result<()> {
        let busy = Arc::new(AtomicUsize::new(0));
        let (last, ended) = std::sync::mpsc::sync_channel(CONNECTIONS_MAX + 1);
        let listener = self.0.try_clone()?;
        let obey = Arc::clone(obey);
        let accept = move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { continue };
                if busy.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                    busy.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let (obey, busy, last) = (Arc::clone(&obey), Arc::clone(&busy), last.clone());
                thread::spawn(move || {
                    if converse(&connection, &*obey).is_ok_and(|stop| stop) {
                        let _ = last.try_send(());
                    }
                    busy.fetch_sub(1, Ordering::SeqCst);
                });
            }
        };
        thread::Builder::new().name("control".to_owned()).spawn(accept)?;
        ended.recv().map_err(io::Error::other)
    }
}

/// What is said to a command: how it went, and whether it was the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What it did, or why it did not; one line.
    pub said: Result<String, String>,
    /// Whether the process ends.
    pub stop: bool,
}

/// Serves one connection; whether the process is to end.
fn converse(connection: &UnixStream, obey: &impl Fn(Command) -> Answer) -> io::Result<bool> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(connection);
    loop {
        let mut line = Vec::new();
        let most = LINE_MAX as u64 + 1;
        (&mut lines).take(most).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            let mut connection = connection;
            // The end, half a line, or a line without end.
            if !line.is_empty() {
                connection.write_all(b"error not a line\n")?;
            }
            return Ok(false);
        }
        let command = std::str::from_utf8(&line)
            .map_err(|_| Malformed)
            .and_then(str::parse);
        let answer = match command {
            Ok(command) => obey(command),
            Err(malformed) => Answer {
                said: Err(malformed.to_string()),
                stop: false,
            },
        };
        let said = match &answer.said {
            Ok(said) => format!("ok {said}\n"),
            Err(why) => format!("error {}\n", why.replace('\n', " ")),
        };
        let mut connection = connection;
        connection.write_all(said.as_bytes())?;
        if answer.stop {
            return Ok(true);
        }
    }
}

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers.
    #[error("the control socket: {0}")]
    Unreachable(#[from] io::Error),
    /// It said no.
    #[error("lossyfs: {0}")]
    Refused(String),
}

/// Asks the file system behind the control socket at `path`, and waits until it is done.
///
/// # Errors
/// If nobody answers, or the command failed.
pub fn ask(path: &Path, command: &str) -> Result<String, AskError> {
    let mut connection = UnixStream::connect(path)?;
    connection.set_read_timeout(Some(ANSWER_WITHIN))?;
    connection.write_all(format!("{command}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(&connection).take(1 << 16).read_line(&mut line)?;
    match line.trim_end().split_once(' ') {
        Some(("ok", said)) => Ok(said.to_owned()),
        Some(("error", why)) => Err(AskError::Refused(why.to_owned())),
        _ if line.starts_with("ok") => Ok(String::new()),
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

#[cfg(test)]
mod tests;
