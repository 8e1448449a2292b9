//! Mounts the file system, obeys the control socket, and mounts again after each power cut.

use crate::control::{Answer, Command, Control};
use crate::fuse::{Shared, Shell};
use crate::medium::BackingFolder;
use crate::state::{Cut, Limits, State};
use fuser::{BackgroundSession, Config, MountOption, Session};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long unmounting waits for whoever still has a file open: the killed node's last threads, a loop device.
const UNMOUNT_WITHIN: Duration = Duration::from_secs(20);

/// How a file system is mounted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where: a directory that is there.
    pub at: PathBuf,
    /// A folder for durable bytes, on a disk with room for them; nothing is left in it.
    pub backing: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// How much there may be.
    pub limits: Limits,
}

/// Why it could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The mount itself.
    #[error("mount {}: {why}", at.display())]
    Mount {
        /// Where.
        at: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The control socket.
    #[error("control socket {}: {why}", path.display())]
    Control {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

/// A mounted file system.
pub struct Daemon {
    shared: Shared,
    at: PathBuf,
    mount: Mutex<Option<Mount>>,
}

struct Mount {
    powered: Arc<AtomicBool>,
    session: BackgroundSession,
}

impl Daemon {
    /// Mounts, and obeys the control socket until it is told to stop. What is durable is gone then too.
    ///
    /// # Errors
    /// If mounting fails, or the control socket cannot be had.
    pub fn run(options: Options) -> Result<(), DaemonError> {
        let at = options.at.clone();
        let mount_failed = |why| DaemonError::Mount { at, why };
        let control_failed = |why| DaemonError::Control {
            path: options.control.clone(),
            why,
        };
        more_descriptors();
        let state = State::new(BackingFolder::new(options.backing), options.limits);
        let daemon = Self {
            shared: Shared::new(state),
            at: options.at,
            mount: Mutex::new(None),
        };
        daemon.on().map_err(mount_failed)?;
        let control = Control::listen(&options.control).map_err(control_failed)?;
        let daemon = Arc::new(daemon);
        let obey = {
            let daemon = Arc::clone(&daemon);
            Arc::new(move |command| daemon.obey(command))
        };
        let served = control.serve(&obey).map_err(control_failed);
        // Nobody is there to hear of it, and the mount dies with the process anyway.
        let _ = std::fs::remove_file(&options.control);
        served
    }

    fn obey(&self, command: Command) -> Answer {
        let said = match command {
            Command::PowerCut(how) => self.off(how).and_then(|()| self.on()),
            Command::Off(how) => self.off(how),
            Command::On => self.on(),
            Command::Stop => self.unmount(),
            Command::FailSyncs(count) => {
                self.shared.state().fail_syncs(count);
                Ok(())
            }
            Command::Full(bytes) => {
                self.shared.state().set_room(Some(bytes));
                Ok(())
            }
            Command::Slow(delay) => {
                self.shared.set_slow(delay);
                Ok(())
            }
            Command::Clear => {
                self.shared.set_slow(Duration::ZERO);
                self.shared.state().clear_faults();
                Ok(())
            }
            Command::Stats => Ok(()),
        };
        Answer {
            stop: command == Command::Stop && said.is_ok(),
            said: said.map(|()| self.stats()).map_err(|error| error.to_string()),
        }
    }

    fn stats(&self) -> String {
        let state = self.shared.state();
        let stats = state.stats();
        let parts = [
            ("writes", stats.writes),
            ("bytes_written", stats.bytes_written),
            ("file_syncs", stats.file_syncs),
            ("dir_syncs", stats.dir_syncs),
            ("failed_syncs", stats.failed_syncs),
            ("full", stats.full),
            ("written_back", stats.written_back),
            ("cuts", stats.cuts),
            ("sectors_lost", stats.sectors_lost),
            ("names_at_stake", stats.names_at_stake),
            ("held", state.held()),
        ];
        parts.map(|(name, number)| format!("{name}={number}")).join(" ")
    }

    fn mount(&self) -> std::sync::MutexGuard<'_, Option<Mount>> {
        self.mount.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes. Whoever still asks the mount gets EIO.
    fn off(&self, how: Cut) -> io::Result<()> {
        let mount = self.mount();
        let mut state = self.shared.state();
        if let Some(mount) = &*mount
            && !mount.powered.swap(false, Ordering::SeqCst)
        {
            return Err(io::Error::other("the power is gone already"));
        }
        self.shared.set_slow(Duration::ZERO);
        state.cut(how)?;
        Ok(())
    }

    /// The power comes back: the old mount goes, and the kernel's page cache with it.
    fn on(&self) -> io::Result<()> {
        if let Some(mount) = &*self.mount()
            && mount.powered.load(Ordering::SeqCst)
        {
            return Err(io::Error::other("the power is on"));
        }
        self.unmount()?;
        let powered = Arc::new(AtomicBool::new(true));
        let shell = Shell::new(self.shared.clone(), Arc::clone(&powered));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("lossyfs".to_owned()),
            MountOption::Subtype("lossyfs".to_owned()),
            MountOption::NoAtime,
        ];
        config.n_threads = Some(4);
        config.clone_fd = true;
        let session = Session::new(shell, &self.at, &config)?.spawn()?;
        *self.mount() = Some(Mount { powered, session });
        Ok(())
    }

    fn unmount(&self) -> io::Result<()> {
        let mut mount = self.mount();
        if mount.is_none() {
            return Ok(());
        }
        let until = Instant::now() + UNMOUNT_WITHIN;
        loop {
            match rustix::mount::unmount(&self.at, UnmountFlags::empty()) {
                Ok(()) => break,
                Err(Errno::BUSY) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(still_used(&self.at, error)),
            }
        }
        // Its threads end when the kernel lets go of it, which another mount namespace may delay: nobody waits for them.
        drop(mount.take().map(|mount| mount.session));
        Ok(())
    }
}

fn still_used(at: &Path, error: Errno) -> io::Error {
    io::Error::other(format!("unmount {}: {error}", at.display()))
}

/// Each file has one descriptor; nobody is served by the usual thousand.
fn more_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    // Then files fail to be made, which is said where it happens.
    let _ = setrlimit(Resource::Nofile, wanted);
}
