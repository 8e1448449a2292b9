//! The rules against a model that keeps two whole copies of everything: one live, one durable.
#![expect(clippy::unwrap_used, reason = "a test")]

use proptest::collection::vec;
use proptest::prelude::*;
use quipu_lossyfs::{Cut, Ino, Kind, Limits, Memory, State};
use std::collections::BTreeMap;
use std::ffi::OsStr;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Make(usize),
    Write(usize, u64, usize, u8),
    SetLen(usize, u64),
    Remove(usize),
    Rename(usize, usize),
    SyncFile(usize),
    SyncFails(usize),
    SyncDir,
    Drop,
    Torn(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..NAMES.len();
    let step = prop_oneof![
        3 => name.clone().prop_map(Step::Make),
        8 => (name.clone(), 0..20_000_u64, 0..9000_usize, 1..=u8::MAX).prop_map(|(n, at, len, byte)| Step::Write(n, at, len, byte)),
        3 => (name.clone(), 0..25_000_u64).prop_map(|(n, len)| Step::SetLen(n, len)),
        2 => name.clone().prop_map(Step::Remove),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        4 => name.clone().prop_map(Step::SyncFile),
        1 => name.prop_map(Step::SyncFails),
        3 => Just(Step::SyncDir),
        1 => Just(Step::Drop),
        1 => any::<u64>().prop_map(Step::Torn),
    ];
    vec(step, 1..60)
}

#[derive(Clone, Default, Debug)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// For each byte: a sync would write it.
    dirty: Vec<bool>,
    /// The shortest it was since the last sync: what is durable below, and clean, is safe whatever happens.
    shortest: usize,
}

impl File {
    fn write(&mut self, at: usize, len: usize, byte: u8) {
        // A sector is dirty as a whole.
        let (from, to) = (at / 512 * 512, (at + len).div_ceil(512) * 512);
        if len > 0 {
            self.live.resize(self.live.len().max(at + len), 0);
            self.live[at..at + len].fill(byte);
            self.dirty.resize(self.dirty.len().max(to), false);
            self.dirty[from..to].fill(true);
        }
    }

    fn set_len(&mut self, len: usize) {
        self.live.resize(len, 0);
        self.shortest = self.shortest.min(len);
    }

    fn sync(&mut self) {
        self.durable.truncate(self.shortest);
        self.durable.resize(self.live.len(), 0);
        for at in 0..self.live.len() {
            if self.is_dirty(at) {
                self.durable[at] = self.live[at];
            }
        }
        self.dirty.clear();
        self.shortest = self.live.len();
    }

    fn is_dirty(&self, at: usize) -> bool {
        self.dirty.get(at).copied().unwrap_or_default()
    }

    fn cut(&mut self) {
        self.live.clone_from(&self.durable);
        self.dirty.clear();
        self.shortest = self.live.len();
    }
}

#[derive(Default)]
struct Model {
    files: Vec<File>,
    live: BTreeMap<usize, usize>,
    durable: BTreeMap<usize, usize>,
    /// Names were changed since the directory was synced, even if they came to be what they were.
    renamed: bool,
}

fn find(state: &State<Memory>, name: usize) -> Option<Ino> {
    let found = state.find(Ino::ROOT, OsStr::new(NAMES[name]));
    found.ok().map(|about| about.ino)
}

fn contents(state: &State<Memory>, ino: Ino) -> Vec<u8> {
    state.read(ino, 0, 1 << 20).unwrap()
}

fn file_step(state: &mut State<Memory>, file: &mut File, ino: Ino, step: &Step) {
    match *step {
        Step::Write(_, at, len, byte) => {
            assert_eq!(state.write(ino, at, &vec![byte; len]), Ok(len));
            file.write(usize::try_from(at).unwrap(), len, byte);
        }
        Step::SetLen(_, len) => {
            state.set_len(ino, len).unwrap();
            file.set_len(usize::try_from(len).unwrap());
        }
        Step::SyncFile(_) => {
            state.sync_file(ino).unwrap();
            file.sync();
        }
        Step::SyncFails(_) => {
            state.fail_syncs(1);
            if state.sync_file(ino).is_err() {
                file.dirty.clear();
            }
            state.clear_faults();
        }
        _ => unreachable!(),
    }
}

fn apply(state: &mut State<Memory>, model: &mut Model, step: &Step) {
    let root = Ino::ROOT;
    let name = |name: usize| OsStr::new(NAMES[name]);
    match *step {
        Step::Make(at) => {
            let made = state.make(root, name(at), Kind::File).is_ok();
            assert_eq!(made, !model.live.contains_key(&at));
            model.renamed |= made;
            if made {
                model.live.insert(at, model.files.len());
                model.files.push(File::default());
            }
        }
        Step::Remove(at) => {
            let gone = state.remove(root, name(at), Kind::File).is_ok();
            assert_eq!(gone, model.live.remove(&at).is_some());
            model.renamed |= gone;
        }
        Step::Rename(from, to) => {
            let moved = state.rename((root, name(from)), (root, name(to)), true).is_ok();
            assert_eq!(moved, model.live.contains_key(&from));
            model.renamed |= moved;
            if let Some(file) = model.live.remove(&from) {
                model.live.insert(to, file);
            }
        }
        Step::SyncDir => {
            state.sync_dir(root).unwrap();
            model.durable = model.live.clone();
            model.renamed = false;
        }
        Step::Drop => {
            model.renamed = false;
            state.cut(Cut::Drop).unwrap();
            model.live = model.durable.clone();
            model.files.iter_mut().for_each(File::cut);
            assert_eq!(state.held(), 0);
        }
        Step::Torn(seed) => tear(state, model, seed),
        Step::Write(at, ..) | Step::SetLen(at, _) | Step::SyncFile(at) | Step::SyncFails(at) => {
            if let Some(file) = model.live.get(&at) {
                let ino = find(state, at).unwrap();
                file_step(state, &mut model.files[*file], ino, step);
            }
        }
    }
}

