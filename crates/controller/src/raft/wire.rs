//! What controllers say to each other, as bytes: prost messages of our own. Whatever comes in is checked before openraft
//! sees it: its asserts are no defence.

use super::convert::{entry_in, entry_out, log_id, place, vote_in, vote_out};
use super::{Runtime, Types};
use crate::entry::{LogEntry, Payload};
use crate::wal::{LogPlace, MembershipMessage, VoteMessage};
use bytes::Bytes;
use openraft::Vote;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use prost::Message;
use std::collections::BTreeSet;

/// No log has so many entries, and no group so many terms.
const NUMBER_MAX: u64 = 1 << 62;
/// More controllers than anybody has.
const MEMBERS_MAX: usize = 64;
/// More entries than openraft puts into a message.
const ENTRIES_MAX: usize = 4096;
/// The longest name that there is, and a port.
const ADDRESS_MAX: usize = 262;

#[derive(Clone, PartialEq, Message)]
struct AppendMessage {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteMessage>,
    #[prost(message, optional, tag = "2")]
    previous: Option<LogPlace>,
    #[prost(message, optional, tag = "3")]
    committed: Option<LogPlace>,
    /// Each behind its length in 4 bytes: so they are counted before room is made for them.
    #[prost(bytes = "bytes", tag = "4")]
    entries: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct AppendAnswerMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    higher: Option<VoteMessage>,
}

const SUCCESS: u32 = 1;
const CONFLICT: u32 = 2;
const HIGHER_VOTE: u32 = 3;

#[derive(Clone, Copy, PartialEq, Message)]
struct AskMessage {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteMessage>,
    #[prost(message, optional, tag = "2")]
    last: Option<LogPlace>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct AskAnswerMessage {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteMessage>,
    #[prost(bool, tag = "2")]
    granted: bool,
    #[prost(message, optional, tag = "3")]
    last: Option<LogPlace>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SnapshotMessage {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteMessage>,
}

/// Why bytes from another controller are no message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WireError(String);

type Result<T> = std::result::Result<T, WireError>;

fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(WireError(what.into()))
}

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|error| WireError(error.to_string()))
}

fn checked_vote(vote: Option<VoteMessage>) -> Result<Vote<u64>> {
    match vote {
        Some(vote) if vote.term < NUMBER_MAX => Ok(vote_in(&vote)),
        Some(_) => wrong("an impossible term"),
        None => wrong("no vote"),
    }
}

fn checked_place(place: Option<LogPlace>) -> Result<Option<LogPlace>> {
    match place {
        Some(place) if place.term >= NUMBER_MAX || place.index >= NUMBER_MAX => {
            wrong("an impossible place in the log")
        }
        place => Ok(place),
    }
}

/// A membership that openraft can be given: each voter is there once, and has an address.
pub(crate) fn check_membership(membership: &MembershipMessage) -> Result<()> {
    let nodes: BTreeSet<u64> = membership.nodes.iter().map(|node| node.id).collect();
    if nodes.len() != membership.nodes.len() || nodes.len() > MEMBERS_MAX {
        return wrong("a membership with controllers that are there twice, or too many");
    }
    if membership
        .nodes
        .iter()
        .any(|node| node.address.len() > ADDRESS_MAX)
    {
        return wrong("a membership with an impossible address");
    }
    if membership.voters.is_empty() || membership.voters.len() > 2 {
        return wrong("a membership without voters");
    }
    for voters in &membership.voters {
        if voters.ids.is_empty() || voters.ids.len() > MEMBERS_MAX {
            return wrong("a membership without voters");
        }
        if voters.ids.iter().any(|id| !nodes.contains(id)) {
            return wrong("a membership with a voter that is nowhere");
        }
    }
    Ok(())
}

