//! The file `flushed`: for every log how far it is durable, and where it starts. It is preallocated, so that a full disk
//! stops no flush, and each log has a slot in it of two copies: a write goes to the copy that is not the last one known
//! to be durable, so that a torn write leaves the other.
//!
//! A round writes, under its own sync, what the round before completed. A mark that has to go down (a truncation) goes
//! down durably before the log does.

mod load;
mod slot;

use crate::files::{failed, lock, write_all};
use crate::{Access, Disk, DiskFile, IoFailure};
use quipu_record::{Offset, TopicPartition};
use std::collections::HashMap;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Mutex;

pub(crate) use load::{find_log, read_slots};
use slot::{Content, PAGE_LEN, SEQ_MAX, SLOTS_PER_PAGE, encode, place};
pub(crate) use slot::{LogSlot, Mark};

/// A slot's number.
pub(crate) type SlotId = usize;

/// What the file says of a log as it is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// Nothing was ever flushed.
    Never,
    /// This.
    Slot(SlotId, LogSlot),
    /// The file is damaged, and may have said something: nothing may be cut.
    Unknown,
}

/// A write that the next sync of the file makes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    slot: SlotId,
    seq: u64,
    copy: usize,
}

#[derive(Debug)]
struct Slot {
    content: Content,
    /// The copy that is durable and newest; a write goes to the other.
    durable: Option<usize>,
    /// The last write.
    seq: u64,
    /// Goes up when the mark went down; a mark completed before is then no longer true.
    generation: u64,
    /// Whether `content` is newer than the last write.
    dirty: bool,
    /// The segment that the mark of the last write names, and of the last durable one.
    written_segment: Option<Offset>,
    durable_segment: Option<Offset>,
}

#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    of: HashMap<TopicPartition, SlotId>,
    free: Vec<SlotId>,
    dirty: Vec<SlotId>,
    seq: u64,
    /// Whether slots were lost, so that a log without one may have had one.
    lost: bool,
}

/// The file of flush marks.
#[derive(Debug)]
pub(crate) struct Marks<D: Disk> {
    file: D::File,
    path: PathBuf,
    table: Mutex<Table>,
}

impl<D: Disk> Marks<D> {
    /// What is known of a log.
    pub(crate) fn known(&self, partition: TopicPartition) -> Known {
        let table = lock(&self.table);
        match table.of.get(&partition) {
            Some(&id) => match table.slots[id].content {
                Content::Log(log) => Known::Slot(id, log),
                _ => Known::Never,
            },
            None if table.lost => Known::Unknown,
            None => Known::Never,
        }
    }

    /// The logs that have a slot.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let mut all: Vec<_> = lock(&self.table).of.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Whether slots were lost.
    pub(crate) fn lost(&self) -> bool {
        lock(&self.table).lost
    }

    /// A number that nothing in this directory had before, whatever became of it. Once [`Marks::begin_numbers`] was called.
    pub(crate) fn next_number(&self) -> u64 {
        let mut table = lock(&self.table);
        table.seq += 1;
        table.seq
    }

    /// Takes note that a number was handed out, by a process that came to write nothing else.
    pub(crate) fn number_was_used(&self, number: u64) {
        let mut table = lock(&self.table);
        // A greater one was not handed out, and could not be counted on from.
        if number <= SEQ_MAX {
            table.seq = table.seq.max(number);
        }
    }

    /// Gives a log a slot, in place of one it may have. It says nothing before it is written.
    pub(crate) fn allocate(&self, log: LogSlot) -> Result<SlotId, IoFailure> {
        let mut table = lock(&self.table);
        if let Some(&id) = table.of.get(&log.partition) {
            table.set(id, Content::Log(log));
            table.slots[id].generation += 1;
            return Ok(id);
        }
        if table.free.is_empty() {
            self.grow(&mut table)?;
        }
        let id = table.free.pop().unwrap_or_default();
        table.of.insert(log.partition, id);
        table.set(id, Content::Log(log));
        table.slots[id].generation += 1;
        Ok(id)
    }

    /// Doubles the file, durably, and then says so in its header.
    fn grow(&self, table: &mut Table) -> Result<(), IoFailure> {
        let pairs = table.slots.len() / SLOTS_PER_PAGE;
        let more = pairs.clamp(1, 64);
        let len = ((pairs + more) * 2 * PAGE_LEN) as u64;
        self.file
            .preallocate(len)
            .map_err(failed("preallocating", &self.path))?;
        self.sync()?;
        table.add_slots(more);
        self.write_header(table)
    }

    /// Writes how many pairs there are, durably.
    fn write_header(&self, table: &mut Table) -> Result<(), IoFailure> {
        let pairs = table.slots.len() / SLOTS_PER_PAGE;
        table.slots[0].content = Content::Header(u32::try_from(pairs).unwrap_or(u32::MAX));
        let written = self.write(table, 0)?;
        self.sync()?;
        table.confirm(&[written]);
        Ok(())
    }

