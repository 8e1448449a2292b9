//! Whether bytes are the batch that belongs at a place.

use super::boundary::Boundary;
use crate::EpochCache;
use quipu_record::{BatchHeader, HEADER_LEN, LeaderEpoch, Offset, StoredBatch};

/// What batches of a segment are held against, besides their own checksums.
#[derive(Clone, Debug)]
pub(crate) struct Rules<'a> {
    /// The epochs of the log. Without them (one segment looked at alone) any epoch will do.
    pub(crate) epochs: Option<&'a EpochCache>,
    /// Whether offsets may leave gaps: only where compaction cleaned.
    pub(crate) gaps: bool,
    /// Where the segment's offsets end, if that is known.
    end: Offset,
    /// The epoch of the last look, and the offsets for which it holds: batches mostly share theirs.
    known: Option<(LeaderEpoch, Offset, Offset)>,
}

/// What a look at bytes says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// They begin with the right batch.
    Good(BatchHeader),
    /// It takes this many bytes to say.
    More(usize),
    /// They are not what belongs here.
    Bad(String),
}

impl<'a> Rules<'a> {
    pub(crate) const fn new(epochs: Option<&'a EpochCache>, gaps: bool) -> Self {
        Self {
            epochs,
            gaps,
            end: Offset::MAX,
            known: None,
        }
    }

    /// No batch goes beyond `end`.
    pub(crate) const fn until(self, end: Offset) -> Self {
        Self { end, ..self }
    }

    /// Looks at the batch at `at`, of which `bytes` are the first ones, where the segment has `left` bytes. All 17 bytes
    /// that the batch's checksum leaves out are held against what they must be.
    pub(crate) fn look(&mut self, bytes: &[u8], at: &Boundary, left: u64) -> Look {
        if left < HEADER_LEN as u64 {
            return Look::Bad(format!("{left} bytes, where a batch's header takes {HEADER_LEN}"));
        }
        if bytes.len() < HEADER_LEN {
            return Look::More(HEADER_LEN);
        }
        let header = match StoredBatch::parse_header(bytes) {
            Ok(header) => header,
            Err(error) => return Look::Bad(error.to_string()),
        };
        let size = header.size();
        if size as u64 > left {
            return Look::Bad(format!(
                "the batch says it has {size} bytes, and {left} are there"
            ));
        }
        if let Some(fault) = self.misplaced(&header, at) {
            return Look::Bad(fault);
        }
        let Some(body) = bytes.get(HEADER_LEN..size) else {
            return Look::More(size);
        };
        match header.check_crc(body) {
            Ok(()) => Look::Good(header),
            Err(error) => Look::Bad(error.to_string()),
        }
    }

    /// What is wrong with a batch's offset or epoch.
    pub(crate) fn misplaced(&mut self, header: &BatchHeader, at: &Boundary) -> Option<String> {
        let (base, next) = (header.base_offset(), at.next);
        if base < next || (base > next && !self.gaps) {
            return Some(format!(
                "the batch begins at offset {base}, where {next} is expected"
            ));
        }
        if header.next_offset() > self.end {
            return Some(format!(
                "the batch reaches to offset {}, and its segment to {}",
                header.next_offset(),
                self.end
            ));
        }
        let epochs = self.epochs?;
        let found = header.leader_epoch();
        if let Some((epoch, from, to)) = self.known
            && from <= base
            && base < to
            && found == Some(epoch)
        {
            return None;
        }
        let expected = epochs.at(base);
        if found != expected || found.is_none() {
            return Some(format!(
                "the batch has leader epoch {}, where the checkpoint says {}",
                show(found),
                show(expected)
            ));
        }
        self.known = epochs.range_at(base);
        None
    }
}

fn show(epoch: Option<LeaderEpoch>) -> String {
    epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string())
}