pub(crate) fn append_out<R: Runtime>(request: AppendEntriesRequest<Types<R>>) -> Bytes {
    let mut entries = Vec::new();
    for entry in request.entries {
        let bytes = entry_out(entry).encode();
        // What the log takes has a length of 4 bytes.
        entries.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        entries.extend_from_slice(&bytes);
    }
    let message = AppendMessage {
        vote: Some(vote_out(&request.vote)),
        previous: request.prev_log_id.as_ref().map(place),
        committed: request.leader_commit.as_ref().map(place),
        entries: entries.into(),
    };
    message.encode_to_vec().into()
}

pub(crate) fn append_in<R: Runtime>(bytes: &[u8]) -> Result<AppendEntriesRequest<Types<R>>> {
    let message: AppendMessage = message(bytes)?;
    let vote = checked_vote(message.vote)?;
    let previous = checked_place(message.previous)?;
    let mut before = previous;
    let mut entries = Vec::new();
    let mut rest = &message.entries[..];
    while !rest.is_empty() {
        if entries.len() == ENTRIES_MAX {
            return wrong("too many entries at once");
        }
        let entry = LogEntry::decode(take(&mut rest)?).map_err(|error| WireError(error.to_string()))?;
        let place = checked_place(Some(entry.place))?.unwrap_or_default();
        let expected = before.map_or(0, |before| before.index + 1);
        if place.index != expected {
            return wrong(format!("entry {} where {expected} should be", place.index));
        }
        if before.is_some_and(|before| place.term < before.term) || place.term > vote.leader_id.term {
            return wrong(format!("entry {} is of an impossible term", place.index));
        }
        if let Payload::Membership(membership) = &entry.payload {
            check_membership(membership)?;
        }
        before = Some(place);
        entries.push(entry_in(entry));
    }
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id: previous.as_ref().map(log_id),
        leader_commit: checked_place(message.committed)?.as_ref().map(log_id),
        entries,
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let taken = rest.split_first_chunk::<4>().and_then(|(len, after)| {
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        after.split_at_checked(len)
    });
    let Some((bytes, after)) = taken else {
        return wrong("half an entry");
    };
    *rest = after;
    Ok(bytes)
}

pub(crate) fn append_answer_out(answer: &AppendEntriesResponse<u64>) -> Bytes {
    let mut message = AppendAnswerMessage::default();
    match answer {
        // A part is what a transport may report, and ours do not.
        AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => message.kind = SUCCESS,
        AppendEntriesResponse::Conflict => message.kind = CONFLICT,
        AppendEntriesResponse::HigherVote(vote) => {
            message.kind = HIGHER_VOTE;
            message.higher = Some(vote_out(vote));
        }
    }
    message.encode_to_vec().into()
}

/// The answer to what was sent: what cannot be one is none.
pub(crate) fn append_answer_in(bytes: &[u8], sent: &Sent) -> Result<AppendEntriesResponse<u64>> {
    let message: AppendAnswerMessage = message(bytes)?;
    let answer = match message.kind {
        SUCCESS => AppendEntriesResponse::Success,
        // Nothing comes before the first entry, so nothing can conflict there.
        CONFLICT if sent.follows => AppendEntriesResponse::Conflict,
        HIGHER_VOTE => {
            let higher = checked_vote(message.higher)?;
            if higher <= sent.vote {
                return wrong("a higher vote that is not higher");
            }
            AppendEntriesResponse::HigherVote(higher)
        }
        kind => return wrong(format!("an answer of kind {kind}")),
    };
    Ok(answer)
}

/// What an answer is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    vote: Vote<u64>,
    /// It begins after an entry that the follower must have.
    follows: bool,
}

impl Sent {
    pub(crate) fn of<R: Runtime>(request: &AppendEntriesRequest<Types<R>>) -> Self {
        Self {
            vote: request.vote,
            follows: request.prev_log_id.is_some(),
        }
    }
}

pub(crate) fn ask_out(request: &VoteRequest<u64>) -> Bytes {
    let message = AskMessage {
        vote: Some(vote_out(&request.vote)),
        last: request.last_log_id.as_ref().map(place),
    };
    message.encode_to_vec().into()
}

