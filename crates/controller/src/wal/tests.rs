//! Crashes at every call, torn writes, flipped bits: what is read back is what was synced, or more; never less.

use super::*;
use crate::entry::{LogEntry, Payload};
use crate::log::LogIndex;
use crate::test_util::StoppingDisk;
use frame::Kind;
use quipu_metadata::{Command, DeleteTopic, Request};
use quipu_record::TopicId;
use quipu_storage::test_util::{FakeDisk, Rng};
use std::sync::Arc;

const SEGMENT: u64 = 1024;

fn dir() -> PathBuf {
    PathBuf::from("/m")
}

fn place(term: u64, index: u64) -> LogPlace {
    LogPlace {
        term,
        leader: 1,
        index,
    }
}

fn command(n: u64) -> Command {
    DeleteTopic {
        topic_id: TopicId::from_u128(n.into()),
    }
    .into_command()
}

fn entry(term: u64, index: u64, commands: u64) -> LogEntry {
    let payload = match commands {
        0 => Payload::Blank,
        n => Payload::Commands(
            (0..n)
                .map(|i| command(index * 100 + i))
                .collect::<Vec<_>>()
                .into(),
        ),
    };
    LogEntry {
        place: place(term, index),
        payload,
    }
}

fn entry_op(entry: &LogEntry) -> Op {
    Op::Entry {
        place: entry.place,
        payload: entry.encode(),
    }
}

/// All that a log holds.
#[derive(Clone, PartialEq, Debug, Default)]
struct Held {
    vote: Option<VoteMessage>,
    purged: Option<LogPlace>,
    committed: Option<LogPlace>,
    entries: Vec<LogEntry>,
}

impl Held {
    fn last(&self) -> Option<LogPlace> {
        self.entries.last().map(|entry| entry.place).or(self.purged)
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Vote(vote) => self.vote = Some(*vote),
            Op::Entry { payload, .. } => self.entries.push(LogEntry::decode(payload).expect("an entry")),
            Op::Truncate { from, .. } => self.entries.retain(|entry| entry.place.index < *from),
            Op::Purge(purged) => {
                self.purged = Some(*purged);
                self.entries.retain(|entry| entry.place.index > purged.index);
            }
            Op::Committed(committed) => self.committed = Some(*committed),
        }
    }
}

fn open<D: Disk>(disk: &D) -> Result<(Wal<D>, Recovered), StartError> {
    match disk.create_dir(&dir()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StartError::Io {
                path: dir(),
                source: error,
            });
        }
        _ => {}
    }
    disk.sync_dir(Path::new("/"))
        .map_err(|source| StartError::Io { path: dir(), source })?;
    Wal::open(disk.clone(), &dir(), SEGMENT, 77)
}

/// Reads everything back, from the files alone.
fn held<D: Disk>(wal: &Wal<D>, recovered: &Recovered) -> Held {
    let HardState {
        vote,
        purged,
        committed,
        last,
    } = recovered.state;
    let index = LogIndex::new(purged, &recovered.entries);
    assert_eq!(index.last(), last, "the index and the log agree");
    let files = wal.files();
    let files = files.lock().expect("nobody panicked");
    let read = |(log_place, place): &(LogPlace, Place)| {
        let mut bytes = vec![0; place.len];
        let read = files[&place.segment]
            .read_at(&mut bytes, place.position)
            .expect("readable");
        assert_eq!(read, place.len);
        let (frame, _) = frame::read(&bytes, place.segment, place.position).expect("a frame");
        let entry = LogEntry::decode(frame.payload).expect("an entry");
        assert_eq!(entry.place, *log_place);
        entry
    };
    Held {
        vote,
        purged,
        committed,
        entries: recovered.entries.iter().map(read).collect(),
    }
}

/// The next thing to write, and to the model.
fn next_op(rng: &mut Rng, held: &Held, term: &mut u64) -> Op {
    let next = held.last().map_or(0, |last| last.index + 1);
    match rng.below(20) {
        0 | 1 => {
            *term += 1;
            Op::Vote(VoteMessage {
                term: *term,
                candidate: rng.below(3),
                committed: rng.one_in(2),
            })
        }
        2 if !held.entries.is_empty() => {
            let at = rng.index(held.entries.len());
            *term += 1;
            let last = if at == 0 {
                held.purged
            } else {
                Some(held.entries[at - 1].place)
            };
            Op::Truncate {
                from: held.entries[at].place.index,
                last,
            }
        }
        3 if !held.entries.is_empty() => Op::Purge(held.entries[rng.index(held.entries.len())].place),
        // Beyond the end, as after a snapshot from the leader.
        4 if rng.one_in(4) => Op::Purge(place(*term, next + rng.below(5))),
        5 | 6 if held.last().is_some() => Op::Committed(held.last().expect("some")),
        _ => entry_op(&entry(*term, next, rng.below(4))),
    }
}