    /// What a slot says, written or not.
    pub(crate) fn current(&self, id: SlotId) -> Option<LogSlot> {
        match lock(&self.table).slots[id].content {
            Content::Log(log) => Some(log),
            Content::Free | Content::Header(_) => None,
        }
    }

    /// The segment that was active as the mark was made that a crash leaves, or a later one.
    pub(crate) fn durable_segment(&self, id: SlotId) -> Option<Offset> {
        lock(&self.table).slots[id].durable_segment
    }

    /// How often a slot's mark went down.
    pub(crate) fn generation(&self, id: SlotId) -> u64 {
        lock(&self.table).slots[id].generation
    }

    /// Moves a log's start, with the next round.
    pub(crate) fn set_log_start(&self, id: SlotId, log_start: Offset) {
        let mut table = lock(&self.table);
        if let Content::Log(mut log) = table.slots[id].content {
            log.log_start = log_start;
            table.set(id, Content::Log(log));
        }
    }

    /// Takes note of a mark that a round completed; the next one writes it.
    pub(crate) fn complete(&self, id: SlotId, generation: u64, mark: Mark) {
        let mut table = lock(&self.table);
        if let Content::Log(mut log) = table.slots[id].content
            && table.slots[id].generation == generation
        {
            log.mark = Some(mark);
            table.set(id, Content::Log(log));
        }
    }

    /// Sets what a slot says, durably: before a log is cut, its mark is.
    pub(crate) fn set_now(&self, id: SlotId, log: LogSlot) -> Result<u64, IoFailure> {
        self.write_now(id, Content::Log(log))
    }

    /// Takes a slot back, durably.
    pub(crate) fn release_now(&self, partition: TopicPartition) -> Result<(), IoFailure> {
        let Some(id) = lock(&self.table).of.remove(&partition) else {
            return Ok(());
        };
        self.write_now(id, Content::Free)?;
        lock(&self.table).free.push(id);
        Ok(())
    }

    fn write_now(&self, id: SlotId, content: Content) -> Result<u64, IoFailure> {
        let mut table = lock(&self.table);
        table.slots[id].content = content;
        table.slots[id].generation += 1;
        let generation = table.slots[id].generation;
        let written = self.write(&mut table, id)?;
        drop(table);
        self.sync()?;
        lock(&self.table).confirm(&[written]);
        Ok(generation)
    }

    fn write(&self, table: &mut Table, id: SlotId) -> Result<Written, IoFailure> {
        table.seq += 1;
        let seq = table.seq;
        let slot = &mut table.slots[id];
        let copy = slot.durable.map_or(0, |durable| 1 - durable);
        slot.seq = seq;
        slot.dirty = false;
        slot.written_segment = slot.content.segment();
        let bytes = encode(id, seq, &slot.content);
        write_all::<D>(&self.file, &mut [IoSlice::new(&bytes)], place(id, copy))
            .map_err(failed("writing", &self.path))?;
        Ok(Written { slot: id, seq, copy })
    }

    /// Whether there is something to write.
    pub(crate) fn is_dirty(&self) -> bool {
        !lock(&self.table).dirty.is_empty()
    }

    /// Writes what is new; durable once [`Marks::sync`] and [`Marks::confirm`] were called.
    pub(crate) fn write_dirty(&self) -> Result<Vec<Written>, IoFailure> {
        let mut table = lock(&self.table);
        let dirty = std::mem::take(&mut table.dirty);
        let mut written = Vec::with_capacity(dirty.len());
        for id in dirty {
            if table.slots[id].dirty {
                written.push(self.write(&mut table, id)?);
            }
        }
        Ok(written)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), IoFailure> {
        self.file.sync_data().map_err(failed("syncing", &self.path))
    }

    /// Takes note that writes are durable.
    pub(crate) fn confirm(&self, written: &[Written]) {
        lock(&self.table).confirm(written);
    }
}

impl Table {
    fn set(&mut self, id: SlotId, content: Content) {
        let slot = &mut self.slots[id];
        slot.content = content;
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push(id);
        }
    }

    fn add_slots(&mut self, pairs: usize) {
        let from = self.slots.len();
        let to = from + pairs * SLOTS_PER_PAGE;
        self.slots.resize_with(to, || Slot {
            content: Content::Free,
            durable: None,
            seq: 0,
            generation: 0,
            dirty: false,
            written_segment: None,
            durable_segment: None,
        });
        self.free.extend((from.max(1)..to).rev());
    }

    fn confirm(&mut self, written: &[Written]) {
        for write in written {
            let slot = &mut self.slots[write.slot];
            // A later write went to the same copy and is not durable yet: the other copy is still the one to keep.
            if slot.seq == write.seq {
                slot.durable = Some(write.copy);
                slot.durable_segment = slot.written_segment;
            }
        }
    }
}

#[cfg(test)]
mod tests;
