//! A node's disk that loses what was not synced: a `lossyfs` of its own, and on it, if it is asked for, a file with an
//! ext4 of its own behind a loop device, so that `syncfs` too has somebody to reach.

use crate::{Result, shell};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long mounting may take.
const MOUNT_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The size of an ext4; what is not used of it takes no room.
const IMAGE_BYTES: &str = "6G";

/// How nodes flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Flush {
    /// Each file for itself, on lossyfs.
    #[default]
    Fdatasync,
    /// The whole file system, on ext4 on a loop device on lossyfs.
    Syncfs,
}

impl Flush {
    /// What the node is told.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Fdatasync => "fdatasync",
            Self::Syncfs => "syncfs",
        }
    }
}

/// What disks a run has.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    /// How nodes flush.
    pub(crate) flush: Flush,
    /// The executable that mounts them.
    pub(crate) lossyfs: PathBuf,
}

impl Disks {
    /// Mounted by the `lossyfs` beside this executable.
    pub(crate) fn new(flush: Flush) -> Result<Self> {
        let lossyfs = std::env::current_exe()?.with_file_name("lossyfs");
        if !lossyfs.exists() {
            let path = lossyfs.display();
            return Err(format!("{path} is missing: cargo build -p quipu-lossyfs").into());
        }
        Ok(Self { flush, lossyfs })
    }
}

/// How the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// All that was not synced is lost.
    Drop,
    /// A part of it survives, as the seed says.
    Torn(u64),
}

impl Cut {
    fn words(self) -> String {
        match self {
            Self::Drop => "drop".to_owned(),
            Self::Torn(seed) => format!("torn {seed}"),
        }
    }
}

/// A disk that loses what was not synced.
pub(crate) struct LossyDisk {
    flush: Flush,
    lossyfs: PathBuf,
    home: PathBuf,
    mount: PathBuf,
    data_dir: PathBuf,
    daemon: Option<Child>,
    /// Disks so far: each has its own mount points, since other nodes may still see those of the one before.
    disks: u32,
}

impl LossyDisk {
    /// Mounts an empty one in `home`.
    pub(crate) fn new(home: &Path, disks: &Disks) -> Result<Self> {
        let mut disk = Self {
            flush: disks.flush,
            lossyfs: disks.lossyfs.clone(),
            home: home.join("disk"),
            mount: home.join("data"),
            data_dir: home.join("data/quipu"),
            daemon: None,
            disks: 0,
        };
        std::fs::create_dir_all(&disk.mount)?;
        disk.begin()?;
        Ok(disk)
    }

    /// The directory that the node makes on it: it has to sync that name too.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) const fn flush(&self) -> Flush {
        self.flush
    }

    fn control(&self) -> PathBuf {
        self.home.join(format!("control-{}", self.disks))
    }

    /// Where lossyfs is mounted: under the data, or under the image.
    fn at(&self) -> PathBuf {
        match self.flush {
            Flush::Fdatasync => self.mount.clone(),
            Flush::Syncfs => self.home.join(format!("lossy-{}", self.disks)),
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.disks += 1;
        let backing = self.home.join("backing");
        let (at, control) = (self.at(), self.control());
        std::fs::create_dir_all(&backing)?;
        std::fs::create_dir_all(&at)?;
        let daemon = Command::new(&self.lossyfs)
            .arg("mount")
            .args([Path::new("--at"), &at])
            .args([Path::new("--backing"), &backing])
            .args([Path::new("--control"), &control])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.lossyfs.display()))?;
        self.daemon = Some(daemon);
        let until = Instant::now() + MOUNT_WITHIN;
        while let Err(error) = quipu_lossyfs::ask(&control, "stats") {
            if Instant::now() > until {
                return Err(format!("lossyfs does not mount within {MOUNT_WITHIN:?}: {error}").into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if self.flush == Flush::Syncfs {
            let image = self.image();
            shell::run("truncate", &["-s", IMAGE_BYTES, &image])?;
            shell::run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "nodiscard", &image])?;
            shell::run("sync", &[&image, &at.display().to_string()])?;
            self.mount_image()?;
        }
        Ok(())
    }

    fn image(&self) -> String {
        self.at().join("image").display().to_string()
    }

    fn mount_image(&self) -> Result<()> {
        let data = self.mount.display().to_string();
        shell::run("mount", &["-o", "loop", &self.image(), &data]).map(drop)
    }

    /// Says something to lossyfs.
    pub(crate) fn say(&self, command: &str) -> Result<String> {
        Ok(quipu_lossyfs::ask(&self.control(), command)?)
    }

    /// The sum of what lossyfs counted under these names so far.
    pub(crate) fn counted(&self, names: &[&str]) -> Result<u64> {
        let stats = self.say("stats")?;
        let mut sum = 0;
        for name in names {
            let mut parts = stats.split_whitespace().filter_map(|part| part.split_once('='));
            let found = parts.find(|(part, _)| part == name);
            let (_, count) = found.ok_or_else(|| format!("lossyfs does not count {name}: {stats}"))?;
            sum += count.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Bytes that are left on it.
    pub(crate) fn free(&self) -> Result<u64> {
        let free = rustix::fs::statvfs(&self.mount)?;
        Ok(free.f_bavail * free.f_frsize)
    }

    /// The power goes and comes back. The node was killed before.
    pub(crate) fn power_cut(&self, how: Cut) -> Result<()> {
        match self.flush {
            Flush::Fdatasync => self.say(&how.words())?,
            Flush::Syncfs => {
                // First the power: what unmounting flushes must reach nothing.
                self.power_off(how)?;
                self.power_on()?;
                String::new()
            }
        };
        Ok(())
    }

    /// The power goes, whoever is at work: whatever is asked of the disk from now on fails.
    pub(crate) fn power_off(&self, how: Cut) -> Result<()> {
        self.say(&format!("off {}", how.words())).map(drop)
    }

    /// It comes back. The node was killed meanwhile.
    pub(crate) fn power_on(&self) -> Result<()> {
        if self.flush == Flush::Syncfs {
            shell::run("umount", &[&self.mount.display().to_string()])?;
        }
        self.say("on")?;
        if self.flush == Flush::Syncfs {
            self.mount_image()?;
        }
        Ok(())
    }

    /// Leaves room for so many more bytes.
    pub(crate) fn fill(&self, room: u64) -> Result<()> {
        match self.flush {
            Flush::Fdatasync => self.say(&format!("full {room}")).map(drop),
            Flush::Syncfs => {
                let bytes = self.free()?.saturating_sub(room);
                shell::run("fallocate", &["-l", &bytes.to_string(), &self.filler()]).map(drop)
            }
        }
    }

    fn filler(&self) -> String {
        self.mount.join("filler").display().to_string()
    }

    /// No fault any more.
    pub(crate) fn clear(&self) -> Result<()> {
        if self.flush == Flush::Syncfs {
            shell::run("rm", &["-f", &self.filler()])?;
        }
        self.say("clear").map(drop)
    }

    /// Another disk in its place, with nothing on it. The node is down.
    pub(crate) fn replace(&mut self) -> Result<()> {
        if self.flush == Flush::Syncfs {
            shell::run("umount", &[&self.mount.display().to_string()])?;
        }
        self.say("stop")?;
        self.end();
        self.begin()
    }

    fn end(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // One that was told to stop ends by itself, and no other is of use.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        // The mounts are those of the run's own namespace, and go with it.
        self.end();
    }
}
