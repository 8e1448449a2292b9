//! What people see of a group.

use super::Deciding;
use crate::record::Progress;
use crate::state::Member;
use crate::{
    Committed, GroupDescription, GroupError, MemberDescription, MemberId, OffsetDescription, RequestToken,
    Response, Stalled,
};
use quipu_record::TopicPartition;
use std::collections::BTreeMap;
use std::time::Duration;

impl Deciding<'_> {
    pub(crate) fn describe(&mut self, token: RequestToken) {
        let answer = if self.group.is_blank() {
            Err(GroupError::UnknownGroup)
        } else {
            Ok(Response::Group(Box::new(self.description())))
        };
        self.answer(token, answer);
    }

    fn description(&self) -> GroupDescription {
        let group = &self.group;
        let members = group.members.iter();
        GroupDescription {
            group: self.id.clone(),
            state: group.state(),
            epoch: group.epoch(),
            target_epoch: group.target_epoch(),
            assignor: group.assignor(),
            members: members
                .filter_map(|(id, member)| self.about(id, member))
                .collect(),
            offsets: self.positions(),
            expires_at: group
                .expires_at(self.config.offsets_retention)
                .filter(|_| !group.offsets.is_empty()),
            stalled: self.stalled(),
        }
    }

    fn about(&self, id: &MemberId, member: &Member) -> Option<MemberDescription> {
        let info = member.info.as_ref()?;
        let current = member.current();
        Some(MemberDescription {
            member: id.clone(),
            instance: info.instance.clone(),
            client_id: info.client_id.clone(),
            client_host: info.client_host.clone(),
            rack: info.rack.clone(),
            subscription: info.subscription.clone(),
            epoch: current.epoch,
            owned: current.assigned.clone(),
            target: member.target().to_vec(),
            revoking: current.pending.clone(),
            revocation_left: (current.progress == Progress::Unrevoked).then(|| self.left(member)),
        })
    }

    /// How long until what a member gives up, or has, is taken from it.
    fn left(&self, member: &Member) -> Duration {
        let end = member.live.revocation.unwrap_or_else(|| member.session_end());
        end.since(self.now)
    }

    fn positions(&self) -> Vec<OffsetDescription> {
        let mut found: BTreeMap<TopicPartition, OffsetDescription> = BTreeMap::new();
        let blank = |at| OffsetDescription {
            at,
            committed: None,
            member: None,
            expired: false,
        };
        for (at, stored) in &self.group.expired {
            let one = found.entry(*at).or_insert_with(|| blank(*at));
            (one.committed, one.expired) = (Some(Committed::from(stored)), true);
        }
        for (at, stored) in &self.group.offsets {
            let one = found.entry(*at).or_insert_with(|| blank(*at));
            (one.committed, one.expired) = (Some(Committed::from(stored)), false);
        }
        for (at, owner) in &self.group.owners {
            found.entry(*at).or_insert_with(|| blank(*at)).member = Some(owner.clone());
        }
        found.into_values().collect()
    }

    /// Partitions that somebody has who shall not, as far as somebody is known to wait or they were asked back.
    fn stalled(&self) -> Vec<Stalled> {
        let mut waiting: BTreeMap<TopicPartition, &MemberId> = BTreeMap::new();
        for (id, member) in &self.group.members {
            let lacks = member
                .target()
                .iter()
                .filter(|at| self.group.owners.get(*at) != Some(id));
            waiting.extend(lacks.map(|at| (*at, id)));
        }
        let held = self.group.owners.iter().filter_map(|(at, holder)| {
            let member = self.group.members.get(holder)?;
            let pends = member
                .current()
                .pending
                .binary_search_by_key(at, |one| one.at)
                .is_ok();
            let wanted = waiting.get(at).map(|id| (*id).clone());
            (pends || wanted.is_some()).then(|| Stalled {
                at: *at,
                holder: holder.clone(),
                waiting: wanted,
                left: self.left(member),
            })
        });
        held.collect()
    }
}
