//! How a log begins, and what a start finds of it.

use super::flushing::Unsynced;
use super::{EpochFile, Log, OnDisk, OpenReport, Shared};
use crate::compact::{self, CleanState};
use crate::data_dir::DataDir;
use crate::files::{OpenFile, failed};
use crate::marks::{Known, LogSlot, SlotId};
use crate::paths::{self, Kind};
use crate::segment::is_gone;
use crate::segment::recover::{Durable, Found, Recovered, Recovery};
use crate::{Access, Corruption, Cut, Disk, IoFailure, LogConfig, OpenError};
use quipu_record::{Offset, Timestamp, TopicPartition};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a log's directory has.
#[derive(Debug, Default)]
struct Listing {
    segments: Vec<Found>,
    snapshots: Vec<Offset>,
    /// Files that belong to nothing.
    leftovers: Vec<PathBuf>,
}

/// Opens a log, or begins an empty one.
pub(crate) fn open<D: Disk>(
    data_dir: &DataDir<D>,
    partition: TopicPartition,
    config: LogConfig,
    now: Timestamp,
) -> Result<(Log<D>, OpenReport), OpenError> {
    config.check()?;
    let log = Log {
        shared: Arc::new(Shared::new(data_dir.clone(), partition)),
        config,
        epochs: Arc::default(),
        files: None,
        flushed: Offset::ZERO,
        durable_log_start: Offset::ZERO,
        generation: data_dir.marks().next_number(),
        damage: None,
        failed: None,
        purged_unsaved: false,
    };
    let known = data_dir.marks().known(partition);
    log.open(known, now).map_err(OpenError::Io)
}

impl<D: Disk> Log<D> {
    fn open(mut self, known: Known, now: Timestamp) -> Result<(Self, OpenReport), IoFailure> {
        let dir = self.shared.path();
        let mut report = OpenReport::default();
        let listing = match self.shared.dir().disk().list(&dir) {
            Ok(entries) => {
                let swapping = entries.iter().any(|entry| entry.name == paths::SWAP);
                Some(self.after_swap(&dir, &entries, swapping, &mut report)?)
            }
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(failed("listing", &dir)(error)),
        };
        match listing {
            None => self.open_nothing(known, &dir, &mut report),
            Some(listing) => self.open_found(known, &dir, listing, now, &mut report)?,
        }
        self.damage = report.corrupt.first().cloned().map(Box::new);
        self.publish_epochs();
        Ok((self, report))
    }

    /// What the directory has, once a swap of cleaned segments that a crash interrupted is done.
    fn after_swap(
        &self,
        dir: &Path,
        entries: &[crate::DirEntry],
        swapping: bool,
        report: &mut OpenReport,
    ) -> Result<Listing, IoFailure> {
        if !swapping {
            return Ok(Listing::of(dir, entries));
        }
        let files = self.shared.dir().files();
        let unknown = compact::finish_interrupted(files, dir)?;
        let entries = files.disk().list(dir).map_err(failed("listing", dir))?;
        let mut listing = Listing::of(dir, &entries);
        if unknown.is_some() {
            // Nobody knows which of them are needed.
            listing.leftovers.clear();
        }
        report.corrupt.extend(unknown);
        Ok(listing)
    }

    /// How far the log is compacted, by its file; if that is damaged, tombstones may be missing wherever there are gaps.
    fn take_cleaning(&self, dir: &Path, end: Offset, report: &mut OpenReport) -> Result<(), IoFailure> {
        let cleaned = self.shared.view(|view| {
            let last = view.segments.iter().rev().find(|segment| segment.cleaned());
            last.map_or(Offset::ZERO, |segment| segment.end().next)
        });
        self.shared.set_cleaned_to(cleaned);
        let state = CleanState::read(self.shared.dir().disk(), dir)?.unwrap_or_else(|| {
            report.repaired.push(crate::Repair {
                file: dir.join(paths::COMPACTION),
                what: "it does not match its checksum".to_owned(),
            });
            CleanState {
                purged_to: cleaned,
                ..CleanState::default()
            }
        });
        *crate::files::lock(&self.shared.cleaning) = CleanState {
            compacted_to: state.compacted_to.min(end),
            purged_to: state.purged_to.min(end),
            cuts: 0,
        };
        self.shared.raise_tombstone_floor(state.purged_to.min(end));
        Ok(())
    }

