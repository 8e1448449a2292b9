//! Reads the file of flush marks, and makes one.

use super::slot::{
    Content, Copy, LogSlot, PAGE_LEN, SEQ_MAX, SLOT_LEN, SLOTS_PER_PAGE, decode, encode, place,
};
use super::{Access, Marks, Slot, Table};
use crate::files::{failed, read_small, write_all};
use crate::{Disk, DiskFile, IoFailure, Repair, paths};
use quipu_record::TopicPartition;
use std::collections::HashMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Mutex;

/// More numbers than a process hands out between two writes to the file.
const NUMBERS: u64 = 1 << 20;

/// What a read of the file found.
#[derive(Debug, Default)]
pub(crate) struct SlotFinding {
    /// The byte in the file.
    pub(crate) position: u64,
    /// What is wrong there.
    pub(crate) what: &'static str,
    /// Whether slots may be lost, or only one copy of one.
    pub(crate) lost: bool,
}

/// A slot as found: what it says, and which copy says so.
type Found = (Content, Option<usize>, u64);

/// Reads all slots, and says what is wrong with the file.
pub(crate) fn read_slots(bytes: &[u8]) -> (Vec<Found>, Vec<SlotFinding>) {
    let pairs = bytes.len() / (2 * PAGE_LEN);
    let mut findings = Vec::new();
    let mut slots = Vec::with_capacity(pairs * SLOTS_PER_PAGE);
    for number in 0..pairs * SLOTS_PER_PAGE {
        slots.push(read_slot(bytes, number, &mut findings));
    }
    let header = match slots.first() {
        Some((Content::Header(pairs), ..)) => Some(*pairs as usize),
        _ => None,
    };
    let what = match header {
        None => "the header is gone",
        Some(_) if !bytes.len().is_multiple_of(2 * PAGE_LEN) => "the file does not end with a page",
        Some(said) if said > pairs => "the file is shorter than its header says",
        Some(_) => return (slots, findings),
    };
    findings.push(SlotFinding {
        position: bytes.len() as u64,
        what,
        lost: true,
    });
    (slots, findings)
}

/// What the file says of one log.
pub(crate) fn find_log(bytes: &[u8], partition: TopicPartition) -> Option<LogSlot> {
    let (slots, _) = read_slots(bytes);
    let of_it = slots.into_iter().filter_map(|(content, _, seq)| match content {
        Content::Log(log) if log.partition == partition => Some((seq, log)),
        _ => None,
    });
    of_it.max_by_key(|(seq, _)| *seq).map(|(_, log)| log)
}

fn read_slot(bytes: &[u8], number: usize, findings: &mut Vec<SlotFinding>) -> Found {
    let read = |copy| {
        let from = usize::try_from(place(number, copy)).unwrap_or(usize::MAX);
        decode(number, bytes.get(from..from + SLOT_LEN).unwrap_or(&[1]))
    };
    let copies = [read(0), read(1)];
    let bad = copies.iter().filter(|copy| **copy == Copy::Bad).count();
    for (copy, content) in copies.iter().enumerate() {
        if *content == Copy::Bad {
            findings.push(SlotFinding {
                position: place(number, copy),
                what: "a copy of a slot does not match its checksum",
                lost: bad == 2,
            });
        }
    }
    match copies {
        [Copy::Good(first, content), Copy::Good(second, _)] if first > second => (content, Some(0), first),
        [_, Copy::Good(seq, content)] => (content, Some(1), seq),
        [Copy::Good(seq, content), _] => (content, Some(0), seq),
        _ => (Content::Free, None, 0),
    }
}

impl<D: Disk> Marks<D> {
    /// Opens the file, or makes it. `logs` says whether there are logs already, so that it ought to be there.
    pub(crate) fn open(disk: &D, root: &Path, logs: bool) -> Result<(Self, Vec<Repair>), IoFailure> {
        let path = root.join(paths::FLUSHED);
        let Some(bytes) = read_small(disk, &path)? else {
            let marks = Self::create(disk, root, logs)?;
            let gone = logs.then(|| Repair {
                file: path,
                what: "the file is gone, and with it how far logs were flushed".to_owned(),
            });
            return Ok((marks, gone.into_iter().collect()));
        };
        let (slots, findings) = read_slots(&bytes);
        let lost = findings.iter().any(|finding| finding.lost);
        let repairs = findings.iter().map(|finding| Repair {
            file: path.clone(),
            what: format!("byte {}: {}", finding.position, finding.what),
        });
        let repairs = repairs.collect();
        let file = disk
            .open(&path, Access::Write)
            .map_err(failed("opening", &path))?;
        let marks = Self {
            file,
            path,
            table: Mutex::new(table(slots, lost)),
        };
        if lost {
            marks.mend()?;
        }
        marks.write_again()?;
        Ok((marks, repairs))
    }

