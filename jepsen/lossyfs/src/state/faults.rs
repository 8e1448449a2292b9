//! What is to go wrong, and how much room there is.

use super::{BLOCK, Content, Contents, Errno, Ino, Outcome, State, Stats, failed};
use crate::medium::Medium;

impl<M: Medium> State<M> {
    /// The next syncs that have something to do fail with EIO.
    pub const fn fail_syncs(&mut self, count: u64) {
        self.syncs_to_fail = count;
    }

    /// Room for so many more bytes; `None` for as many as the disk's size allows.
    pub const fn set_room(&mut self, bytes: Option<u64>) {
        self.room = bytes;
    }

    /// No fault any more. What is lost stays lost.
    pub const fn clear_faults(&mut self) {
        self.syncs_to_fail = 0;
        self.room = None;
    }

    /// What was done so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Unsynced bytes in memory, counted in blocks.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// The disk's size and what is free of it, in blocks of [`State::BLOCK`].
    #[must_use]
    pub fn space(&self) -> (u64, u64) {
        (self.limits.capacity / BLOCK, self.left() / BLOCK)
    }

    /// Bytes of a block.
    pub const BLOCK: u64 = BLOCK;

    pub(super) fn left(&self) -> u64 {
        let free = self.limits.capacity.saturating_sub(self.used);
        self.room.map_or(free, |room| room.min(free))
    }

    pub(super) const fn full<T>(&mut self) -> Outcome<T> {
        self.stats.full += 1;
        Err(Errno::NOSPC)
    }

    /// How far a file may reach of what a call asks for: beyond `at_least`, or the disk is full.
    pub(super) fn grow(&mut self, ino: Ino, wanted: u64, at_least: u64) -> Outcome<u64> {
        let len = self.file(ino)?.len();
        let reach = wanted.min(len.saturating_add(self.left()));
        if wanted > len && reach < wanted && reach <= at_least {
            return self.full();
        }
        Ok(if wanted <= len { wanted } else { reach })
    }

    /// Memory is short: the file that holds most of it is written back, as the kernel would.
    pub(super) fn write_back(&mut self) -> Outcome<()> {
        let files = self.nodes.iter().filter_map(|(ino, node)| match &node.content {
            Content::File(contents) => Some((contents.held(), *ino)),
            Content::Dir(_) => None,
        });
        let Some((before, ino)) = files.max() else {
            return Ok(());
        };
        let contents = self.file_mut(ino)?;
        Contents::sync(contents).map_err(failed)?;
        let after = contents.held();
        self.held = (self.held + after).saturating_sub(before);
        self.stats.written_back += 1;
        Ok(())
    }

    pub(super) fn bound_names(&mut self, dir: Ino) -> Outcome<()> {
        let most = self.limits.unsynced_names;
        let names = self.names_mut(dir)?;
        if names.unsynced() > most {
            names.sync();
            self.stats.written_back += 1;
        }
        Ok(())
    }
}