/// Writes at random until the disk stops; then says which states may be read back.
fn live<D: Disk>(disk: &D, rng: &mut Rng, history: &mut Vec<Held>, rounds: u64) -> Result<(), StartError> {
    let acked = |history: &mut Vec<Held>, n: usize| drop(history.drain(..n));
    let (mut wal, recovered) = open(disk)?;
    let found = held(&wal, &recovered);
    assert!(
        history.contains(&found),
        "read back {found:#?}, expected one of {history:#?}"
    );
    *history = vec![found.clone()];
    let mut now = found;
    let mut term = now
        .vote
        .map_or(1, |vote| vote.term + 1)
        .max(now.last().map_or(1, |last| last.term + 1));
    let io = |source| StartError::Io { path: dir(), source };
    for _ in 0..rounds {
        let batch = 1 + rng.below(4);
        let mut only_votes = true;
        let mut purges = false;
        for _ in 0..batch {
            let op = next_op(rng, &now, &mut term);
            only_votes &= matches!(op, Op::Vote(_));
            purges |= matches!(op, Op::Purge(_));
            now.apply(&op);
            // It may be read back from now on.
            history.push(now.clone());
            wal.put(&op).map_err(io)?;
        }
        if only_votes { wal.sync_vote() } else { wal.sync() }.map_err(io)?;
        // From now on nothing older may.
        let older = history.len() - 1;
        acked(history, older);
        if purges {
            wal.drop_purged().map_err(io)?;
        }
    }
    Ok(())
}

/// One life with some crashes. Panics if anything was lost or made up.
fn crashes(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let disk = FakeDisk::new(seed);
    let mut history = vec![Held::default()];
    let mut crashes = 0;
    for _ in 0..6 {
        let calls = 1 + rng.below(60);
        let stopping = StoppingDisk::new(disk.clone(), calls);
        match live(&stopping, &mut rng, &mut history, 40) {
            Err(StartError::Io { .. }) if stopping.has_stopped() => {
                disk.crash(rng.next_u64());
                crashes += 1;
            }
            Ok(()) => disk.kill(),
            Err(error) => panic!("{error}"),
        }
    }
    // And it opens, with what it has to have.
    let (wal, recovered) = open(&disk).expect("opens");
    let found = held(&wal, &recovered);
    assert!(
        history.contains(&found),
        "read back {found:#?}, expected one of {history:#?}"
    );
    crashes
}

