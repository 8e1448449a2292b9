//! Whether batches are those that were written, where their offsets cannot show it.
//!
//! A batch's own checksum leaves its offset and its epoch out. Where every offset follows from the one before it, that is no
//! matter; where compaction left gaps, an offset with a flipped bit is an offset like others. What all of them add up to is
//! known at every entry of the index and at the segment's end, each under a checksum of its own: what is read there is held
//! against the next such place.

use super::{LogReader, Target, bad};
use crate::files::OpenFile;
use crate::segment::{Boundary, Rules, Step, Walk};
use crate::{Disk, ReadError};

impl<D: Disk> Target<D> {
    /// What the segment's batches are held against.
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules::new(Some(&self.epochs), self.segment.cleaned()).until(self.end.next)
    }
}

impl<D: Disk> LogReader<D> {
    /// Batches were read from a place that the segment vouches for up to `at`: reads on to the next such place, some kilobytes
    /// from there, and sees whether it all adds up.
    pub(super) fn prove(&self, target: &Target<D>, log: &OpenFile<D>, at: Boundary) -> Result<(), ReadError> {
        if !target.segment.cleaned() {
            return Ok(());
        }
        let vouched = self
            .shared
            .at_place(|place| target.segment.vouched_from(place, at.position));
        let vouched = vouched.map_err(ReadError::Io)?;
        // The log may have grown since this read began.
        let vouched = if vouched.position < target.end.position {
            vouched
        } else {
            target.end
        };
        let mut rules = target.rules();
        let mut walk = Walk::new(log, at, u64::from(vouched.position));
        loop {
            let here = *walk.at();
            match walk.step(&mut rules).map_err(ReadError::Io)? {
                Step::Batch(..) => {}
                Step::Bad(what) => return Err(bad(log, &here, what)),
                Step::End if (here.position, here.outside) == (vouched.position, vouched.outside) => {
                    return Ok(());
                }
                Step::End => {
                    let what = "an offset or an epoch before this place is not what was written".to_owned();
                    return Err(bad(log, &here, what));
                }
            }
        }
    }
}
