//! One directory's names, live and durable, and what a power cut leaves of them.

use crate::chance::Chance;
use crate::state::Ino;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// One change that the directory's next sync makes durable; a power cut keeps or drops it as a whole.
#[derive(Clone, Debug)]
enum Change {
    Add(OsString, Ino),
    Remove(OsString),
    Rename(OsString, OsString, Ino),
}

impl Change {
    fn names(&self) -> [&OsStr; 2] {
        match self {
            Self::Add(name, _) | Self::Remove(name) => [name, name],
            Self::Rename(from, to, _) => [from, to],
        }
    }

    fn apply(&self, names: &mut BTreeMap<OsString, Ino>) {
        match self {
            Self::Add(name, ino) => {
                names.insert(name.clone(), *ino);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, ino) => {
                names.remove(from);
                names.insert(to.clone(), *ino);
            }
        }
    }
}

/// A directory's names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    live: BTreeMap<OsString, Ino>,
    durable: BTreeMap<OsString, Ino>,
    unsynced: Vec<Change>,
}

impl Names {
    pub(crate) fn get(&self, name: &OsStr) -> Option<Ino> {
        self.live.get(name).copied()
    }

    pub(crate) const fn live(&self) -> &BTreeMap<OsString, Ino> {
        &self.live
    }

    /// Every inode that is named, or may be after a power cut.
    pub(crate) fn every_ino(&self, mut each: impl FnMut(Ino)) {
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Add(_, ino) | Change::Rename(_, _, ino) => Some(ino),
            Change::Remove(_) => None,
        });
        let named = self.live.values().chain(self.durable.values());
        named.chain(unsynced).for_each(|ino| each(*ino));
    }

    /// How many changes wait for a sync.
    pub(crate) const fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(crate) fn add(&mut self, name: &OsStr, ino: Ino) {
        self.change(Change::Add(name.to_owned(), ino));
    }

    pub(crate) fn remove(&mut self, name: &OsStr) {
        self.change(Change::Remove(name.to_owned()));
    }

    pub(crate) fn rename(&mut self, from: &OsStr, to: &OsStr, ino: Ino) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), ino));
    }

    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    /// The power goes, and takes every change that waits.
    pub(crate) fn drop_unsynced(&mut self) {
        self.unsynced.clear();
        self.live.clone_from(&self.durable);
    }

    /// The power goes. Of what waits all survives, or none, or the first few, or any whose names no lost one touched.
    pub(crate) fn tear(&mut self, chance: &mut Chance) {
        let changes = std::mem::take(&mut self.unsynced);
        let how = chance.below(5);
        let first = chance.below(changes.len() as u64 + 1);
        let mut lost: Vec<&Change> = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let kept = match how {
                0 => true,
                1 => false,
                2 => (at as u64) < first,
                _ => chance.coin(),
            };
            let touches = |before: &&Change| before.names().iter().any(|name| change.names().contains(name));
            if kept && !lost.iter().any(touches) {
                change.apply(&mut self.durable);
            } else {
                lost.push(change);
            }
        }
        self.live.clone_from(&self.durable);
    }
}
