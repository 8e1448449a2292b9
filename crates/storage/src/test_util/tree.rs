//! Directories, live and durable, and what a crash leaves of them.

use super::rng::Rng;
use std::collections::BTreeMap;

/// An inode's number.
pub(super) type Id = u32;

/// One change of names that a directory's next sync makes durable; a crash keeps or drops it as a whole.
#[derive(Clone, Debug)]
enum Change {
    Add(String, Id),
    Remove(String),
    Rename(String, String, Id),
}

impl Change {
    fn names(&self) -> [&str; 2] {
        match self {
            Self::Add(name, _) | Self::Remove(name) => [name, name],
            Self::Rename(from, to, _) => [from, to],
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Id>) {
        match self {
            Self::Add(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

/// A directory's names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<String, Id>,
    durable: BTreeMap<String, Id>,
    unsynced: Vec<Change>,
}

/// How many changes of names a crash kept and dropped.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Kept {
    pub(super) kept: u64,
    pub(super) dropped: u64,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Id> {
        self.live.get(name).copied()
    }

    pub(super) fn live(&self) -> &BTreeMap<String, Id> {
        &self.live
    }

    /// Every inode that is named, or may be after a crash.
    pub(super) fn every_id(&self, mut each: impl FnMut(Id)) {
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Add(_, id) | Change::Rename(_, _, id) => Some(id),
            Change::Remove(_) => None,
        });
        let named = self.live.values().chain(self.durable.values());
        named.chain(unsynced).for_each(|id| each(*id));
    }

    /// The same names, all durable.
    pub(super) fn copy(&self) -> Self {
        Self {
            live: self.live.clone(),
            durable: self.live.clone(),
            unsynced: Vec::new(),
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(super) fn add(&mut self, name: &str, id: Id) {
        self.change(Change::Add(name.to_owned(), id));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove(name.to_owned()));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, id: Id) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), id));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    /// The power goes: all changes stay, none does, the first few do, or any do whose names no dropped one touched.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> Kept {
        let changes = std::mem::take(&mut self.unsynced);
        let how = rng.below(5);
        let first = rng.index(changes.len() + 1);
        let mut dropped: Vec<&Change> = Vec::new();
        let mut count = Kept::default();
        for (at, change) in changes.iter().enumerate() {
            let keep = match how {
                0 => true,
                1 => false,
                2 => at < first,
                _ => rng.one_in(2),
            };
            let blocked = dropped
                .iter()
                .any(|before| before.names().iter().any(|name| change.names().contains(name)));
            if keep && !blocked {
                change.apply(&mut self.durable);
                count.kept += 1;
            } else {
                dropped.push(change);
                count.dropped += 1;
            }
        }
        self.live.clone_from(&self.durable);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_durable_after_a_sync_and_perhaps_before() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..200 {
            let mut names = Names::default();
            names.add("a", 1);
            names.sync();
            names.add("b", 2);
            names.crash(&mut Rng::new(seed));
            assert_eq!(names.get("a"), Some(1));
            match names.get("b") {
                Some(2) => kept += 1,
                None => lost += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(kept > 20 && lost > 20, "{kept} kept, {lost} lost");
    }

    #[test]
    fn a_rename_over_a_file_leaves_the_old_one_or_the_new_one() {
        for seed in 0..200 {
            let mut names = Names::default();
            names.add("file", 1);
            names.sync();
            names.add("file.tmp", 2);
            names.rename("file.tmp", "file", 2);
            names.crash(&mut Rng::new(seed));
            assert!(names.get("file").is_some(), "seed {seed}");
        }
    }
}
