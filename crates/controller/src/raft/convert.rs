//! Between openraft's types and our own.

use super::{Node, Proposal, Runtime, Types};
use crate::entry::{LogEntry, Payload};
use crate::wal::{LogPlace, MembershipMessage, NodeMessage, VoteMessage, VotersMessage};
use openraft::{
    CommittedLeaderId, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, Membership, StorageError,
    StoredMembership, Vote,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

pub(crate) fn place(id: &LogId<u64>) -> LogPlace {
    LogPlace {
        term: id.leader_id.term,
        leader: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id(place: &LogPlace) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(place.term, place.leader), place.index)
}

pub(crate) fn vote_out(vote: &Vote<u64>) -> VoteMessage {
    VoteMessage {
        term: vote.leader_id.term,
        candidate: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn vote_in(message: &VoteMessage) -> Vote<u64> {
    if message.committed {
        Vote::new_committed(message.term, message.candidate)
    } else {
        Vote::new(message.term, message.candidate)
    }
}

pub(crate) fn membership_out(membership: &Membership<u64, Node>) -> MembershipMessage {
    let voters = membership.get_joint_config().iter().map(|ids| VotersMessage {
        ids: ids.iter().copied().collect(),
    });
    let nodes = membership.nodes().map(|(id, node)| NodeMessage {
        id: *id,
        address: node.address.clone(),
    });
    MembershipMessage {
        voters: voters.collect(),
        nodes: nodes.collect(),
    }
}

pub(crate) fn membership_in(message: &MembershipMessage) -> Membership<u64, Node> {
    let voters: Vec<BTreeSet<u64>> = message
        .voters
        .iter()
        .map(|set| set.ids.iter().copied().collect())
        .collect();
    let nodes = message.nodes.iter().map(|node| {
        (
            node.id,
            Node {
                address: node.address.clone(),
            },
        )
    });
    Membership::new(voters, nodes.collect::<BTreeMap<u64, Node>>())
}

pub(crate) fn stored_membership(
    at: Option<&LogPlace>,
    message: &MembershipMessage,
) -> StoredMembership<u64, Node> {
    StoredMembership::new(at.map(log_id), membership_in(message))
}

pub(crate) fn entry_out<R: Runtime>(entry: Entry<Types<R>>) -> LogEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(Proposal(commands)) => Payload::Commands(commands),
        EntryPayload::Membership(membership) => Payload::Membership(Arc::new(membership_out(&membership))),
    };
    LogEntry {
        place: place(&entry.log_id),
        payload,
    }
}

pub(crate) fn entry_in<R: Runtime>(entry: LogEntry) -> Entry<Types<R>> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Commands(commands) => EntryPayload::Normal(Proposal(commands)),
        Payload::Membership(membership) => EntryPayload::Membership(membership_in(&membership)),
    };
    Entry {
        log_id: log_id(&entry.place),
        payload,
    }
}

/// A failure of storage as openraft wants it: it stops the group for good.
pub(crate) fn storage_error(
    subject: ErrorSubject<u64>,
    verb: ErrorVerb,
    error: impl std::fmt::Display,
) -> StorageError<u64> {
    StorageError::from_io_error(subject, verb, io::Error::other(error.to_string()))
}
