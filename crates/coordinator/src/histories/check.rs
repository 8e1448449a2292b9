//! What must hold after every step.

use super::world::{Asked, Held, HeldAnswer, World};
use crate::record::{Change, Current, Record};
use crate::{
    Commit, CommitNumber, Committer, Coordinator, GroupError, GroupRecord, Input, MemberId, Request, Response,
};
use quipu_record::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

type Writes = Vec<(TopicPartition, Option<Offset>)>;

impl World {
    /// I17: a partition is one member's, and no stream of another one delivers it, save one that was taken by the deadline
    /// from a member that does not know it yet.
    pub(super) fn check_owners(&self) -> Held {
        let mut owners: BTreeMap<TopicPartition, &MemberId> = BTreeMap::new();
        for (member, current) in &self.ledger {
            for one in current.assigned.iter().chain(&current.pending) {
                if let Some(other) = owners.insert(one.at, member) {
                    return Err(format!("{} is owned by {other} and {member}", one.at));
                }
            }
        }
        // A stream that another one superseded delivers to nobody: the member's process has left it.
        for host in self.hosts.iter().filter(|host| !host.dead && !host.superseded) {
            for at in host.owned.keys().chain(host.revoking.keys()) {
                let Some(owner) = owners.get(at).filter(|owner| **owner != &host.member) else {
                    continue;
                };
                if !self.taken.contains(&(host.member.clone(), *at)) {
                    return Err(format!(
                        "{at} is {owner}'s, and {} has not given it up",
                        host.member
                    ));
                }
            }
        }
        Ok(())
    }

    /// Notes what deadlines take now.
    pub(super) fn note_taken(&mut self) {
        let Some(group) = self.coordinator.groups.get(&self.group) else {
            return;
        };
        for (id, member) in &group.members {
            if member.live.revocation.is_some_and(|end| end <= self.now) {
                let pending = &member.current().pending;
                self.taken.extend(pending.iter().map(|one| (id.clone(), one.at)));
            }
        }
    }

    /// Forgets what was taken from whoever knows it by now.
    pub(super) fn forget_taken(&mut self) {
        let hosts = &self.hosts;
        self.taken.retain(|(member, at)| {
            let mut of_member = hosts.iter().filter(|host| host.member == *member);
            of_member.any(|host| host.holds(*at))
        });
    }

    /// What a decided answer writes as the model understands it, and whether it may be so.
    pub(super) fn writes(
        &self,
        request: Option<&Request>,
        answer: &Result<Response, GroupError>,
    ) -> Result<Writes, String> {
        match (request, answer) {
            (Some(Request::Commit(commit)), Ok(Response::Committed(results))) => self.commit(commit, results),
            (Some(Request::Reset(reset)), Ok(Response::Reset(moved))) => {
                for one in moved {
                    if one.from != self.expected(one.at) {
                        return Err(format!("a reset of {} begins at {:?}", one.at, one.from));
                    }
                }
                let moved = moved.iter().map(|one| (one.at, Some(one.to)));
                Ok(moved.filter(|_| !reset.validate_only).collect())
            }
            (Some(Request::Delete { validate_only, .. }), Ok(Response::Deleted)) => {
                let all = self.every_expected().into_keys().map(|at| (at, None));
                Ok(all.filter(|_| !validate_only).collect())
            }
            (Some(Request::Offsets(_)), Ok(Response::Offsets(found))) => {
                for (at, committed) in found {
                    let offset = committed.as_ref().map(|committed| committed.offset);
                    if offset != self.expected(*at) {
                        return Err(format!(
                            "{at} is committed as {offset:?}, not {:?}",
                            self.expected(*at)
                        ));
                    }
                }
                Ok(Vec::new())
            }
            (
                Some(Request::Commit(commit)),
                Err(GroupError::SupersededStream | GroupError::SupersededCommit),
            ) => self.check_refused(commit).map(|()| Vec::new()),
            _ => Ok(Vec::new()),
        }
    }