fn seed_of(seed: u64, body: impl FnOnce(u64) -> u64 + std::panic::UnwindSafe) -> u64 {
    std::panic::catch_unwind(|| body(seed)).unwrap_or_else(|panic| {
        eprintln!("seed {seed}: QUIPU_WAL_SEED={seed} cargo test -p quipu-controller wal");
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn nothing_synced_is_lost_whatever_the_crash_leaves() {
    if let Some(seed) = std::env::var("QUIPU_WAL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        crashes(seed);
        return;
    }
    let crashes: u64 = (0..3_000).map(|seed| seed_of(seed, crashes)).sum();
    assert!(crashes > 10_000, "{crashes} crashes are too few");
}

#[test]
fn a_vote_that_was_not_flushed_is_noticed() {
    let caught = PlantedBug::VoteNotFlushed.plant(|| {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let caught = (0..200).any(|seed| std::panic::catch_unwind(|| crashes(seed)).is_err());
        std::panic::set_hook(quiet);
        caught
    });
    assert!(caught, "the crash test does not see a vote that is not durable");
}

/// A log of three files, with votes, a truncation, a purge and entries, all synced.
fn sample() -> (FakeDisk, Vec<Held>) {
    let disk = FakeDisk::new(1);
    let (mut wal, _) = open(&disk).expect("opens");
    let mut states = vec![Held::default()];
    let mut put = |wal: &mut Wal<FakeDisk>, op: Op| {
        wal.put(&op).expect("put");
        wal.sync().expect("synced");
        let mut next = states[states.len() - 1].clone();
        next.apply(&op);
        states.push(next);
    };
    put(
        &mut wal,
        Op::Vote(VoteMessage {
            term: 1,
            candidate: 77,
            committed: true,
        }),
    );
    for index in 0..30 {
        put(&mut wal, entry_op(&entry(1, index, 2)));
    }
    put(
        &mut wal,
        Op::Truncate {
            from: 28,
            last: Some(place(1, 27)),
        },
    );
    put(&mut wal, entry_op(&entry(2, 28, 1)));
    put(
        &mut wal,
        Op::Vote(VoteMessage {
            term: 3,
            candidate: 77,
            committed: false,
        }),
    );
    put(&mut wal, Op::Purge(place(1, 1)));
    for index in 29..40 {
        put(&mut wal, entry_op(&entry(3, index, 0)));
    }
    drop(wal);
    disk.kill();
    (disk, states)
}

fn wal_files(disk: &FakeDisk) -> Vec<PathBuf> {
    let is_segment =
        |path: &PathBuf| path.to_string_lossy().ends_with("0.wal") || path.to_string_lossy().contains("0000");
    disk.files().into_iter().filter(is_segment).collect()
}

#[test]
fn every_flipped_bit_of_what_was_durable_is_refused_or_harmless() {
    let (disk, states) = sample();
    let [.., before, whole] = &states[..] else {
        panic!("some")
    };
    let files = wal_files(&disk);
    assert!(files.len() >= 3, "{files:?}");
    let last_file = files.last().expect("some").clone();
    let (mut refused, mut tail, mut unseen) = (0, 0, 0);
    for file in &files {
        let len = disk.contents(file).expect("there").len();
        for byte in 0..len {
            let bit = byte % 8;
            let copy = disk.copy(1);
            copy.damage(file, |bytes| bytes[byte] ^= 1 << bit).expect("there");
            match open(&copy) {
                Err(StartError::Corrupt { path, .. }) => {
                    assert_eq!(&path, file, "the file with the fault is named");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
                Ok((wal, recovered)) => {
                    let found = held(&wal, &recovered);
                    if &found == whole {
                        // Padding, or zeros after the end.
                        unseen += 1;
                    } else {
                        // The very last write: nothing was written since that could say that it was durable.
                        assert_eq!(file, &last_file);
                        assert_eq!(&found, before, "byte {byte}");
                        tail += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 1_500, "refused {refused}, tail {tail}, unseen {unseen}");
    assert!(
        tail <= 64,
        "only the last frame cannot be told from a torn tail: {tail}"
    );
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let (disk, _) = sample();
    for file in wal_files(&disk) {
        let len = disk.contents(&file).expect("there").len();
        for keep in 64..len {
            let copy = disk.copy(1);
            copy.damage(&file, |bytes| bytes.truncate(keep)).expect("there");
            let error = open(&copy).expect_err("refused");
            assert!(
                matches!(&error, StartError::Corrupt { path, .. } if *path == file),
                "{keep}: {error}"
            );
        }
    }
}

#[test]
fn zeroed_pages_below_what_was_durable_are_damage() {
    let (disk, _) = sample();
    let file = wal_files(&disk).pop().expect("some");
    disk.damage(&file, |bytes| bytes[64..192].fill(0)).expect("there");
    let error = open(&disk).expect_err("refused");
    assert!(matches!(error, StartError::Corrupt { .. }), "{error}");
}

#[test]
fn a_missing_file_and_another_controllers_file_are_refused() {
    let (disk, _) = sample();
    let files = wal_files(&disk);
    let copy = disk.copy(1);
    copy.remove(&files[1]).expect("removed");
    let error = open(&copy).expect_err("refused");
    assert!(
        error.to_string().contains("this file of the log is missing"),
        "{error}"
    );

    let other = FakeDisk::new(2);
    other.create_dir(&dir()).expect("created");
    drop(Wal::open(other.clone(), &dir(), SEGMENT, 78).expect("opens"));
    let foreign = other.contents(&segment_path(&dir(), 1)).expect("there");
    disk.damage(&files[0], |bytes| bytes.clone_from(&foreign))
        .expect("there");
    let error = open(&disk).expect_err("refused");
    assert!(error.to_string().contains("another controller"), "{error}");
}

#[test]
fn a_frame_of_a_newer_version_stops_the_reader() {
    let (disk, _) = sample();
    let file = wal_files(&disk).pop().expect("some");
    let end = {
        let (_, recovered) = open(&disk).expect("opens");
        recovered.end
    };
    disk.kill();
    let number = u64::try_from(wal_files(&disk).len()).expect("few");
    disk.damage(&file, |bytes| {
        // As `frame::put` would write it, were there a kind 99.
        let mut frame = Vec::new();
        frame::put(&mut frame, number, end, Kind::Entry, end, b"from the future");
        let at = usize::try_from(end).expect("small");
        frame[12] = 99;
        let mut checked = crc32c::crc32c(&number.to_le_bytes());
        checked = crc32c::crc32c_append(checked, &end.to_le_bytes());
        checked = crc32c::crc32c_append(checked, &15u32.to_le_bytes());
        checked = crc32c::crc32c_append(checked, &frame[12..frame::HEADER + 15]);
        frame[8..12].copy_from_slice(&checked.to_le_bytes());
        bytes[at..at + frame.len()].copy_from_slice(&frame);
    })
    .expect("there");
    let error = open(&disk).expect_err("refused");
    assert!(
        error.to_string().contains("kind 99 is not known to this version"),
        "{error}"
    );
}

#[test]
fn old_files_go_once_everything_in_them_is_purged_and_not_before() {
    let disk = FakeDisk::new(1);
    let (mut wal, _) = open(&disk).expect("opens");
    for index in 0..100 {
        wal.put(&entry_op(&entry(1, index, 2))).expect("put");
    }
    wal.sync().expect("synced");
    let before = wal_files(&disk).len();
    wal.put(&Op::Purge(place(1, 50))).expect("put");
    wal.sync().expect("synced");
    wal.drop_purged().expect("dropped");
    let after = wal_files(&disk).len();
    assert!(
        after < before && after > before / 4,
        "{before} files, then {after}"
    );
    drop(wal);
    disk.kill();
    let (wal, recovered) = open(&disk).expect("opens");
    let found = held(&wal, &recovered);
    assert_eq!(found.entries.len(), 49);
    assert_eq!(found.purged, Some(place(1, 50)));
}

#[test]
fn a_full_disk_is_met_with_the_file_that_was_prepared() {
    let disk = FakeDisk::new(1);
    let (mut wal, _) = open(&disk).expect("opens");
    disk.set_room(Some(0));
    let mut written = 0;
    while written < 1_000
        && wal
            .put(&entry_op(&entry(1, written, 1)))
            .and_then(|_| wal.sync())
            .is_ok()
    {
        written += 1;
    }
    assert!(
        written > 15,
        "{written} entries fit the file and the one prepared"
    );
    assert!(wal.sync().is_err(), "after an error nothing more is written");
    drop(wal);
    disk.kill();
    disk.set_room(None);
    let (wal, recovered) = open(&disk).expect("opens");
    assert!(held(&wal, &recovered).entries.len() >= usize::try_from(written).expect("few"));
}

#[test]
fn a_failed_sync_is_final() {
    let disk = FakeDisk::new(1);
    let (mut wal, _) = open(&disk).expect("opens");
    wal.put(&entry_op(&entry(1, 0, 1))).expect("put");
    disk.set_faults(quipu_storage::test_util::Faults {
        sync_eio: u16::MAX,
        ..Default::default()
    });
    wal.sync().expect_err("the disk failed");
    disk.set_faults(quipu_storage::test_util::Faults::default());
    wal.sync().expect_err("and the log is not used again");
    wal.put(&entry_op(&entry(1, 1, 1)))
        .expect_err("not even to write");
}

#[test]
fn an_entry_larger_than_a_file_gets_its_own() {
    let disk = FakeDisk::new(1);
    let (mut wal, _) = open(&disk).expect("opens");
    let big = entry(1, 0, 500);
    wal.put(&entry_op(&big)).expect("put");
    wal.put(&entry_op(&entry(1, 1, 1))).expect("put");
    wal.sync().expect("synced");
    drop(wal);
    disk.kill();
    let (wal, recovered) = open(&disk).expect("opens");
    assert_eq!(held(&wal, &recovered).entries, [big, entry(1, 1, 1)]);
    let _shared: Arc<_> = wal.files();
}

/// A change here is a change of what stands on people's disks.
#[test]
fn the_file_has_the_bytes_it_always_had() {
    let disk = FakeDisk::new(1);
    let (mut wal, _) = open(&disk).expect("opens");
    let ops = [
        Op::Vote(VoteMessage {
            term: 2,
            candidate: 77,
            committed: true,
        }),
        entry_op(&entry(2, 0, 1)),
        entry_op(&entry(2, 1, 0)),
        Op::Truncate {
            from: 1,
            last: Some(place(2, 0)),
        },
        Op::Purge(place(2, 0)),
        Op::Committed(place(2, 0)),
    ];
    for op in &ops {
        wal.put(op).expect("put");
        wal.sync().expect("synced");
    }
    let end = usize::try_from(wal.end).expect("small");
    let bytes = disk.contents(&segment_path(&dir(), 1)).expect("there");
    let hex: Vec<String> = bytes[..end]
        .chunks(32)
        .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(hex, GOLDEN);
    assert!(bytes[end..].iter().all(|byte| *byte == 0));
}

const GOLDEN: &[&str] = &[
    "5157414c07000000673964b50100000000000000000000000801104d40800800",
    "5157414c060000003fdd540e0200000020000000000000000802104d18010000",
    "5157414c220000004ace91770300000040000000000000000a0408021001121a",
    "0a18080710011a120a1000000000000000000000000000000000000000000000",
    "5157414c0800000059faf2bb0300000080000000000000000a06080210011801",
    "5157414c080000007e464cb204000000a0000000000000000801120408021001",
    "5157414c04000000caec11c105000000c0000000000000000802100100000000",
    "5157414c040000004bee7deb06000000e0000000000000000802100100000000",
];