    /// There is no directory: an empty log, unless a mark says otherwise.
    fn open_nothing(&mut self, known: Known, dir: &Path, report: &mut OpenReport) {
        let mut end = Offset::ZERO;
        if let Known::Slot(_, slot) = known {
            end = slot.log_start;
            self.begin_at(slot.log_start);
            if let Some(mark) = slot.mark {
                end = mark.end.next;
                let what = format!("the log is gone; it was flushed up to offset {end}");
                report.corrupt.push(Corruption {
                    file: dir.to_owned(),
                    position: 0,
                    offset: Some(slot.log_start),
                    what,
                });
            }
        }
        self.shared.set_log_end(end);
        self.flushed = end;
    }

    fn begin_at(&mut self, log_start: Offset) {
        self.shared.set_log_start(log_start);
        self.durable_log_start = log_start;
    }

    fn open_found(
        &mut self,
        known: Known,
        dir: &Path,
        mut listing: Listing,
        now: Timestamp,
        report: &mut OpenReport,
    ) -> Result<(), IoFailure> {
        let data_dir = self.shared.dir().clone();
        for path in listing.leftovers.drain(..) {
            data_dir.files().remove(&path)?;
        }
        let journal = dir.join(paths::EPOCHS);
        let epochs = match EpochFile::read(data_dir.disk(), &journal)?.flatten() {
            Some(epochs) => epochs,
            None => match self.without_epochs(known, dir, &listing, report)? {
                Some(epochs) => epochs,
                None => return Ok(()),
            },
        };
        data_dir.marks().number_was_used(epochs.incarnation);
        let slot = match known {
            Known::Slot(_, slot) if slot.incarnation > epochs.incarnation => {
                // The log was begun anew, and a crash came before its old directory was renamed away.
                data_dir.rename_away(self.partition(), paths::DELETED)?;
                self.open_nothing(known, dir, report);
                return Ok(());
            }
            Known::Slot(id, slot) if slot.incarnation == epochs.incarnation => Some((id, slot)),
            // The directory is newer than what the slot says, and was never flushed.
            _ => None,
        };
        let log_start = start_of(known, &listing);
        self.drop_below(log_start, dir, &mut listing)?;
        let mark = slot.and_then(|(_, slot)| slot.mark);
        // A segment below the log start may be gone, and with it the place that the mark names.
        let mark = mark.filter(|mark| mark.end.next > log_start || listing.has(mark.segment));
        let durable = match (known, mark) {
            (Known::Unknown, _) => Durable::Unknown,
            (_, Some(mark)) => Durable::To(mark),
            (_, None) => Durable::Nothing,
        };
        if let Some(gap) = gap_at_start(log_start, dir, &listing) {
            if durable == Durable::Nothing {
                return self.discard_all(log_start, gap, &listing, report);
            }
            report.corrupt.push(gap);
        }
        let epochs = self.check_epochs(epochs, durable, dir, &listing.segments, report)?;
        let cache = epochs.cache();
        let recovered = self.shared.at_place(|place| {
            let recovery = Recovery {
                place: *place,
                epochs: &cache,
                durable,
                clean: data_dir.was_clean(),
                now,
                index_interval: self.config.index_interval_bytes,
            };
            recovery.run(&listing.segments)
        })?;
        self.begin_at(log_start);
        self.take_over(recovered, slot, durable, epochs, &listing, report)
    }

