//! What this broker knows to be wrong with its own logs and disk, for CheckCluster.

use super::machine;
use crate::data_plane::OpenSummary;
use crate::service::check::{LocalFindings, finding};
use quipu_metadata::Image;
use quipu_proto::v1::{self, Severity};
use quipu_record::TopicPartition;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Less than this free is a finding.
const ROOM_WARNING: u64 = 512 << 20;
/// Less than this free is an alarm.
const ROOM_CRITICAL: u64 = 128 << 20;

/// What was found wrong as the logs were opened, and where to look for more.
#[derive(Debug)]
pub(super) struct LocalState {
    data_dir: PathBuf,
    damaged: OnceLock<Vec<(TopicPartition, String)>>,
}

impl LocalState {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            damaged: OnceLock::new(),
        }
    }

    /// The logs are open.
    pub(super) fn opened(&self, summary: &OpenSummary) {
        let damaged = summary.damaged.iter();
        let places = damaged.flat_map(|log| {
            log.corrupt
                .iter()
                .map(move |corrupt| (log.at, corrupt.to_string()))
        });
        // Logs are opened once.
        let _ = self.damaged.set(places.collect());
    }

    fn room(&self) -> Option<v1::Finding> {
        let (free, _) = machine::disk_room(&self.data_dir)?;
        let severity = match free {
            0..ROOM_CRITICAL => Severity::Critical,
            ROOM_CRITICAL..ROOM_WARNING => Severity::Warning,
            _ => return None,
        };
        Some(finding(
            severity,
            format!("data.dir {}", self.data_dir.display()),
            format!(
                "{} MiB are free on its file system; when it is full, producing is refused",
                free >> 20
            ),
            "free space or add some, or lower retention.ms or retention.bytes of large topics",
        ))
    }
}

impl LocalFindings for LocalState {
    fn findings(&self, image: &Image) -> Vec<v1::Finding> {
        let damaged = self.damaged.get().into_iter().flatten();
        // What was wrong with a topic that is gone is gone with it.
        let damaged = damaged.filter_map(|(at, place)| {
            let topic = &image.topic(at.topic)?.name;
            Some(finding(
                Severity::Critical,
                format!("{topic} partition {}", at.partition),
                format!("stored bytes are bad, and are not served: {place}"),
                "restore the file from a backup, or delete the records up to there (quipu topic delete-records); look at \
                 the disk",
            ))
        });
        damaged.chain(self.room()).collect()
    }
}