/// Names either stayed or changed as somebody asked; what was synced and not touched since is there. The model then
/// takes over whatever the chance left.
fn tear(state: &mut State<Memory>, model: &mut Model, seed: u64) {
    let synced_names = !model.renamed;
    state.cut(Cut::Torn(seed)).unwrap();
    let mut next = Model::default();
    for at in 0..NAMES.len() {
        let found = find(state, at);
        if synced_names {
            assert_eq!(
                found.is_some(),
                model.durable.contains_key(&at),
                "a durable name changed"
            );
        }
        let Some(ino) = found else { continue };
        let bytes = contents(state, ino);
        if synced_names {
            let file = &model.files[model.durable[&at]];
            assert!(bytes.len() >= file.shortest.min(file.durable.len()).min(file.live.len()));
            let safe = file.shortest.min(file.durable.len()).min(bytes.len());
            for at in
                (0..safe).filter(|at| file.live.get(*at) == file.durable.get(*at) && !file.is_dirty(*at))
            {
                assert_eq!(bytes[at], file.durable[at], "a durable byte at {at} changed");
            }
        }
        next.live.insert(at, next.files.len());
        next.files.push(File {
            live: bytes.clone(),
            shortest: bytes.len(),
            durable: bytes,
            dirty: Vec::new(),
        });
    }
    next.durable = next.live.clone();
    *model = next;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_are_those_of_the_model(steps in steps()) {
        let mut state = State::new(Memory, Limits::default());
        let mut model = Model::default();
        for step in &steps {
            apply(&mut state, &mut model, step);
            for (at, name) in NAMES.iter().enumerate() {
                let expected = model.live.get(&at).map(|file| model.files[*file].live.clone());
                let found = find(&state, at).map(|ino| contents(&state, ino));
                prop_assert!(found == expected, "{name} differs after {step:?}");
            }
        }
    }
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_room_back() {
    let mut state = State::new(Memory, Limits::default());
    let file = state.make(Ino::ROOT, OsStr::new("a"), Kind::File).unwrap().ino;
    state.set_room(Some(100));
    assert_eq!(state.write(file, 0, &[1; 150]), Ok(100));
    assert!(state.write(file, 100, &[1]).is_err());
    assert_eq!(
        state.write(file, 0, &[2; 100]),
        Ok(100),
        "no room is needed for what is there"
    );
    assert!(state.set_len(file, 101).is_err());
    assert!(state.make(Ino::ROOT, OsStr::new("b"), Kind::File).is_err());
    assert_eq!(state.space().1, 0);
    state.set_len(file, 50).unwrap();
    assert_eq!(state.write(file, 50, &[3; 60]), Ok(50));
    state.remove(Ino::ROOT, OsStr::new("a"), Kind::File).unwrap();
    state.make(Ino::ROOT, OsStr::new("b"), Kind::File).unwrap();
    assert!(state.stats().full > 0);
}

#[test]
fn memory_is_bounded_by_writing_back() {
    let limits = Limits {
        unsynced: 1 << 20,
        unsynced_names: 10,
        ..Limits::default()
    };
    let mut state = State::new(Memory, limits);
    for number in 0..20 {
        let name = format!("{number}");
        let file = state.make(Ino::ROOT, OsStr::new(&name), Kind::File).unwrap().ino;
        state.write(file, 0, &vec![7; 300_000]).unwrap();
        assert!(state.held() <= 1 << 20, "{} bytes", state.held());
    }
    assert!(state.stats().written_back > 0);
}

#[test]
fn files_that_nothing_refers_to_are_freed_and_those_in_use_are_not() {
    let mut state = State::new(Memory, Limits::default());
    let open = state.make(Ino::ROOT, OsStr::new("open"), Kind::File).unwrap().ino;
    state.hold(open);
    state.write(open, 0, b"read on").unwrap();
    state.remove(Ino::ROOT, OsStr::new("open"), Kind::File).unwrap();
    for number in 0..1000 {
        let name = format!("{number}");
        let file = state.make(Ino::ROOT, OsStr::new(&name), Kind::File).unwrap().ino;
        state.write(file, 0, &[1; 5000]).unwrap();
        state.remove(Ino::ROOT, OsStr::new(&name), Kind::File).unwrap();
        state.sync_dir(Ino::ROOT).unwrap();
    }
    assert!(state.held() < 2 << 20, "{} bytes are still held", state.held());
    assert_eq!(state.read(open, 0, 100).unwrap(), b"read on");
    state.cut(Cut::Drop).unwrap();
    assert!(state.read(open, 0, 100).is_err());
}
