//! What is true whatever anybody believes: what was committed and where, who was given what, and what was processed.

use crate::invariants::{commit_of_the_owner, committed_offset, no_record_skipped, one_owner};
use crate::report::Violation;
use quipu_coordinator::{
    AssignmentEpoch, Commit, Committed as Found, GroupError, GroupId, InstanceId, MemberId, Request, Response,
};
use quipu_record::{Offset, TopicPartition};
use std::collections::BTreeMap;

/// A partition as one group consumes it.
pub(crate) type Place = (GroupId, TopicPartition);

/// Who delivers a partition, and since when the member has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) member: MemberId,
    /// A new process of a static member goes on with what the one before had.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) epoch: AssignmentEpoch,
}

/// A commit, and where the log ended with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Committed {
    pub(crate) end: usize,
    pub(crate) offset: Offset,
}

/// A read of a group's offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read<'a> {
    pub(super) group: &'a GroupId,
    /// What was committed as it was asked.
    pub(super) begun: usize,
    /// How much the answer saw.
    pub(super) end: usize,
}

/// What is true.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    commits: BTreeMap<Place, Vec<Committed>>,
    claims: BTreeMap<Place, Claim>,
    processed: BTreeMap<Place, Processed>,
}

/// What some member or other has processed.
#[derive(Debug, Default)]
struct Processed {
    /// Everything below was.
    below: u64,
    /// Pieces above it, by their beginning.
    above: BTreeMap<u64, u64>,
    repeated: u64,
}

impl Processed {
    fn add(&mut self, from: u64, next: u64) {
        let (mut from, mut next) = (from, next);
        self.repeated += self.below.min(next).saturating_sub(from);
        from = from.max(self.below);
        while let Some((&start, &end)) = self.above.range(..=next).next_back() {
            if end < from {
                break;
            }
            self.repeated += end.min(next).saturating_sub(start.max(from));
            (from, next) = (from.min(start), next.max(end));
            self.above.remove(&start);
        }
        if from <= self.below {
            self.below = self.below.max(next);
        } else if next > from {
            self.above.insert(from, next);
        }
    }
}

impl Truth {
    /// A coordinator decided something that is in the log that all go by; the log ends at `end` with it.
    pub(super) fn decided(&mut self, request: &Request, answer: &Result<Response, GroupError>, end: usize) {
        let offsets: Vec<(Place, Offset)> = match (request, answer) {
            (Request::Commit(commit), Ok(Response::Committed(results)))
                if results.iter().all(Result::is_ok) =>
            {
                let offsets = commit.offsets.iter();
                offsets
                    .map(|one| ((commit.group.clone(), one.at), one.offset))
                    .collect()
            }
            (Request::Reset(reset), Ok(Response::Reset(moved))) if !reset.validate_only => {
                let moved = moved.iter();
                moved.map(|one| ((reset.group.clone(), one.at), one.to)).collect()
            }
            _ => return,
        };
        for (place, offset) in offsets {
            self.commits
                .entry(place)
                .or_default()
                .push(Committed { end, offset });
        }
    }

    /// A new leader's log ends here: what lay beyond never was.
    pub(super) fn cut(&mut self, end: usize) {
        for commits in self.commits.values_mut() {
            commits.retain(|commit| commit.end <= end);
        }
    }

    /// Somebody is told what was committed.
    pub(super) fn read(
        &self,
        read: &Read<'_>,
        found: &[(TopicPartition, Option<Found>)],
    ) -> Result<(), Violation> {
        for (at, found) in found {
            let place = (read.group.clone(), *at);
            let commits = self.commits.get(&place).map_or(&[][..], Vec::as_slice);
            let found = found.as_ref().map(|found| found.offset);
            committed_offset(&place, commits, read.begun, read.end, found)?;
        }
        Ok(())
    }

    /// Somebody is told that an offset is committed.
    pub(super) fn committed(&self, commit: &Commit) -> Result<(), Violation> {
        // Who administers a group may put its offsets anywhere.
        let Some(by) = &commit.by else {
            return Ok(());
        };
        for one in &commit.offsets {
            let place = (commit.group.clone(), one.at);
            if let Some(owner) = self.claims.get(&place) {
                commit_of_the_owner(&place, owner, &by.member, AssignmentEpoch::from(by.epoch))?;
            }
            let below = self.processed.get(&place).map_or(0, |processed| processed.below);
            no_record_skipped(&place, one.offset, Offset::new(below))?;
        }
        Ok(())
    }

    /// A stream sends data of a partition.
    pub(super) fn deliver(&mut self, place: Place, claim: Claim) -> Result<(), Violation> {
        one_owner(&place, self.claims.get(&place), &claim)?;
        self.claims.insert(place, claim);
        Ok(())
    }

    /// A client has processed records.
    pub(super) fn process(&mut self, place: Place, from: Offset, next: Offset) {
        self.processed
            .entry(place)
            .or_default()
            .add(from.get(), next.get());
    }

    /// How many records were processed more than once.
    pub(super) fn repeated(&self) -> u64 {
        self.processed.values().map(|processed| processed.repeated).sum()
    }

    /// How many records were processed.
    pub(super) fn processed(&self) -> u64 {
        let above = |processed: &Processed| {
            processed
                .above
                .iter()
                .map(|(from, next)| next - from)
                .sum::<u64>()
        };
        let all = self.processed.values();
        all.map(|processed| processed.below + above(processed)).sum()
    }

    /// Everything below was processed by somebody.
    pub(super) fn processed_below(&self, place: &Place) -> u64 {
        self.processed.get(place).map_or(0, |processed| processed.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_and_repeats_are_counted() {
        let mut processed = Processed::default();
        processed.add(0, 5);
        processed.add(7, 9);
        assert_eq!((processed.below, processed.repeated), (5, 0));
        processed.add(4, 8);
        assert_eq!((processed.below, processed.repeated), (9, 2));
        processed.add(2, 3);
        assert_eq!((processed.below, processed.repeated), (9, 3));
    }
}
