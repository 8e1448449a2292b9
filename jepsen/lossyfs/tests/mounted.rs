//! On a real mount, in a mount namespace of its own, on both ways to flush: what was synced is there after the power was
//! cut, and what was not is gone. Needs root and `/dev/fuse`; where `CI=true` it must run, elsewhere it says why not.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use quipu_lossyfs::ask;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, fdatasync, flock, fsync, syncfs};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "LOSSYFS_TEST_INSIDE";

/// Runs `test` in a mount namespace of its own, by running this program again for that one test.
fn in_a_namespace(name: &str, test: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let must = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if let Some(why) = why_not() {
        assert!(!must, "lossyfs must be tried in CI: {why}");
        eprintln!("SKIPPED {name}: {why}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(this)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its mount namespace");
}

fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    if let Err(why) = OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        return Some(format!("/dev/fuse: {why}"));
    }
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).into_owned()),
        Err(why) => Some(format!("unshare: {why}")),
    }
}

struct Mounted {
    folder: tempfile::TempDir,
    process: Child,
}

impl Mounted {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["at", "backing"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let path = |name| folder.path().join(name);
        let process = Command::new(env!("CARGO_BIN_EXE_lossyfs"))
            .arg("mount")
            .args([Path::new("--at"), &path("at")])
            .args([Path::new("--backing"), &path("backing")])
            .args([Path::new("--control"), &path("control")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut mounted = Self { folder, process };
        let until = Instant::now() + Duration::from_secs(30);
        while ask(&mounted.control(), "stats").is_err() {
            assert!(Instant::now() < until, "lossyfs did not mount");
            assert_eq!(mounted.process.try_wait().unwrap(), None, "lossyfs ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        mounted
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("at").join(name)
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    fn say(&self, command: &str) -> String {
        ask(&self.control(), command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn sync_dir(&self) {
        fsync(File::open(self.at("")).unwrap()).unwrap();
    }

    fn create(&self, name: &str) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(self.at(name)).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if ask(&self.control(), "stop").is_err() {
            self.process.kill().ok();
        }
        self.process.wait().ok();
    }
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

#[test]
fn fdatasync_on_the_mount_itself() {
    in_a_namespace("fdatasync_on_the_mount_itself", || {
        let fs = Mounted::new();
        let file = fs.create("log");
        fs.sync_dir();
        file.write_all_at(&[1; 4096], 0).unwrap();
        fdatasync(&file).unwrap();
        file.write_all_at(&[2; 4096], 4096).unwrap();
        // Neither its name nor its bytes.
        fs.create("unsynced").write_all(b"gone").unwrap();
        // Its bytes, and not its name.
        let nameless = fs.create("nameless");
        nameless.write_all_at(b"gone too", 0).unwrap();
        fsync(&nameless).unwrap();
        assert_eq!(fs::read(fs.at("log")).unwrap().len(), 8192);
        drop((file, nameless));
        fs.say("drop");
        assert_eq!(fs::read(fs.at("log")).unwrap(), [1; 4096]);
        assert_eq!(fs::read_dir(fs.at("")).unwrap().count(), 1);
        // `syncfs` says yes and reaches nobody: on this path it is no flush.
        let file = OpenOptions::new().append(true).open(fs.at("log")).unwrap();
        (&file).write_all(&[3; 10]).unwrap();
        syncfs(&file).unwrap();
        drop(file);
        fs.say("drop");
        assert_eq!(fs::read(fs.at("log")).unwrap(), [1; 4096]);
        // A rename that was not synced is undone, and one that was is not.
        fs::rename(fs.at("log"), fs.at("other")).unwrap();
        fs.say("drop");
        assert!(fs.at("log").exists() && !fs.at("other").exists());
        fs::rename(fs.at("log"), fs.at("other")).unwrap();
        fs.sync_dir();
        fs.say("drop");
        assert!(!fs.at("log").exists() && fs.at("other").exists());
    });
}

#[test]
fn syncfs_on_ext4_over_a_loop_device() {
    in_a_namespace("syncfs_on_ext4_over_a_loop_device", || {
        let fs = Mounted::new();
        let image = fs.create("image");
        image.set_len(256 << 20).unwrap();
        run(
            "mkfs.ext4",
            &["-q", "-F", "-E", "nodiscard"]
                .map(Path::new)
                .into_iter()
                .chain([fs.at("image").as_path()])
                .collect::<Vec<_>>(),
        );
        fsync(&image).unwrap();
        drop(image);
        fs.sync_dir();
        let guest = fs.folder.path().join("guest");
        fs::create_dir(&guest).unwrap();
        let mount = || {
            run(
                "mount",
                &[Path::new("-o"), Path::new("loop"), &fs.at("image"), &guest],
            )
        };
        let unmount = || run("umount", &[&guest]);
        mount();
        let root = File::open(&guest).unwrap();
        fs::write(guest.join("synced"), vec![1; 100_000]).unwrap();
        syncfs(&root).unwrap();
        fs::write(guest.join("unsynced"), vec![2; 100_000]).unwrap();
        let mut grown = OpenOptions::new()
            .append(true)
            .open(guest.join("synced"))
            .unwrap();
        grown.write_all(&vec![3; 100_000]).unwrap();
        assert_eq!(fs::read(guest.join("synced")).unwrap().len(), 200_000);
        drop((root, grown));
        // The power goes first: what unmounting flushes reaches nothing any more.
        fs.say("off drop");
        unmount();
        fs.say("on");
        mount();
        assert_eq!(fs::read(guest.join("synced")).unwrap(), vec![1; 100_000]);
        assert!(!guest.join("unsynced").exists());
        // And the same with a part of what was not synced surviving.
        for seed in 0..5 {
            let root = File::open(&guest).unwrap();
            let name = format!("synced-{seed}");
            fs::write(guest.join(&name), vec![4; 50_000]).unwrap();
            syncfs(&root).unwrap();
            fs::write(guest.join("unsynced"), vec![5; 3_000_000]).unwrap();
            drop(root);
            fs.say(&format!("off torn {seed}"));
            unmount();
            fs.say("on");
            mount();
            assert_eq!(
                fs::read(guest.join(&name)).unwrap(),
                vec![4; 50_000],
                "seed {seed}"
            );
        }
        unmount();
    });
}

#[test]
fn what_a_log_asks_of_a_disk() {
    in_a_namespace("what_a_log_asks_of_a_disk", || {
        let fs = Mounted::new();
        let lock = fs.create("lock");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let second = File::open(fs.at("lock")).unwrap();
        let refused = flock(&second, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(refused, Err(Errno::WOULDBLOCK));
        let file = fs.create("segment");
        fallocate(&file, FallocateFlags::empty(), 0, 3 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 << 20);
        let large: Vec<u8> = (0..3 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        file.write_all_at(&large, 0).unwrap();
        file.set_len(2 << 20).unwrap();
        assert!(fs::read(fs.at("segment")).unwrap() == large[..2 << 20]);
        fs::create_dir_all(fs.at("deep/er")).unwrap();
        for number in 0..300 {
            fs::write(fs.at("deep/er").join(format!("file-{number}")), b"x").unwrap();
        }
        assert_eq!(fs::read_dir(fs.at("deep/er")).unwrap().count(), 300);
        fs::remove_dir_all(fs.at("deep")).unwrap();
        assert!(!fs.at("deep").exists());
    });
}

#[test]
fn faults_do_what_they_say() {
    in_a_namespace("faults_do_what_they_say", || {
        let fs = Mounted::new();
        let file = fs.create("log");
        fs.sync_dir();
        file.set_len(8192).unwrap();
        fsync(&file).unwrap();
        fs.say("fail-fsync 1");
        file.write_all_at(b"lost", 0).unwrap();
        assert_eq!(fdatasync(&file), Err(Errno::IO));
        assert_eq!(fdatasync(&file), Ok(()), "once failed, the data counts as clean");
        assert!(fs::read(fs.at("log")).unwrap().starts_with(b"lost"));
        fs.say("full 6");
        file.write_all_at(b"123456", 8192).unwrap();
        let error = file.write_all_at(b"7", 8198).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC));
        assert!(fs.say("stats").contains("full=1"));
        fs.say("clear");
        file.write_all_at(b"7", 8198).unwrap();
        fs.say("slow 200");
        let begun = Instant::now();
        file.write_all_at(b"8", 8199).unwrap();
        fdatasync(&file).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(400));
        fs.say("clear");
        drop(file);
        assert!(ask(&fs.control(), "drop everything").is_err());
        assert!(ask(&fs.control(), "on").is_err(), "it is on already");
        fs.say("off torn 1");
        assert!(ask(&fs.control(), "off drop").is_err(), "it is off already");
        assert!(fs::read(fs.at("log")).is_err());
        fs.say("on");
        assert!(!fs::read(fs.at("log")).unwrap().starts_with(b"lost"));
    });
}