    /// A commit was refused for good, as it came late: its client has gone to a later stream, or its stream has made others.
    fn check_refused(&self, commit: &Commit) -> Held {
        let Some(by) = &commit.by else {
            return Err("an administrator's commit came late".to_owned());
        };
        let mut of_member = self.hosts.iter().filter(|host| host.member == by.member);
        let last = of_member
            .next_back()
            .filter(|host| Some(host.stream) == by.stream);
        match last {
            Some(host)
                if !host.dead
                    && by.stream_number.is_some()
                    && by.number.map(CommitNumber::get) == Some(host.commits) =>
            {
                Err(format!(
                    "the last commit of {}'s last stream is refused for good",
                    by.member
                ))
            }
            _ => Ok(()),
        }
    }

    /// No commit undoes one that its client made after it, as far as the coordinator is told which was: offsets of the model
    /// count up. What is gone with its group is not there to be undone.
    fn check_order(&self, commit: &Commit, by: &Committer) -> Held {
        let told_apart = |last: &&Committer| {
            let counted = last.stream_number.is_some() && by.stream_number.is_some();
            last.member == by.member && (last.stream == by.stream || counted)
        };
        for one in &commit.offsets {
            let of_it = |(at, _): &&(TopicPartition, _)| *at == one.at;
            let last = self.log.iter().rev().find_map(|batch| {
                let (_, offset) = batch.writes.iter().rev().find(of_it)?;
                Some((*offset, batch.by.as_ref().filter(told_apart)))
            });
            if let Some((Some(offset), Some(_))) = last
                && offset > one.offset
            {
                return Err(format!("{commit:?} undoes a later commit of the same member"));
            }
        }
        Ok(())
    }

    fn commit(&self, commit: &Commit, results: &[Result<(), GroupError>]) -> Result<Writes, String> {
        let taken = results.iter().all(Result::is_ok);
        let may = match &commit.by {
            None => commit
                .offsets
                .iter()
                .all(|one| self.topics.all().contains(&one.at)),
            Some(by) => self.ledger.get(&by.member).is_some_and(|current| {
                commit.offsets.iter().all(|one| {
                    let mut has = current.assigned.iter().chain(&current.pending);
                    let holds = has.find(|held| held.at == one.at);
                    holds.is_some_and(|held| held.epoch.get() <= by.epoch.get() && by.epoch <= current.epoch)
                })
            }),
        };
        if taken != may {
            return Err(format!("{commit:?} answered by {results:?}, and may be {may}"));
        }
        if !taken && results.iter().any(Result::is_ok) {
            return Err("a part of a commit was taken".to_owned());
        }
        if let Some(by) = commit.by.as_ref().filter(|_| taken) {
            self.check_order(commit, by)?;
        }
        let offsets = commit.offsets.iter().map(|one| (one.at, Some(one.offset)));
        Ok(offsets.filter(|_| taken).collect())
    }

    /// Offsets that time takes away: of topics that are gone, and of a group that was left for long.
    pub(super) fn taken_by_time(
        &self,
        input_is_tick: bool,
        records: &[GroupRecord],
    ) -> Result<Writes, String> {
        let mut gone = Writes::new();
        if !input_is_tick {
            return Ok(gone);
        }
        let there = self.topics.all();
        for record in records {
            let Ok(Record {
                change: Change::Offset(at, None),
                ..
            }) = Record::decode(&record.key, record.value.as_deref())
            else {
                continue;
            };
            let mut topics = there.iter().map(|one| one.topic);
            if topics.any(|topic| topic == at.topic) && !self.ledger.is_empty() {
                return Err(format!("the offset of {at} expired in a group with members"));
            }
            gone.push((at, None));
        }
        Ok(gone)
    }

