//! The state machine: commands are decided here, by every controller for itself, and the image is published.

use super::convert::{entry_out, log_id, place, storage_error, stored_membership};
use super::{Node, Replies, Runtime, Types, blocking};
use crate::entry::{LogEntry, Payload};
use crate::publish::{Failing, Published};
use crate::snapshot::{Contents, SnapshotStore};
use openraft::storage::RaftStateMachine;
use openraft::{
    ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StoredMembership,
};
use quipu_metadata::{Command, Delta, Image, ReplayError, Reply};
use quipu_record::MetadataVersion;
use quipu_storage::Disk;
use std::io;
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, StorageError<u64>>;

/// Between one attempt at a snapshot that the disk has no room for and the next.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// The image, and how far it goes.
#[derive(Debug)]
pub(crate) struct StateMachine<D: Disk> {
    contents: Contents,
    published: Published,
    snapshots: SnapshotStore<D>,
    failing: Failing,
}

impl<D: Disk> StateMachine<D> {
    /// Begins with what a snapshot holds; nothing if there is none.
    pub(crate) fn new(
        contents: Contents,
        published: Published,
        snapshots: SnapshotStore<D>,
        failing: Failing,
    ) -> Self {
        Self {
            contents,
            published,
            snapshots,
            failing,
        }
    }

    fn image(&mut self) -> &mut Image {
        Arc::make_mut(&mut self.contents.image)
    }

    /// Applies one entry: its answers, and what it did.
    fn apply_entry(&mut self, entry: &LogEntry) -> std::result::Result<(Vec<Reply>, Delta), ReplayError> {
        let version = MetadataVersion::new(entry.place.index);
        let image = self.image();
        image.advance_to(version);
        let mut delta = Delta {
            version,
            records: Vec::new(),
        };
        let mut replies = Vec::new();
        match &entry.payload {
            Payload::Blank => {}
            Payload::Commands(commands) => {
                for command in commands.iter() {
                    let (records, reply) = decide(image, command)?;
                    replies.push(reply);
                    delta.records.extend(records);
                }
            }
            Payload::Membership(membership) => {
                self.contents.membership = Arc::clone(membership);
                self.contents.membership_at = Some(entry.place);
            }
        }
        self.contents.last = Some(entry.place);
        Ok((replies, delta))
    }
}

/// Decides a command and replays what follows, so that the next command of the same entry sees it.
fn decide(
    image: &mut Image,
    command: &Command,
) -> std::result::Result<(Vec<quipu_metadata::Record>, Reply), ReplayError> {
    let (records, reply) = image.decide(command);
    records.iter().try_for_each(|record| image.replay(record))?;
    Ok((records, reply))
}

impl<R: Runtime, D: Disk> RaftStateMachine<Types<R>> for StateMachine<D> {
    type SnapshotBuilder = Builder<D>;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, Node>)> {
        let membership = stored_membership(self.contents.membership_at.as_ref(), &self.contents.membership);
        Ok((self.contents.last.as_ref().map(log_id), membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies>>
    where
        I: IntoIterator<Item = openraft::Entry<Types<R>>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut replies = Vec::new();
        let mut deltas = Vec::new();
        let followed = self.published.is_followed();
        for entry in entries {
            let id = entry.log_id;
            let applied = self.apply_entry(&entry_out(entry)).map_err(|error| {
                self.failing
                    .fail(&format!("applying entry {}: {error}", id.index));
                storage_error(ErrorSubject::Apply(id), ErrorVerb::Write, error)
            })?;
            replies.push(Replies(applied.0));
            if followed {
                deltas.push(applied.1);
            }
        }
        // Before anybody is answered. Whoever began to follow meanwhile has an image without deltas from it to here.
        if followed {
            self.published.publish(&self.contents.image, deltas);
        } else {
            self.published.jump(&self.contents.image);
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<D> {
        Builder {
            contents: self.contents.clone(),
            snapshots: self.snapshots.clone(),
            failing: self.failing.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Contents>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, Node>,
        snapshot: Box<Contents>,
    ) -> Result<()> {
        let contents = Contents {
            last: meta.last_log_id.as_ref().map(place),
            membership: Arc::new(super::convert::membership_out(meta.last_membership.membership())),
            membership_at: meta.last_membership.log_id().as_ref().map(place),
            image: Arc::clone(&snapshot.image),
        };
        write::<R, D>(&self.snapshots, &contents, &self.failing).await?;
        self.published.jump(&contents.image);
        self.contents = contents;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types<R>>>> {
        let snapshots = self.snapshots.clone();
        let newest = blocking::<R, _>(move || snapshots.newest(None)).await;
        let newest =
            newest.map_err(|error| storage_error(ErrorSubject::Snapshot(None), ErrorVerb::Read, error))?;
        Ok(newest.map(described))
    }
}

/// Makes snapshots of the image as it was when the builder was made.
#[derive(Debug)]
pub(crate) struct Builder<D: Disk> {
    contents: Contents,
    snapshots: SnapshotStore<D>,
    failing: Failing,
}

impl<R: Runtime, D: Disk> RaftSnapshotBuilder<Types<R>> for Builder<D> {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types<R>>> {
        // Nothing rests on it but the length of the log: it can wait until there is room.
        while !write_if_room::<R, D>(&self.snapshots, &self.contents, &self.failing).await? {
            R::sleep(ROOM_PAUSE).await;
        }
        Ok(described(self.contents.clone()))
    }
}

/// Writes a snapshot; false: the disk has no room for it now.
async fn write_if_room<R: Runtime, D: Disk>(
    snapshots: &SnapshotStore<D>,
    contents: &Contents,
    failing: &Failing,
) -> Result<bool> {
    use io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
    match try_write::<R, D>(snapshots, contents).await {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), StorageFull | QuotaExceeded | WriteZero) => {
            tracing::warn!(%error, "no room for a snapshot of the metadata: the log of it grows until there is");
            Ok(false)
        }
        Err(error) => Err(failed(failing, error)),
    }
}

/// Writes a snapshot that the group cannot go on without.
async fn write<R: Runtime, D: Disk>(
    snapshots: &SnapshotStore<D>,
    contents: &Contents,
    failing: &Failing,
) -> Result<()> {
    let written = try_write::<R, D>(snapshots, contents).await;
    written.map_err(|error| failed(failing, error))
}

async fn try_write<R: Runtime, D: Disk>(snapshots: &SnapshotStore<D>, contents: &Contents) -> io::Result<()> {
    let (store, contents) = (snapshots.clone(), contents.clone());
    blocking::<R, _>(move || store.write(&contents)).await
}

fn failed(failing: &Failing, error: io::Error) -> StorageError<u64> {
    // One that is closed has not failed.
    if error.kind() != io::ErrorKind::BrokenPipe {
        failing.fail(&format!("writing a snapshot of the metadata: {error}"));
    }
    storage_error(ErrorSubject::Snapshot(None), ErrorVerb::Write, error)
}

/// A snapshot as openraft describes it.
pub(super) fn described<R: Runtime>(contents: Contents) -> Snapshot<Types<R>> {
    let last = contents.last.unwrap_or_default();
    let meta = SnapshotMeta {
        last_log_id: contents.last.as_ref().map(log_id),
        last_membership: stored_membership(contents.membership_at.as_ref(), &contents.membership),
        // Equal for equal contents: they follow from the log.
        snapshot_id: format!("{}-{}-{}", last.term, last.leader, last.index),
    };
    Snapshot {
        meta,
        snapshot: Box::new(contents),
    }
}
