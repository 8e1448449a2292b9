//! Offsets: committed, asked for, reset.

use super::Deciding;
use crate::record::{Change, Info, StoredOffset};
use crate::{
    Commit, Committed, Committer, GroupError, OffsetCommit, OffsetMoved, OffsetsQuery, RequestToken, Reset,
    Response,
};
use quipu_record::{Offset, PlantedBug, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes of a commit's metadata at most.
const METADATA_LEN_MAX: usize = 4_096;
/// Streams of one member whose commits are told apart; those before have passed, and are refused for that.
const STREAMS_MAX: usize = 4;
/// Offsets of one request.
const OFFSETS_MAX: usize = 10_000;

impl Deciding<'_> {
    /// Remembers all of a request, or none.
    pub(crate) fn commit(&mut self, token: RequestToken, commit: Commit) {
        let results = match self.check_commit(&commit) {
            Ok(results) => results,
            Err(error) => return self.answer(token, Err(error)),
        };
        let refused = results.iter().find_map(|result| result.as_ref().err());
        let Some(code) = refused.map(GroupError::code) else {
            self.note_number(commit.by.as_ref());
            for one in commit.offsets {
                self.remember(
                    one.at,
                    StoredOffset {
                        offset: one.offset,
                        at: self.wall,
                        leader_epoch: one.leader_epoch,
                        metadata: Some(one.metadata).filter(|text| !text.is_empty()),
                    },
                );
            }
            return self.answer(token, Ok(Response::Committed(results)));
        };
        let all = results.into_iter().map(|result| match result {
            Ok(()) => Err(GroupError::WithOthers(code)),
            refused => refused,
        });
        let all = Response::Committed(all.collect());
        self.answer(token, Ok(all));
    }

    fn remember(&mut self, at: TopicPartition, offset: StoredOffset) {
        self.write(Change::Offset(at, Some(offset)));
        if self.group.expired.contains_key(&at) {
            self.write(Change::Expired(at, None));
        }
    }

    /// What comes after this commit of its stream, and was made before it, is refused from here on.
    fn note_number(&mut self, by: Option<&Committer>) {
        let named = by.and_then(|by| Some((&by.member, by.stream?, by.number?)));
        let Some((member, stream, number)) = named else {
            return;
        };
        if let Some(member) = self.group.members.get_mut(member) {
            let committed = &mut member.live.committed;
            committed.retain(|(other, _)| *other != stream);
            committed.push((stream, number));
            let many = committed.len().saturating_sub(STREAMS_MAX);
            committed.drain(..many);
        }
    }

    /// A commit may be held up in a broker that is paused, while its client says it again by another stream, or its host to
    /// another coordinator: what arrives after that is refused, or it would undo what was committed since.
    ///
    /// The stream of a member is stored with it. Which commit was its latest is known while this coordinator is live: one
    /// that was meant for a coordinator before or after is refused by the host (`CommitOffsetsRequest.coordinator_epoch`).
    fn check_order(&self, by: &Committer) -> Result<(), GroupError> {
        if PlantedBug::LateCommitTaken.planted() {
            return Ok(());
        }
        let member = self.member(&by.member)?;
        let passed = |info: &Info| {
            let past = by
                .stream
                .is_some_and(|stream| info.past_streams.contains(&stream));
            past || info.supersedes(by.stream_number)
        };
        if member.info.as_deref().is_some_and(passed) {
            return Err(GroupError::SupersededStream);
        }
        let later = |(stream, latest): &(_, _)| by.stream == Some(*stream) && by.number < Some(*latest);
        match by.number.is_some() && member.live.committed.iter().any(later) {
            true => Err(GroupError::SupersededCommit),
            false => Ok(()),
        }
    }

    fn check_commit(&self, commit: &Commit) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        once_each(commit.offsets.iter().map(|one| one.at))?;
        let Some(by) = &commit.by else {
            if !self.group.members.is_empty() {
                return Err(GroupError::GroupNotEmpty);
            }
            let check = |one: &OffsetCommit| self.there(one.at).and(fits(one));
            return Ok(commit.offsets.iter().map(check).collect());
        };
        if PlantedBug::CommitUnfenced.planted() {
            return Ok(commit.offsets.iter().map(fits).collect());
        }
        self.check_order(by)?;
        let member = self.member(&by.member)?;
        let reached = member.current().epoch;
        let check = |one: &OffsetCommit| {
            fits(one)?;
            // KIP-1251: since it got the partition, and no later than it is.
            let holds = member
                .holds(one.at)
                .filter(|holds| holds.epoch <= by.epoch.into() && by.epoch <= reached);
            holds.map(|_| ()).ok_or(GroupError::StaleAssignment)
        };
        Ok(commit.offsets.iter().map(check).collect())
    }

    fn there(&self, at: TopicPartition) -> Result<(), GroupError> {
        let partitions = self.topics.partitions(at.topic);
        let there = partitions.is_some_and(|partitions| at.partition.get() < partitions);
        there.then_some(()).ok_or(GroupError::UnknownTopicOrPartition)
    }

    pub(crate) fn offsets(&mut self, token: RequestToken, query: &OffsetsQuery) {
        let found = match &query.partitions {
            None => {
                let all = self.group.offsets.iter();
                all.map(|(at, offset)| (*at, Some(offset.into()))).collect()
            }
            Some(wanted) => {
                let find = |at: &TopicPartition| (*at, self.group.offsets.get(at).map(Committed::from));
                wanted.iter().map(find).collect()
            }
        };
        self.answer(token, Ok(Response::Offsets(found)));
    }

    /// Moves offsets of a group without members: all of a request, or none.
    pub(crate) fn reset(&mut self, token: RequestToken, reset: &Reset) {
        let answer = self.moved(reset).map(|moved| {
            if !reset.validate_only {
                for one in &moved {
                    self.remember(
                        one.at,
                        StoredOffset {
                            offset: one.to,
                            at: self.wall,
                            leader_epoch: None,
                            metadata: None,
                        },
                    );
                }
            }
            Response::Reset(moved)
        });
        self.answer(token, answer);
    }

    fn moved(&self, reset: &Reset) -> Result<Vec<OffsetMoved>, GroupError> {
        if !self.group.members.is_empty() {
            return Err(GroupError::GroupNotEmpty);
        }
        once_each(reset.offsets.iter().map(|(at, _)| *at))?;
        let each = reset.offsets.iter().map(|(at, to)| {
            self.there(*at)?;
            let from = self.group.offsets.get(at).map(|offset| offset.offset);
            let nothing =
                || GroupError::invalid(format!("nothing is committed of {at} that could be shifted"));
            let to = to.resolved(from).ok_or_else(nothing)?;
            if to > Offset::MAX {
                return Err(GroupError::invalid("offset: above 2^63 - 1"));
            }
            Ok(OffsetMoved { at: *at, from, to })
        });
        each.collect()
    }
}

impl From<&StoredOffset> for Committed {
    fn from(stored: &StoredOffset) -> Self {
        Self {
            offset: stored.offset,
            leader_epoch: stored.leader_epoch,
            metadata: stored.metadata.as_ref().map_or_else(|| "".into(), Arc::clone),
            at: stored.at,
        }
    }
}

fn fits(one: &OffsetCommit) -> Result<(), GroupError> {
    if one.metadata.len() > METADATA_LEN_MAX {
        return Err(GroupError::MetadataTooLarge(one.metadata.len()));
    }
    if one.offset > Offset::MAX {
        return Err(GroupError::invalid("offset: above 2^63 - 1"));
    }
    Ok(())
}

fn once_each(partitions: impl ExactSizeIterator<Item = TopicPartition>) -> Result<(), GroupError> {
    let count = partitions.len();
    if count > OFFSETS_MAX {
        return Err(GroupError::invalid("offsets: more than 10,000"));
    }
    if count > 1 && partitions.collect::<BTreeSet<_>>().len() < count {
        return Err(GroupError::invalid("offsets: a partition appears twice"));
    }
    Ok(())
}
