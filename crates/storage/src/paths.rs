//! What files and directories are called (`docs/format.md`).

use quipu_record::{Offset, PartitionId, TopicId, TopicPartition};
use std::path::{Path, PathBuf};

/// The lock of a data directory.
pub(crate) const LOCK: &str = ".lock";
/// The marker of a clean shutdown.
pub(crate) const CLEAN_SHUTDOWN: &str = "clean_shutdown";
/// The flush marks and log starts of all logs.
pub(crate) const FLUSHED: &str = "flushed";
/// Hints at high watermarks.
pub(crate) const HIGH_WATERMARKS: &str = "high-watermarks";
/// The directory of all topics.
pub(crate) const LOGS: &str = "logs";
/// A log's leader epochs.
pub(crate) const EPOCHS: &str = "leader-epochs";
/// How far a log is compacted.
pub(crate) const COMPACTION: &str = "compaction";
/// What compaction is about to replace.
pub(crate) const SWAP: &str = "swap";
/// The end of the name of a cleaned segment's files before they take the place of others.
pub(crate) const CLEAN: &str = ".clean";
/// The end of the name of what is being made and not yet true.
pub(crate) const TEMPORARY: &str = ".tmp";
/// The end of the name of a directory that is being deleted.
pub(crate) const DELETED: &str = ".deleted";
/// The end of the name of a directory of bad bytes that was set aside.
pub(crate) const CORRUPT: &str = ".corrupt";

/// A file that belongs to a segment, or stands at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The batches.
    Log,
    /// The sparse index of offsets and times.
    Index,
    /// What is known of a segment that is complete.
    Seal,
    /// The state of producers at an offset.
    Producers,
    /// Empty; says that compaction cleaned the segment, so that offsets in it may leave gaps.
    Cleaned,
}

impl Kind {
    /// The files of a segment; the batches last, since without them the others are nothing.
    pub(crate) const OF_SEGMENT: [Self; 4] = [Self::Index, Self::Seal, Self::Cleaned, Self::Log];
    const ALL: [Self; 5] = [Self::Log, Self::Index, Self::Seal, Self::Producers, Self::Cleaned];

    const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::Seal => "seal",
            Self::Producers => "producers",
            Self::Cleaned => "cleaned",
        }
    }
}

/// The file of a kind at an offset.
pub(crate) fn at_offset(dir: &Path, offset: Offset, kind: Kind) -> PathBuf {
    dir.join(format!("{:020}.{}", offset.get(), kind.extension()))
}

/// The file of a kind at an offset, before it takes the place of another.
pub(crate) fn clean(dir: &Path, offset: Offset, kind: Kind) -> PathBuf {
    dir.join(format!("{:020}.{}{CLEAN}", offset.get(), kind.extension()))
}

/// What a file name says.
pub(crate) fn parse_at_offset(name: &str) -> Option<(Offset, Kind)> {
    let (digits, extension) = name.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset = digits.parse().ok().map(Offset::new)?;
    (offset <= Offset::MAX).then_some((offset, kind))
}

/// The directory of a topic.
pub(crate) fn topic_dir(root: &Path, topic: TopicId) -> PathBuf {
    root.join(LOGS).join(topic.to_string())
}

/// The directory of a log.
pub(crate) fn log_dir(root: &Path, log: TopicPartition) -> PathBuf {
    topic_dir(root, log.topic).join(log.partition.to_string())
}

/// The partition that a directory is of.
pub(crate) fn parse_partition(name: &str) -> Option<PartitionId> {
    let parsed = name.parse().ok().map(PartitionId::new)?;
    (parsed.to_string() == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let path = at_offset(Path::new("/d"), Offset::new(42), Kind::Seal);
        assert_eq!(path, Path::new("/d/00000000000000000042.seal"));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(parse_at_offset(name), Some((Offset::new(42), Kind::Seal)));
        for wrong in [
            "42.log",
            "00000000000000000042.logs",
            "99999999999999999999.log",
            "leader-epochs",
            "+0000000000000000042.log",
        ] {
            assert_eq!(parse_at_offset(wrong), None, "{wrong}");
        }
        assert_eq!(parse_partition("7"), Some(PartitionId::new(7)));
        assert_eq!(parse_partition("07"), None);
        assert_eq!(parse_partition("7.1.deleted"), None);
    }
}