    /// What a process before this one wrote may be here and not on the disk; a failed sync may even have left it so for
    /// good. It is written once more, as it is, and from now on it is durable.
    fn write_again(&self) -> Result<(), IoFailure> {
        let table = super::lock(&self.table);
        for (id, slot) in table.slots.iter().enumerate() {
            if let Some(copy) = slot.durable {
                let bytes = encode(id, slot.seq, &slot.content);
                write_all::<D>(&self.file, &mut [IoSlice::new(&bytes)], place(id, copy))
                    .map_err(failed("writing", &self.path))?;
            }
        }
        drop(table);
        self.sync()
    }

    /// Gives a file that lost something its shape again: whole pages, and a header.
    fn mend(&self) -> Result<(), IoFailure> {
        let mut table = super::lock(&self.table);
        if table.slots.is_empty() {
            table.add_slots(1);
        }
        let pairs = table.slots.len() / SLOTS_PER_PAGE;
        let len = (pairs * 2 * PAGE_LEN) as u64;
        let had = self.file.len().map_err(failed("reading", &self.path))?;
        if had < len {
            self.file
                .preallocate(len)
                .map_err(failed("preallocating", &self.path))?;
        } else if had > len {
            self.file.truncate(len).map_err(failed("cutting", &self.path))?;
        }
        self.write_header(&mut table)
    }

    /// Leaves behind all numbers that processes before this one may have handed out and never written: a log that goes by
    /// the number of one that was deleted would be taken for it. Durable, so that the next start leaves behind this one's.
    pub(crate) fn begin_numbers(&self) -> Result<(), IoFailure> {
        let mut table = super::lock(&self.table);
        if table.seq + NUMBERS >= SEQ_MAX {
            // Nobody's doing but an enemy's, and it would not be read again.
            return Ok(());
        }
        table.seq += NUMBERS;
        self.write_header(&mut table)
    }

    fn create(disk: &D, root: &Path, lost: bool) -> Result<Self, IoFailure> {
        let path = root.join(paths::FLUSHED);
        let temporary = root.join(format!("{}{}", paths::FLUSHED, paths::TEMPORARY));
        // Left over from a crash while this was done.
        match disk.remove(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("removing", &temporary)(error));
            }
            _ => {}
        }
        let file = disk
            .open(&temporary, Access::CreateNew)
            .map_err(failed("creating", &temporary))?;
        file.preallocate(2 * PAGE_LEN as u64)
            .map_err(failed("preallocating", &temporary))?;
        let header = encode(0, 1, &Content::Header(1));
        write_all::<D>(&file, &mut [IoSlice::new(&header)], place(0, 0))
            .map_err(failed("writing", &temporary))?;
        file.sync_data().map_err(failed("syncing", &temporary))?;
        disk.rename(&temporary, &path)
            .map_err(failed("renaming", &path))?;
        disk.sync_dir(root).map_err(failed("syncing", root))?;
        let mut slots = vec![(Content::Free, None, 0); SLOTS_PER_PAGE];
        slots[0] = (Content::Header(1), Some(0), 1);
        Ok(Self {
            file,
            path,
            table: Mutex::new(table(slots, lost)),
        })
    }
}

fn table(found: Vec<Found>, lost: bool) -> Table {
    let mut table = Table {
        slots: Vec::with_capacity(found.len()),
        of: HashMap::new(),
        free: Vec::new(),
        dirty: Vec::new(),
        seq: 0,
        lost,
    };
    for (id, (content, durable, seq)) in found.into_iter().enumerate() {
        table.seq = table.seq.max(seq);
        table.slots.push(Slot {
            content,
            durable,
            seq,
            generation: 0,
            dirty: false,
            written_segment: content.segment(),
            durable_segment: content.segment(),
        });
        match content {
            Content::Log(log) => table.claim(id, &log),
            Content::Free if id > 0 => table.free.push(id),
            Content::Free | Content::Header(_) => {}
        }
    }
    table.free.reverse();
    table
}

impl Table {
    /// Notes whose slot this is. If a damaged copy brings back an earlier owner, the slot written last is the true one.
    fn claim(&mut self, id: usize, log: &LogSlot) {
        let newer = |slots: &[Slot], other: usize| slots[other].seq > slots[id].seq;
        match self.of.get(&log.partition) {
            Some(&other) if newer(&self.slots, other) => self.disown(id),
            Some(&other) => {
                self.disown(other);
                self.of.insert(log.partition, id);
            }
            None => {
                self.of.insert(log.partition, id);
            }
        }
    }

    fn disown(&mut self, id: usize) {
        self.slots[id].content = Content::Free;
        self.free.push(id);
    }
}