pub(crate) fn ask_in(bytes: &[u8]) -> Result<VoteRequest<u64>> {
    let message: AskMessage = message(bytes)?;
    let last = checked_place(message.last)?;
    Ok(VoteRequest {
        vote: checked_vote(message.vote)?,
        last_log_id: last.as_ref().map(log_id),
    })
}

pub(crate) fn ask_answer_out(answer: &VoteResponse<u64>) -> Bytes {
    let message = AskAnswerMessage {
        vote: Some(vote_out(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(place),
    };
    message.encode_to_vec().into()
}

pub(crate) fn ask_answer_in(bytes: &[u8]) -> Result<VoteResponse<u64>> {
    let message: AskAnswerMessage = message(bytes)?;
    let last = checked_place(message.last)?;
    Ok(VoteResponse {
        vote: checked_vote(message.vote)?,
        vote_granted: message.granted,
        last_log_id: last.as_ref().map(log_id),
    })
}

/// What goes before a snapshot, and its answer: a vote. All else is in the snapshot itself.
pub(crate) fn snapshot_out(vote: &Vote<u64>) -> Bytes {
    let message = SnapshotMessage {
        vote: Some(vote_out(vote)),
    };
    message.encode_to_vec().into()
}

pub(crate) fn snapshot_in(bytes: &[u8]) -> Result<Vote<u64>> {
    checked_vote(message::<SnapshotMessage>(bytes)?.vote)
}

pub(crate) fn snapshot_answer_in(bytes: &[u8]) -> Result<SnapshotResponse<u64>> {
    Ok(SnapshotResponse::new(snapshot_in(bytes)?))
}

#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub(crate) mod hostile {
    //! See `crate::hostile`.

    use super::*;
    use crate::raft::Tokio;

    /// As every message there is.
    pub(crate) fn any(bytes: &[u8]) {
        if let Ok(request) = append_in::<Tokio>(bytes) {
            let first = request.prev_log_id.map_or(0, |before| before.index + 1);
            for (expected, entry) in (first..).zip(&request.entries) {
                assert_eq!(entry.log_id.index, expected, "a hole");
                assert!(entry.log_id.leader_id.term <= request.vote.leader_id.term);
            }
            let again = append_out(request);
            let request = append_in::<Tokio>(&again).expect("just written");
            assert_eq!(append_out(request), again);
        }
        if let Ok(request) = ask_in(bytes) {
            assert_eq!(ask_in(&ask_out(&request)), Ok(request));
        }
        if let Ok(answer) = ask_answer_in(bytes) {
            assert_eq!(ask_answer_in(&ask_answer_out(&answer)), Ok(answer));
        }
        if let Ok(vote) = snapshot_in(bytes) {
            assert_eq!(snapshot_in(&snapshot_out(&vote)), Ok(vote));
        }
        for follows in [false, true] {
            let sent = Sent {
                vote: Vote::new_committed(2, 5),
                follows,
            };
            if let Ok(answer) = append_answer_in(bytes, &sent) {
                assert!(follows || !answer.is_conflict());
                assert_eq!(append_answer_in(&append_answer_out(&answer), &sent), Ok(answer));
            }
        }
    }

    /// As entries for a follower, framed as they should be: by kind at their place or anywhere, and what they hold.
    pub(crate) fn append(pieces: &mut dyn Iterator<Item = (u8, u8, &[u8])>) {
        let mut entries = Vec::new();
        for (index, (kind, flag, payload)) in pieces.enumerate() {
            let place = LogPlace {
                term: u64::from(kind / 128),
                leader: 1,
                index: index as u64 + u64::from(flag / 250),
            };
            let mut entry = LogEntry {
                place,
                payload: Payload::Blank,
            }
            .encode();
            // Commands or a membership, behind the place.
            entry.extend_from_slice(payload);
            entries.extend_from_slice(&u32::try_from(entry.len()).expect("small").to_le_bytes());
            entries.extend_from_slice(&entry);
        }
        let message = AppendMessage {
            vote: Some(vote_out(&Vote::new_committed(1, 1))),
            previous: None,
            committed: None,
            entries: entries.into(),
        };
        any(&message.encode_to_vec());
    }
}