    /// Segments wholly below the log start are left from before a crash.
    fn drop_below(&self, log_start: Offset, dir: &Path, listing: &mut Listing) -> Result<(), IoFailure> {
        let ends = listing.segments.iter().skip(1);
        let below = ends.take_while(|next| next.base <= log_start).count();
        for segment in listing.segments.drain(..below) {
            for kind in Kind::OF_SEGMENT {
                let path = paths::at_offset(dir, segment.base, kind);
                self.shared.dir().files().remove(&path)?;
            }
        }
        Ok(())
    }

    /// Makes the log what recovery found.
    fn take_over(
        &mut self,
        recovered: Recovered<D>,
        slot: Option<(SlotId, LogSlot)>,
        durable: Durable,
        mut epochs: EpochFile,
        listing: &Listing,
        report: &mut OpenReport,
    ) -> Result<(), IoFailure> {
        let dir = self.shared.path();
        let data_dir = self.shared.dir().clone();
        let end = recovered.end().max(recovered.lost_end).unwrap_or_default();
        report.cut = recovered.cut;
        report.corrupt.extend(recovered.corrupt);
        report.repaired.extend(recovered.repaired);
        report.scanned += recovered.scanned;
        let first = recovered.segments.first().map(|segment| segment.base());
        let log_start = self.log_start();
        if (end < log_start || first.is_none()) && report.corrupt.is_empty() {
            let gone = Corruption {
                file: dir,
                position: 0,
                offset: Some(end),
                what: format!("the log ends at {end}, below its start"),
            };
            return self.discard_all(log_start, gone, listing, report);
        }
        let damaged = !report.corrupt.is_empty();
        if !damaged {
            epochs.cut(data_dir.files(), &dir.join(paths::EPOCHS), end)?;
        }
        let mut cache = epochs.cache();
        cache.truncate(end);
        if let Some(first) = first {
            cache.clamp(first);
        }
        self.epochs = Arc::new(cache);
        self.flushed = match durable {
            Durable::To(mark) => mark.end.next.min(end),
            _ => log_start,
        };
        self.shared.set_log_end(end);
        self.shared.change_view(|view| view.segments = recovered.segments);
        self.take_cleaning(&dir, end, report)?;
        let slot = match slot {
            Some((slot, _)) => slot,
            None => self.claim_slot(epochs.incarnation)?,
        };
        let mut unsynced = Unsynced::nothing();
        // Only a mark says that the directories were synced. What is damaged takes no appends, and stays as it is, the journal
        // too: one made up of what is left would hide the damage from the next start.
        if !damaged && (self.flushed < end || !matches!(durable, Durable::To(_))) {
            unsynced.add(self.write_epochs_again(&epochs, &dir)?);
            unsynced.names = true;
            unsynced.dir_itself = true;
        }
        for file in recovered.unsynced {
            unsynced.names = true;
            unsynced.add(file);
        }
        self.files = Some(Box::new(OnDisk {
            slot,
            incarnation: epochs.incarnation,
            epochs_written: (epochs.journal.len(), epochs.journal.last().copied()),
            room: super::Room::default(),
            unsynced,
            leaving: Vec::new(),
            snapshots: listing.snapshots.clone(),
        }));
        if listing.snapshots.last().is_some_and(|last| *last > end) {
            // For good: what they tell of is gone, and other batches may come to stand there.
            self.remove_snapshots_above(end)?;
            data_dir.files().sync_dir(&dir)?;
        }
        Ok(())
    }

    /// As with batches above the mark: what is in the journal and may not be durable is written once more, as it is.
    fn write_epochs_again(&self, epochs: &EpochFile, dir: &Path) -> Result<Arc<OpenFile<D>>, IoFailure> {
        let path = dir.join(paths::EPOCHS);
        let file = self.shared.dir().files().open(&path, Access::Write);
        let file = file.map_err(failed("opening", &path))?;
        let bytes = EpochFile::encode(epochs.incarnation, &epochs.journal);
        file.write_all(&mut [IoSlice::new(&bytes)], 0)?;
        Ok(file)
    }

