//! Finds what there is to verify under a path.

use super::through_swap::Listing;
use super::{FindingKind, VerifyReport, segment, small};
use crate::files::{Files, failed};
use crate::paths::{self, Kind};
use crate::segment::is_gone;
use crate::{DirEntry, Disk, IoFailure};
use quipu_record::{TopicId, TopicPartition};
use std::path::{Path, PathBuf};

pub(super) fn verify<D: Disk>(
    files: &Files<D>,
    path: &Path,
    report: &mut VerifyReport,
) -> Result<(), IoFailure> {
    let Ok(entries) = files.disk().list(path) else {
        return segment_alone(files, path, report);
    };
    let is_log = |entry: &DirEntry| {
        entry.name == paths::EPOCHS
            || paths::parse_at_offset(&entry.name).is_some_and(|(_, kind)| kind == Kind::Log)
    };
    if entries.iter().any(is_log) {
        return log(files, path, report);
    }
    if entries
        .iter()
        .any(|entry| entry.name == paths::LOGS && entry.is_dir)
    {
        small::of_data_dir(files, path, report)?;
    }
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        let topics = entry.name == paths::LOGS;
        let topic = TopicId::parse(&entry.name).is_some();
        let partition = paths::parse_partition(&entry.name).is_some();
        if topics || topic || partition {
            verify(files, &path.join(&entry.name), report)?;
        }
    }
    Ok(())
}

/// One segment file, with what stands beside it.
fn segment_alone<D: Disk>(files: &Files<D>, path: &Path, report: &mut VerifyReport) -> Result<(), IoFailure> {
    let named = path.file_name().and_then(|name| name.to_str());
    let base = match named.and_then(paths::parse_at_offset) {
        Some((base, Kind::Log)) => base,
        _ => {
            let error = std::io::Error::other("not a segment: the name ends in .log after 20 digits");
            return Err(failed("verifying", path)(error));
        }
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    let about = small::About::of_log(files, dir, report)?;
    let listing = Listing::of(files, dir)?;
    let all = listing.segments();
    let at = all.iter().position(|segment| segment.base == base);
    let Some(at) = at else {
        if listing.is_replaced(base) {
            let error =
                std::io::Error::other("compaction was cut off as it put another segment in its place");
            return Err(failed("verifying", path)(error));
        }
        return Err(failed("opening", path)(std::io::ErrorKind::NotFound.into()));
    };
    segment::verify(files, &listing, &all, at, &about, report)
}

fn log<D: Disk>(files: &Files<D>, dir: &Path, report: &mut VerifyReport) -> Result<(), IoFailure> {
    report.logs += 1;
    let about = small::About::of_log(files, dir, report)?;
    let listing = Listing::of(files, dir)?;
    if let Some(what) = listing.wrong {
        report.find(FindingKind::Corrupt, &dir.join(paths::SWAP), 0, None, what);
    }
    let all = listing.segments();
    if let Some(first) = all.first()
        && first.base > about.log_start.unwrap_or(first.base)
    {
        let what = "segments before this one are gone";
        let file = paths::at_offset(dir, first.base, Kind::Log);
        report.find(FindingKind::Corrupt, &file, 0, about.log_start, what);
    }
    if let Some(mark) = &about.mark
        && Some(mark.end.next) > about.log_start
        && !all.iter().any(|segment| segment.base == mark.segment)
    {
        let file = paths::at_offset(dir, mark.segment, Kind::Log);
        let what = "the segment is gone";
        report.find(FindingKind::Corrupt, &file, 0, Some(mark.segment), what);
    }
    for at in 0..all.len() {
        // A running broker may remove a segment meanwhile.
        match segment::verify(files, &listing, &all, at, &about, report) {
            Err(failure) if is_gone(&failure.source) => {}
            done => done?,
        }
    }
    small::compaction(files, dir, report)?;
    small::snapshots(files, dir, report)
}

/// The partition whose directory this is, and the data directory above it.
pub(super) fn place_of(dir: &Path) -> Option<(TopicPartition, PathBuf)> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let topic = dir.parent()?;
    let logs = topic.parent()?;
    let partition = TopicPartition {
        topic: TopicId::parse(&name(topic)?)?,
        partition: paths::parse_partition(&name(dir)?)?,
    };
    (name(logs)? == paths::LOGS).then_some((partition, logs.parent()?.to_owned()))
}
