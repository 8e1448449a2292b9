//! One partition of `__consumer_offsets`, live.

use crate::live::{Deciding, Shared};
use crate::record::{Progress, Record};
use crate::state::Group;
use crate::{
    Effects, Expiring, GroupConfig, GroupId, GroupRecord, GroupSummary, Input, MemberId, ReplayError,
    Request, RequestToken, Response, Topics,
};
use quipu_record::{Offset, Tick, Timestamp, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// The state of one partition of `__consumer_offsets`: all its groups.
#[derive(Debug)]
pub struct Coordinator {
    config: GroupConfig,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    shared: Shared,
    /// When is looked for what has expired.
    sweep: Option<Tick>,
    /// Topics of offsets that are not there, and since when.
    missing: BTreeMap<TopicId, Tick>,
}

/// Timers that one step looks after: what it stores is one batch.
const TIMERS_AT_ONCE: usize = 200;
/// How long a topic must be missing before its offsets are forgotten: a coordinator that is new may have old metadata.
const MISSING_FOR: Duration = Duration::from_secs(60);

/// What a step works with.
struct Moment<'a> {
    now: Tick,
    wall: Timestamp,
    topics: &'a dyn Topics,
    effects: &'a mut Effects,
}

impl Coordinator {
    /// Without groups.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            shared: Shared::default(),
            sweep: None,
            missing: BTreeMap::new(),
        }
    }

    /// Takes a stored record, in the order of the log.
    ///
    /// # Errors
    /// [`ReplayError`]: stop, never skip.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ReplayError> {
        let Record { group, change } = Record::decode(key, value)?;
        if let Some(known) = self.groups.get_mut(&group) {
            known.apply(change);
            if known.is_blank() {
                self.groups.remove(&group);
            }
            return Ok(());
        }
        let mut new = Group::default();
        new.apply(change);
        if !new.is_blank() {
            self.groups.insert(group, new);
        }
        Ok(())
    }

    /// Everything stored was replayed: from here on it is live. Every member gets a fresh session, every revocation a
    /// fresh deadline. Step with [`Input::TopicsChanged`] next.
    pub fn loaded(&mut self, now: Tick, _wall: Timestamp) {
        self.shared = Shared::default();
        self.missing.clear();
        self.sweep = Some(now.after(self.config.expiry_interval));
        for (id, group) in &mut self.groups {
            for (member_id, member) in &mut group.members {
                member.live = crate::state::Live::default();
                member.live.heard = now;
                member.live.candidate_heard = now;
                if member.current().progress == Progress::Unrevoked {
                    let info = member.info.as_ref();
                    let wait = info.map_or(Duration::ZERO, |info| info.revocation_timeout);
                    member.live.revocation = Some(now.after(wait));
                }
                let due = member.next_due();
                member.live.timer = Some(due);
                self.shared
                    .timers
                    .insert((due, id.clone(), Some(member_id.clone())));
            }
            group.targeted = None;
            group.due = (group.epoch() > group.target_epoch()).then_some(now);
            if let Some(due) = group.due {
                self.shared.timers.insert((due, id.clone(), None));
            }
        }
    }

    /// Decides and replays. What is to be done is added to `effects`.
    pub fn step(
        &mut self,
        input: Input,
        now: Tick,
        wall: Timestamp,
        topics: &dyn Topics,
        effects: &mut Effects,
    ) {
        let mut moment = Moment {
            now,
            wall,
            topics,
            effects,
        };
        match input {
            Input::Request(token, request) => self.request(token, request, &mut moment),
            Input::Cancel(token) => self.cancel(token),
            Input::TopicsChanged => self.topics_changed(&mut moment),
            Input::Tick => self.tick(&mut moment),
        }
        let first = self.shared.timers.first().map(|timer| timer.0);
        let sweep = *self.sweep.get_or_insert(now.after(self.config.expiry_interval));
        effects.deadline = Some(first.map_or(sweep, |first| first.min(sweep)));
    }

    fn request(&mut self, token: RequestToken, request: Request, moment: &mut Moment<'_>) {
        match request {
            Request::Heartbeat(heartbeat) => {
                let group = heartbeat.group.clone();
                self.with(&group, moment, |it| it.heartbeat(token, heartbeat));
            }
            Request::Leave(leave) => self.with(&leave.group, moment, |it| it.leave(token, &leave)),
            Request::Commit(commit) => {
                let group = commit.group.clone();
                self.with(&group, moment, |it| it.commit(token, commit));
            }
            Request::Offsets(query) => self.with(&query.group, moment, |it| it.offsets(token, &query)),
            Request::Describe(group) => self.with(&group, moment, |it| it.describe(token)),
            Request::List => {
                let summaries = Response::Groups(self.summaries());
                moment.effects.answers.push((token, Ok(summaries)));
            }
            Request::Delete { group, validate_only } => {
                self.with(&group, moment, |it| it.delete(token, validate_only));
            }
            Request::Reset(reset) => self.with(&reset.group, moment, |it| it.reset(token, &reset)),
        }
    }

    /// Lets one group decide; one that is not there is blank, and stays away if it stays blank.
    fn with<T>(
        &mut self,
        id: &GroupId,
        moment: &mut Moment<'_>,
        decide: impl FnOnce(&mut Deciding<'_>) -> T,
    ) -> T {
        let mut new = None;
        let group = match self.groups.get_mut(id) {
            Some(group) => group,
            None => new.insert(Group::default()),
        };
        let mut deciding = Deciding {
            id,
            group,
            shared: &mut self.shared,
            config: &self.config,
            topics: moment.topics,
            now: moment.now,
            wall: moment.wall,
            effects: moment.effects,
        };
        let decided = decide(&mut deciding);
        let (blank, due) = (deciding.group.is_blank(), deciding.group.due);
        match new {
            Some(new) if !blank => drop(self.groups.insert(id.clone(), new)),
            None if blank => {
                if let Some(due) = due {
                    self.shared.timers.remove(&(due, id.clone(), None));
                }
                self.groups.remove(id);
            }
            _ => {}
        }
        decided
    }

    fn cancel(&mut self, token: RequestToken) {
        let Some((group, member)) = self.shared.waiting.remove(&token) else {
            return;
        };
        let member = self
            .groups
            .get_mut(&group)
            .and_then(|group| group.members.get_mut(&member));
        if let Some(member) = member
            && member
                .live
                .parked
                .as_ref()
                .is_some_and(|parked| parked.token == token)
        {
            member.live.parked = None;
        }
    }

    fn topics_changed(&mut self, moment: &mut Moment<'_>) {
        let mut missing = BTreeMap::new();
        for id in self.ids() {
            self.with(&id, moment, |it| {
                it.topics_changed();
                it.missing_topics(&mut |topic| {
                    missing.insert(topic, it.now);
                });
            });
        }
        // Those that are back are no longer missing; those that were missing have been so since then.
        missing.extend(
            self.missing
                .iter()
                .filter(|(topic, _)| missing.contains_key(topic))
                .map(|(topic, since)| (*topic, *since))
                .collect::<Vec<_>>(),
        );
        self.missing = missing;
        self.sweep_soon();
    }

    /// Looks for topics that are missing as soon as they have been so for long enough.
    fn sweep_soon(&mut self) {
        if let Some(since) = self.missing.values().min() {
            let soon = since.after(MISSING_FOR);
            self.sweep = Some(self.sweep.map_or(soon, |sweep| sweep.min(soon)));
        }
    }

    fn ids(&self) -> Vec<GroupId> {
        self.groups.keys().cloned().collect()
    }

    fn tick(&mut self, moment: &mut Moment<'_>) {
        for _ in 0..TIMERS_AT_ONCE {
            let Some(timer) = self.shared.timers.pop_first() else {
                break;
            };
            if timer.0 > moment.now {
                self.shared.timers.insert(timer);
                break;
            }
            let (_, group, member) = timer;
            self.with(&group, moment, |it| match &member {
                Some(member) => it.look_after(member),
                None => it.target_due(),
            });
        }
        if self.sweep.is_some_and(|sweep| sweep <= moment.now) {
            self.sweep = Some(moment.now.after(self.config.expiry_interval));
            self.expire(moment);
            self.sweep_soon();
        }
    }

    /// Forgets what has expired; all of it in several steps if it is much.
    fn expire(&mut self, moment: &mut Moment<'_>) {
        let gone = |since: &Tick| moment.now.since(*since) >= MISSING_FOR;
        let gone: Vec<TopicId> = self
            .missing
            .iter()
            .filter(|(topic, since)| gone(since) && moment.topics.partitions(**topic).is_none())
            .map(|(topic, _)| *topic)
            .collect();
        // Those that are back are not missing.
        self.missing
            .retain(|topic, _| !gone.contains(topic) && moment.topics.partitions(*topic).is_none());
        for id in self.ids() {
            let more = self.with(&id, moment, |it| {
                gone.iter().for_each(|topic| it.forget_topic(*topic));
                it.expire()
            });
            if more || moment.effects.records.len() > 4 * crate::live::EXPIRED_AT_ONCE {
                self.sweep = Some(moment.now);
                if gone.is_empty() {
                    return;
                }
            }
        }
    }

    fn summaries(&self) -> Vec<GroupSummary> {
        let all = self.groups.iter().map(|(id, group)| GroupSummary {
            group: id.clone(),
            state: group.state(),
            members: group.members.len(),
        });
        all.collect()
    }

    /// All of the state as records: replaying them makes it again.
    pub fn records(&self, found: &mut dyn FnMut(GroupRecord)) {
        for (id, group) in &self.groups {
            group.records(id, &mut |record| found(record.encode()));
        }
    }

    /// Groups whose offsets expire soon, by name.
    #[must_use]
    pub fn expiring(&self, wall: Timestamp) -> Vec<Expiring> {
        let warning = i64::try_from(self.config.expiry_warning.as_millis()).unwrap_or(i64::MAX);
        let all = self.groups.iter().filter_map(|(id, group)| {
            let at = group.expires_at(self.config.offsets_retention)?;
            let soon = !group.offsets.is_empty() && at <= wall.plus_millis(warning);
            soon.then(|| Expiring {
                group: id.clone(),
                at,
                offsets: group.offsets.len(),
            })
        });
        all.collect()
    }

    /// Every committed offset, by group and partition: for lags.
    pub fn committed(&self, found: &mut dyn FnMut(&GroupId, TopicPartition, Offset)) {
        for (id, group) in &self.groups {
            for (at, offset) in &group.offsets {
                found(id, *at, offset.offset);
            }
        }
    }

    /// Everybody who owns a partition, given up or not.
    pub fn owners(&self, group: &GroupId, found: &mut dyn FnMut(TopicPartition, &MemberId)) {
        for (at, owner) in self.groups.get(group).iter().flat_map(|group| &group.owners) {
            found(*at, owner);
        }
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }
}
