//! How a group begins. Pure: what an empty controller does, given what the others say.
//!
//! Two groups made by mistake would both believe that they hold the cluster's truth, and nothing could join them again. So
//! nothing is guessed: only if every configured voter answers that it is empty does the first of them make the group, of
//! exactly those. One that does not answer may be the one that knows better.

use crate::{ControllerId, Member, PeerStatus};
use quipu_metadata::ClusterId;
use quipu_record::ErrorCode;
use thiserror::Error;

/// What an empty controller is about.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bootstrap {
    /// It has only just started.
    Starting,
    /// It is part of a group.
    Joined,
    /// Not all configured voters answer: any of them may know of a group.
    Missing {
        /// Those that do not.
        addresses: Vec<String>,
    },
    /// All are empty, and the first of them will make the group.
    First {
        /// Where that is.
        address: String,
    },
    /// There is a group, and this controller is not in it: somebody must let it join.
    Unjoined {
        /// Who knows of the group.
        address: String,
        /// The cluster, if it has an id yet.
        cluster: Option<ClusterId>,
    },
    /// The configuration cannot be right. It is looked at again and again, for the fault may lie elsewhere.
    Refused(BootstrapError),
}

/// Why no group can be made of the configured voters.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Two controllers were configured with different voters.
    #[error(
        "controllers.voters differ: {address} was started with [{}], and this controller with [{}]. They must be the same, \
         in the same order, on all controllers",
        .theirs.join(", "), .ours.join(", ")
    )]
    VotersDiffer {
        /// Who has others.
        address: String,
        /// Its.
        theirs: Vec<String>,
        /// Ours.
        ours: Vec<String>,
    },
    /// Two addresses lead to the same controller, or a data directory was copied.
    #[error(
        "{one} and {other} both answer as controller {id}: two names for one, or a copied data directory"
    )]
    SameController {
        /// The one address.
        one: String,
        /// The other.
        other: String,
        /// Who answers at both.
        id: ControllerId,
    },
}

impl BootstrapError {
    /// How a client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::InvalidConfig
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Make the group, of these.
    Found(Vec<Member>),
    /// Ask again later.
    Wait(Bootstrap),
}

/// Decides for an empty controller. `answers` are those of the other configured voters, in order; `None` did not answer.
pub(crate) fn decide(me: &Member, configured: &[String], answers: &[(String, Option<PeerStatus>)]) -> Step {
    let refused = |error| Step::Wait(Bootstrap::Refused(error));
    let heard = || {
        answers
            .iter()
            .filter_map(|(address, status)| status.as_ref().map(|status| (address, status)))
    };
    if let Some((address, status)) = heard().find(|(_, status)| !status.is_empty()) {
        return Step::Wait(Bootstrap::Unjoined {
            address: address.clone(),
            cluster: status.cluster,
        });
    }
    // A newcomer to a group that was made without it.
    if !configured.contains(&me.address) {
        let address = configured.first().cloned().unwrap_or_default();
        return Step::Wait(Bootstrap::Unjoined {
            address,
            cluster: None,
        });
    }
    if let Some((address, status)) = heard().find(|(_, status)| status.configured != configured) {
        return refused(BootstrapError::VotersDiffer {
            address: address.clone(),
            theirs: status.configured.clone(),
            ours: configured.to_vec(),
        });
    }
    let mut members = vec![me.clone()];
    for (address, status) in heard() {
        if let Some(other) = members.iter().find(|member| member.id == status.id) {
            return refused(BootstrapError::SameController {
                one: other.address.clone(),
                other: address.clone(),
                id: status.id,
            });
        }
        members.push(Member {
            id: status.id,
            address: address.clone(),
        });
    }
    let missing: Vec<String> = configured
        .iter()
        .filter(|address| !members.iter().any(|member| member.address == **address))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Step::Wait(Bootstrap::Missing { addresses: missing });
    }
    match configured.first() {
        Some(first) if *first != me.address => Step::Wait(Bootstrap::First {
            address: first.clone(),
        }),
        _ => Step::Found(members),
    }
}

#[cfg(test)]
mod tests;