    pub(super) fn every_expected(&self) -> BTreeMap<TopicPartition, Offset> {
        let mut all = BTreeMap::new();
        for (at, offset) in self.log.iter().flat_map(|batch| &batch.writes) {
            match offset {
                Some(offset) => all.insert(*at, *offset),
                None => all.remove(at),
            };
        }
        all
    }

    /// A coordinator made from the log alone, whole or compacted, is the same as the live one if nothing was cut off; its
    /// offsets are those that were written last.
    pub(super) fn load(&mut self) -> Result<Coordinator, String> {
        let whole: Vec<&GroupRecord> = self.log.iter().flat_map(|batch| &batch.records).collect();
        let mut last = BTreeMap::new();
        for (place, record) in whole.iter().enumerate() {
            last.insert(&record.key, place);
        }
        let tombstones = self.dice.one_in(2);
        let compacted = whole.iter().enumerate().filter(|(place, record)| {
            last.get(&record.key) == Some(place) && (tombstones || record.value.is_some())
        });
        let compacted: Vec<&GroupRecord> = compacted.map(|(_, record)| *record).collect();
        let from_whole = replayed(&self.config, &whole)?;
        let from_compacted = replayed(&self.config, &compacted)?;
        let all = contents(&from_whole);
        if all != contents(&from_compacted) {
            return Err("a compacted log leads to another state".to_owned());
        }
        let found: BTreeMap<_, _> = offsets_of(&from_whole);
        let expected = self.every_expected();
        if found != expected {
            return Err(format!("loaded offsets are {found:?}, not {expected:?}"));
        }
        Ok(if self.dice.one_in(2) {
            from_whole
        } else {
            from_compacted
        })
    }

    /// What members have, by the log alone.
    pub(super) fn read_ledger(&mut self) {
        self.ledger.clear();
        for record in self.log.iter().flat_map(|batch| &batch.records) {
            if let Ok(Record {
                change: Change::Current(member, current),
                ..
            }) = Record::decode(&record.key, record.value.as_deref())
            {
                note(&mut self.ledger, member, current);
            }
        }
    }

    /// An answer arrives, or is lost.
    pub(super) fn answered(&mut self, one: &HeldAnswer) -> Held {
        let Some(asked) = self.asked.remove(&one.token) else {
            return Ok(());
        };
        let Asked::Heartbeat { host: index, sent } = asked else {
            return Ok(());
        };
        let faulty = self.faulty && self.dice.one_in(10);
        let host = &mut self.hosts[index];
        if host.outstanding.is_none_or(|out| out.token != one.token) || host.dead {
            return Ok(());
        }
        if faulty {
            self.counts.add("answer-lost");
            return Ok(());
        }
        host.outstanding = None;
        if self.now >= super::host::drops_at(sent) {
            // It vouches for a time that is over.
            self.counts.add("answer-too-late");
            return Ok(());
        }
        match &one.answer {
            Ok(Response::Heartbeat(answer)) => host.told(answer, sent),
            Ok(other) => return Err(format!("a heartbeat was answered by {other:?}")),
            Err(GroupError::GroupFull(_) | GroupError::UnreleasedInstance) => {}
            // To be asked again.
            Err(error) if error.code() == quipu_record::ErrorCode::CoordinatorLoading => {
                self.counts.add("asked-to-wait");
            }
            Err(GroupError::FencedMemberEpoch | GroupError::UnknownMember) => {
                self.counts.add("fenced");
                host.drop_all();
                host.dead = host.superseded;
            }
            Err(GroupError::SupersededStream) => {
                if !host.superseded {
                    return Err(format!("the last stream of {} is refused for good", host.member));
                }
                self.counts.add("superseded");
                host.drop_all();
            }
            Err(GroupError::FencedInstance) => {
                self.counts.add("fenced-instance");
                host.drop_all();
                host.dead = true;
            }
            Err(error) => return Err(format!("a heartbeat was refused: {error}")),
        }
        self.forget_taken();
        self.check_owners()
    }