    /// Nothing that is left was ever flushed, nor can it be read: the log begins at its start, empty.
    fn discard_all(
        &mut self,
        log_start: Offset,
        at: Corruption,
        listing: &Listing,
        report: &mut OpenReport,
    ) -> Result<(), IoFailure> {
        let bytes = listing.bytes();
        let found = (bytes > 0).then_some(Cut {
            log_end: log_start,
            at,
            bytes,
        });
        report.cut = report.cut.take().or(found);
        if let Some(cut) = &mut report.cut {
            cut.log_end = log_start;
        }
        self.begin_anew(log_start)
    }

    /// There is no journal of epochs. If nothing was ever flushed it is what a crash left of the log's first files, and
    /// all of it goes.
    fn without_epochs(
        &mut self,
        known: Known,
        dir: &Path,
        listing: &Listing,
        report: &mut OpenReport,
    ) -> Result<Option<EpochFile>, IoFailure> {
        let flushed = match known {
            Known::Slot(_, slot) => slot.mark.is_some(),
            Known::Never => false,
            Known::Unknown => listing.bytes() > 0,
        };
        if flushed {
            return self
                .rebuild_epochs(known, dir, &listing.segments, report)
                .map(Some);
        }
        let start = match known {
            Known::Slot(_, slot) => slot.log_start,
            _ => Offset::ZERO,
        };
        let at = Corruption {
            file: dir.join(paths::EPOCHS),
            position: 0,
            offset: Some(start),
            what: "the log's first files were not complete".to_owned(),
        };
        self.discard_all(start, at, listing, report)?;
        Ok(None)
    }
}

/// Where the log starts, by its slot; without one that can be read, where its files do.
fn start_of(known: Known, listing: &Listing) -> Offset {
    match known {
        Known::Slot(_, slot) => slot.log_start,
        Known::Never => Offset::ZERO,
        Known::Unknown => listing.segments.first().map_or(Offset::ZERO, |first| first.base),
    }
}

/// The first segment must reach down to the log start.
fn gap_at_start(log_start: Offset, dir: &Path, listing: &Listing) -> Option<Corruption> {
    let first = listing.segments.first().filter(|first| first.base > log_start)?;
    Some(Corruption {
        file: paths::at_offset(dir, first.base, Kind::Log),
        position: 0,
        offset: Some(log_start),
        what: format!(
            "the first segment begins at offset {}, and the log at {log_start}",
            first.base
        ),
    })
}

impl Listing {
    fn has(&self, base: Offset) -> bool {
        self.segments.iter().any(|segment| segment.base == base)
    }

    /// Bytes of all segments.
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    fn of(dir: &Path, entries: &[crate::DirEntry]) -> Self {
        let mut listing = Self::default();
        let mut of_kind: BTreeMap<Offset, [Option<u64>; 4]> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            match paths::parse_at_offset(&entry.name) {
                Some((at, Kind::Producers)) => listing.snapshots.push(at),
                Some((at, kind)) => {
                    let slot = Kind::OF_SEGMENT.iter().position(|one| *one == kind);
                    of_kind.entry(at).or_default()[slot.unwrap_or_default()] = Some(entry.len);
                }
                None if entry.name == paths::EPOCHS || entry.name == paths::COMPACTION => {}
                None => listing.leftovers.push(dir.join(&entry.name)),
            }
        }
        for (base, [index, _, cleaned, log]) in of_kind {
            match log {
                Some(len) => listing.segments.push(Found {
                    base,
                    len,
                    index_len: index.unwrap_or(0),
                    cleaned: cleaned.is_some(),
                }),
                // Without its batches the rest of a segment is nothing.
                None => {
                    let rest = Kind::OF_SEGMENT.iter();
                    listing
                        .leftovers
                        .extend(rest.map(|kind| paths::at_offset(dir, base, *kind)));
                }
            }
        }
        listing
    }
}
