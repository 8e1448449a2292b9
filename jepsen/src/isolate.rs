//! Namespaces of our own: network, mounts and processes.
//!
//! The harness runs itself again below `unshare`. The second one is the first process of its namespace: if it ends, or
//! whoever started it is killed, the kernel kills every node and takes every mount and every network away.

use crate::{Result, shell};
use std::process::{Command, ExitCode};

/// Set for the second one.
const INSIDE: &str = "JEPSEN_INSIDE";
/// What the run is drawn from: both have to say the same.
pub(crate) const SEED: &str = "JEPSEN_SEED";

/// Where this process runs.
pub(crate) enum Place {
    /// On the machine: the run took place inside, and ended like this.
    Outside(ExitCode),
    /// In namespaces of its own.
    Inside,
}

/// Goes inside, or says that we are.
pub(crate) fn enter(seed: u64) -> Result<Place> {
    if std::env::var_os(INSIDE).is_some() {
        prepare()?;
        return Ok(Place::Inside);
    }
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--net", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env(SEED, seed.to_string())
        .status()
        .map_err(|error| format!("setpriv and unshare (util-linux) are needed: {error}"))?;
    // A signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Place::Outside(ExitCode::from(
        code.unwrap_or(crate::output::NOT_RUN),
    )))
}

/// Makes room for what commands keep outside of namespaces: `ip` its names, `libfaketime` its shared memory.
fn prepare() -> Result<()> {
    // What is mounted and unmounted here is so for nodes too, which have mounts of their own besides.
    shell::run("mount", &["--make-rshared", "/"])?;
    std::fs::create_dir_all("/run/netns")?;
    for place in ["/run/netns", "/dev/shm"] {
        shell::run("mount", &["-t", "tmpfs", "tmpfs", place])?;
    }
    shell::run("ip", &["link", "set", "lo", "up"])?;
    Ok(())
}