    /// Once nothing fails any more: everybody alive is a member and has what the group says, and everything is owned.
    pub(super) fn check_stable(&self) -> Held {
        let alive: Vec<_> = self.hosts.iter().filter(|host| !host.dead).collect();
        let group = self.coordinator.groups.get(&self.group);
        let members: BTreeSet<_> = group.iter().flat_map(|group| group.members.keys()).collect();
        let hosted: BTreeSet<_> = alive.iter().map(|host| &host.member).collect();
        if members != hosted {
            return Err(format!("members are {members:?}, and alive {hosted:?}"));
        }
        let Some(group) = group.filter(|_| !alive.is_empty()) else {
            return Ok(());
        };
        if group.state() != crate::GroupState::Stable {
            return Err(format!("the group is {:?}", group.state()));
        }
        let mut wanted = BTreeSet::new();
        for host in &alive {
            let matches = |name: &str| {
                let named = host.subscription.topics.iter().any(|topic| **topic == *name);
                let pattern = host.subscription.pattern.as_deref();
                named || pattern.is_some_and(|pattern| pattern == ".*" || name.starts_with(&pattern[..1]))
            };
            let names = self.topics.names();
            let topics: BTreeSet<_> = names
                .into_iter()
                .filter(|(name, _)| matches(name))
                .map(|(_, id)| id)
                .collect();
            wanted.extend(
                self.topics
                    .all()
                    .into_iter()
                    .filter(|at| topics.contains(&at.topic)),
            );
            let stray = host.owned.keys().find(|at| !topics.contains(&at.topic));
            if let Some(at) = stray.filter(|_| true) {
                return Err(format!("{} has {at}, which it does not want", host.member));
            }
            let has = group
                .members
                .get(&host.member)
                .map(|member| member.current().assigned.clone());
            let owned = host.owned.iter().map(|(at, epoch)| (*at, *epoch));
            if !has.into_iter().flatten().map(|one| (one.at, one.epoch)).eq(owned)
                || !host.revoking.is_empty()
            {
                return Err(format!("{} does not know what it has", host.member));
            }
        }
        let owned: Vec<_> = alive.iter().flat_map(|host| host.owned.keys().copied()).collect();
        let distinct: BTreeSet<_> = owned.iter().copied().collect();
        if distinct.len() < owned.len() || distinct != wanted {
            return Err(format!("owned are {owned:?}, wanted {wanted:?}"));
        }
        let same = alive
            .iter()
            .all(|host| host.subscription == alive[0].subscription);
        let loads = alive.iter().map(|host| host.owned.len());
        let spread = loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0);
        if same && group.assignor() == crate::Assignor::Uniform && spread > 1 {
            return Err(format!("a spread of {spread}"));
        }
        Ok(())
    }

    pub(super) fn is_tick(input: &Input) -> bool {
        matches!(input, Input::Tick)
    }
}

pub(super) fn note(ledger: &mut BTreeMap<MemberId, Current>, member: MemberId, current: Option<Current>) {
    match current {
        Some(current) => drop(ledger.insert(member, current)),
        None => drop(ledger.remove(&member)),
    }
}

fn replayed(config: &crate::GroupConfig, records: &[&GroupRecord]) -> Result<Coordinator, String> {
    let mut coordinator = Coordinator::new(config.clone());
    for record in records {
        coordinator
            .replay(&record.key, record.value.as_deref())
            .map_err(|error| format!("a stored record does not replay: {error}"))?;
    }
    Ok(coordinator)
}

pub(super) fn contents(coordinator: &Coordinator) -> Vec<GroupRecord> {
    let mut all = Vec::new();
    coordinator.records(&mut |record| all.push(record));
    all
}

pub(super) fn offsets_of(coordinator: &Coordinator) -> BTreeMap<TopicPartition, Offset> {
    let mut all = BTreeMap::new();
    coordinator.committed(&mut |_, at, offset| {
        all.insert(at, offset);
    });
    all
}
