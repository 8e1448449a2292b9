//! A log's directory as the next start finds it: a swap of cleaned segments that was cut off is looked at as if it were
//! done, since that is the first thing a start does.

use crate::compact::{Intent, UNREADABLE};
use crate::files::{Files, failed};
use crate::paths::{self, Kind};
use crate::{Disk, IoFailure};
use quipu_record::Offset;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// A segment of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) base: Offset,
    pub(super) cleaned: bool,
}

/// What a directory has, and what of it a swap replaces.
pub(super) struct Listing<'d> {
    dir: &'d Path,
    names: BTreeSet<String>,
    intent: Option<Intent>,
    /// What is wrong with `swap`, if it cannot be read.
    pub(super) wrong: Option<&'static str>,
}

impl<'d> Listing<'d> {
    pub(super) fn of<D: Disk>(files: &Files<D>, dir: &'d Path) -> Result<Self, IoFailure> {
        let entries = files.disk().list(dir).map_err(failed("listing", dir))?;
        let names: BTreeSet<_> = entries.into_iter().map(|entry| entry.name).collect();
        let intent = match names.contains(paths::SWAP) {
            true => Intent::read(files.disk(), dir)?,
            false => None,
        };
        let wrong = matches!(intent, Some(None)).then_some(UNREADABLE);
        Ok(Self {
            dir,
            names,
            intent: intent.flatten(),
            wrong,
        })
    }

    fn has(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| self.names.contains(name))
    }

    /// Whether a swap puts another segment in the place of the one that begins here.
    pub(super) fn is_swapped(&self, base: Offset) -> bool {
        self.intent.as_ref().is_some_and(|intent| intent.base == base)
    }

    /// Whether the segment that begins here goes with a swap.
    pub(super) fn is_replaced(&self, base: Offset) -> bool {
        self.intent
            .as_ref()
            .is_some_and(|intent| intent.others.contains(&base))
    }

    /// A file of a segment, under the name that it has now.
    pub(super) fn path(&self, base: Offset, kind: Kind) -> PathBuf {
        let clean = paths::clean(self.dir, base, kind);
        if self.is_swapped(base) && self.has(&clean) {
            clean
        } else {
            paths::at_offset(self.dir, base, kind)
        }
    }

    /// The segments, oldest first.
    pub(super) fn segments(&self) -> Vec<Listed> {
        let named = self.names.iter().filter_map(|name| paths::parse_at_offset(name));
        let logs = named.filter(|(base, kind)| *kind == Kind::Log && !self.is_replaced(*base));
        let listed = logs.map(|(base, _)| Listed {
            base,
            cleaned: self.is_swapped(base) || self.has(&paths::at_offset(self.dir, base, Kind::Cleaned)),
        });
        listed.collect()
    }
}

/// All segments' files at or below a path, in the order of their paths: that of partitions and offsets. Bad bytes that
/// were set aside, and logs that are being deleted, are no part of a log any more; named themselves, they are shown.
///
/// # Errors
/// If the disk fails.
pub fn segment_files<D: Disk>(disk: &D, path: &Path) -> Result<Vec<PathBuf>, IoFailure> {
    let files = Files::new(disk.clone(), crate::DataDirOptions::default());
    let mut entries = match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(vec![path.to_owned()]),
        listed => listed.map_err(failed("listing", path))?,
    };
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut found = Vec::new();
    let aside = [paths::CORRUPT, paths::DELETED];
    let below = entries
        .iter()
        .filter(|it| it.is_dir && !aside.iter().any(|end| it.name.ends_with(end)));
    for entry in below {
        found.extend(segment_files(disk, &path.join(&entry.name))?);
    }
    let listing = Listing::of(&files, path)?;
    let is_log = |name: &str| name.ends_with(".log");
    for entry in entries
        .iter()
        .filter(|entry| !entry.is_dir && is_log(&entry.name))
    {
        match paths::parse_at_offset(&entry.name) {
            Some((base, _)) if listing.is_replaced(base) => {}
            Some((base, kind)) => found.push(listing.path(base, kind)),
            // A copy under another name.
            None => found.push(path.join(&entry.name)),
        }
    }
    found.sort();
    Ok(found)
}

/// Where the segment begins whose batches a file has, by its name: also one that waits for its name.
pub(super) fn base_of(path: &Path) -> Option<Offset> {
    let name = path.file_name().and_then(|name| name.to_str())?;
    let name = name.strip_suffix(paths::CLEAN).unwrap_or(name);
    paths::parse_at_offset(name).map(|(base, _)| base)
}
