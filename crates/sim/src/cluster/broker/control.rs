//! What passes between a broker and the controllers: its registration, its heartbeats, their decisions.

use super::Broker;
use crate::cluster::message::{Address, BrokerEvent, Message, PartitionIndex, RequestId};
use crate::cluster::shared::Shared;
use crate::invariants;
use crate::report::Fault;
use quipu_metadata::{
    Delta, HeartbeatAnswer, Image, LifecycleEffect, LifecycleEvent, Partition, Record, Refusal as _, Reply,
    Request as _,
};
use quipu_record::{BrokerEpoch, ErrorCode, MetadataVersion, Offset, TopicPartition};
use quipu_replication::{Followership, Input, LeaderRecord, Leadership, Resign};
use std::sync::Arc;
use std::time::Duration;

/// How long a call to the controllers is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

impl Broker {
    /// Tells the broker's life what happened, and does what it says.
    pub(super) fn live(&mut self, shared: &mut Shared, event: LifecycleEvent) {
        let now = self.now(shared).mono;
        let Some(process) = &mut self.process else { return };
        if !matches!(event, LifecycleEvent::Tick | LifecycleEvent::Answered(_)) {
            shared.note(format_args!("b{} learns {event:?}", self.me));
        }
        let effects = process.lifecycle.step(now, event);
        self.carry_out_life(shared, effects);
    }

    fn carry_out_life(&mut self, shared: &mut Shared, effects: Vec<LifecycleEffect>) {
        for effect in effects {
            let Some(process) = &mut self.process else { return };
            match effect {
                LifecycleEffect::Register => {
                    let command = process.registration.clone().into_command();
                    self.call(shared, |id| Message::Propose { id, command });
                }
                LifecycleEffect::OpenStream => {
                    shared.note(format_args!("b{} opens a stream", self.me));
                    if let Some(epoch) = process.lifecycle.epoch() {
                        let broker = self.id;
                        self.call(shared, |_| Message::OpenStream(broker, epoch));
                    }
                }
                LifecycleEffect::Heartbeat(heartbeat) => {
                    let heartbeat = Message::Heartbeat(Box::new(heartbeat));
                    shared.send(self.address(), Address::Controller, heartbeat);
                }
                LifecycleEffect::Serve | LifecycleEffect::Fenced => {
                    shared.note(format_args!("b{} {effect:?}", self.me));
                }
                LifecycleEffect::Go => return self.go(shared),
                LifecycleEffect::End(why) => {
                    shared.note(format_args!("b{} ends: {why:?}", self.me));
                    return self.die(shared, Fault::Kill);
                }
            }
        }
        self.plan_beat(shared);
    }

    /// Calls the controllers, and waits for an answer for a while.
    fn call(&mut self, shared: &mut Shared, message: impl FnOnce(RequestId) -> Message) {
        let id = shared.new_request();
        if let Some(process) = &mut self.process {
            process.calling = Some(id);
        }
        shared.send(self.address(), Address::Controller, message(id));
        self.plan(shared, PATIENCE, BrokerEvent::NoAnswer(id));
    }

    fn plan_beat(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        if let Some(deadline) = process.lifecycle.deadline()
            && process.beat.is_none_or(|planned| deadline < planned)
        {
            process.beat = Some(deadline);
            self.plan_at(shared, deadline, BrokerEvent::Beat);
        }
    }

    pub(super) fn beat(&mut self, shared: &mut Shared) {
        if let Some(process) = &mut self.process {
            process.beat = None;
        }
        self.live(shared, LifecycleEvent::Tick);
    }

    pub(super) fn no_answer(&mut self, shared: &mut Shared, what: RequestId) {
        let Some(process) = &mut self.process else { return };
        if process.calling == Some(what) {
            process.calling = None;
            let event = match process.lifecycle.epoch() {
                None => LifecycleEvent::RegisterFailed,
                Some(_) => LifecycleEvent::StreamLost,
            };
            self.live(shared, event);
        }
    }

    pub(super) fn stream_opened(&mut self, shared: &mut Shared, epoch: BrokerEpoch) {
        let Some(process) = &mut self.process else { return };
        if process.lifecycle.epoch() == Some(epoch) && process.calling.take().is_some() {
            self.live(shared, LifecycleEvent::StreamOpened);
        }
    }

    pub(super) fn stream_reset(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        if process.lifecycle.epoch().is_some() && process.calling.is_none() {
            self.live(shared, LifecycleEvent::StreamLost);
        }
    }

    pub(super) fn heartbeat_answered(
        &mut self,
        shared: &mut Shared,
        epoch: BrokerEpoch,
        answer: HeartbeatAnswer,
    ) {
        let Some(process) = &mut self.process else { return };
        if process.lifecycle.epoch() == Some(epoch) {
            self.live(shared, LifecycleEvent::Answered(answer));
        }
    }

    /// A command of this broker's was decided.
    pub(super) fn decided(&mut self, shared: &mut Shared, id: RequestId, reply: Reply) {
        match reply {
            Reply::RegisterBroker(result) => {
                let Some(process) = &mut self.process else { return };
                if process.calling != Some(id) {
                    return;
                }
                process.calling = None;
                let event = match result {
                    Ok(registered) => {
                        shared.standings[self.me].running = Some(registered.epoch);
                        self.lost_power = false;
                        LifecycleEvent::Registered(registered.epoch)
                    }
                    // A running broker with another directory: until that one is fenced.
                    Err(refusal) if refusal.code() == ErrorCode::NotReady => LifecycleEvent::RegisterFailed,
                    Err(_) => LifecycleEvent::RegisterFailed,
                };
                self.live(shared, event);
            }
            Reply::AlterPartitions(result) => self.isr_decided(shared, id, result),
            _ => {}
        }
    }

    /// Replicas with bad bytes are not to be counted on.
    pub(super) fn report_damage(&mut self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        let damaged = process
            .replicas
            .values()
            .filter(|replica| replica.driver.damage().is_some())
            .map(|replica| replica.driver.partition())
            .collect();
        self.live(shared, LifecycleEvent::Offline(damaged));
    }

    /// A clean stop begins.
    pub(crate) fn stop(&mut self, shared: &mut Shared) {
        self.live(shared, LifecycleEvent::Drain);
    }

    pub(super) fn watch(&mut self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        let from = process.image.version();
        shared.send(self.address(), Address::Controller, Message::Watch { from });
        let wait = shared
            .chance
            .between(Duration::from_millis(200), Duration::from_millis(300));
        self.plan(shared, wait, BrokerEvent::Watch);
    }

    pub(super) fn snapshot(&mut self, shared: &mut Shared, image: Image) {
        let Some(process) = &mut self.process else { return };
        if image.version() <= process.image.version() {
            return;
        }
        process.image = image;
        self.in_effect(shared, None);
    }

    pub(super) fn deltas(&mut self, shared: &mut Shared, deltas: &[Arc<Delta>]) {
        for delta in deltas {
            let Some(process) = &mut self.process else { return };
            let next = MetadataVersion::new(process.image.version().get() + 1);
            // A snapshot comes first; what is missing is asked for in a while.
            if delta.version != next || next.get() == 1 {
                continue;
            }
            if let Err(error) = process.image.apply(delta) {
                return shared.violated(crate::report::Violation {
                    invariant: "I15 metadata",
                    what: error.to_string(),
                });
            }
            let found = invariants::same_image(self.id, &process.image, &shared.truth);
            shared.look(found);
            self.in_effect(shared, Some(delta));
        }
    }

    /// A new version of the metadata is in effect here.
    fn in_effect(&mut self, shared: &mut Shared, delta: Option<&Delta>) {
        let now = self.now(shared).mono;
        let Some(process) = &mut self.process else { return };
        let effects = process.lifecycle.applied(now, &process.image);
        self.carry_out_life(shared, effects);
        let Some(process) = &self.process else { return };
        // What is said of a lifetime before this one is not for this one.
        let registered = process.image.broker(self.id).map(|broker| broker.epoch);
        let epoch = process.lifecycle.epoch();
        if epoch.is_none() || registered != epoch {
            return;
        }
        let mine = epoch.map(|epoch| epoch.get()) == Some(process.image.version().get());
        let brokers = delta.is_none_or(|delta| {
            let of_broker =
                |record: &Record| matches!(record, Record::Broker(_) | Record::BrokerState { .. });
            delta.records.iter().any(of_broker)
        });
        let changed: Vec<TopicPartition> = match delta {
            Some(delta) if !mine && !brokers => delta
                .records
                .iter()
                .filter_map(|record| match record {
                    Record::Partition { at, .. } => Some(*at),
                    _ => None,
                })
                .collect(),
            _ => shared.plan.partitions.iter().map(|plan| plan.partition).collect(),
        };
        self.depart(shared);
        for at in changed {
            self.assign(shared, at);
        }
    }

    /// What the metadata says of one partition is done here.
    pub(super) fn assign(&mut self, shared: &mut Shared, at: TopicPartition) {
        let Some(process) = &self.process else { return };
        let Some(state) = process.image.partition(at).cloned() else {
            return;
        };
        let Some(partition) = shared.plan.place(at) else {
            return;
        };
        if !state.replicas.contains(self.id) {
            self.let_go(shared, partition, &state);
            return;
        }
        if !self.is_open(shared, partition) {
            return;
        }
        let Some(process) = &mut self.process else { return };
        let input = match state.leader {
            Some(leader) if leader == self.id => {
                process.following.leave(partition);
                Input::Lead(leadership(&process.image, &state))
            }
            Some(leader) => {
                let place = shared.plan.broker(leader);
                process.following.follow(partition, place, state.leader_epoch);
                Input::Follow(Followership {
                    leader,
                    leader_epoch: state.leader_epoch,
                    partition_epoch: state.partition_epoch,
                    electable: state.is_safe(self.id),
                })
            }
            None => {
                process.following.leave(partition);
                let leader_epoch = state.leader_epoch;
                Input::Resign(Resign { leader_epoch })
            }
        };
        self.step(shared, partition, input);
        self.plan_replicate(shared);
    }

    /// With the first metadata of its registration in effect, what others were given meanwhile is deleted.
    fn depart(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        if std::mem::replace(&mut process.told, true) {
            return;
        }
        let of_others = |at: TopicPartition| {
            let state = process.image.partition(at);
            state.is_some_and(|state| !state.replicas.contains(self.id) && is_whole_without(state))
        };
        let open = process.replicas.iter();
        let departed: Vec<PartitionIndex> = open
            .filter(|(_, replica)| of_others(replica.driver.partition()))
            .map(|(partition, _)| *partition)
            .collect();
        for partition in departed {
            let Some(replica) = process.replicas.remove(&partition) else {
                continue;
            };
            if let Err(error) = process.dir.delete_log(replica.driver.into_log()) {
                shared.note(format_args!("b{} p{partition} is not deleted: {error}", self.me));
                return self.die(shared, Fault::Kill);
            }
            shared.ghosts[partition].replicas[self.me].clear();
        }
    }

    /// It is a replica no more. Its log stays until the next start, and must do no harm should it become one again before.
    fn let_go(&mut self, shared: &mut Shared, partition: PartitionIndex, state: &Partition) {
        let Some(process) = &mut self.process else { return };
        process.following.leave(partition);
        if process.replicas.contains_key(&partition) {
            let leader_epoch = state.leader_epoch;
            self.step(shared, partition, Input::Resign(Resign { leader_epoch }));
        }
    }

    /// Opens a replica that is not open yet.
    fn is_open(&mut self, shared: &mut Shared, partition: PartitionIndex) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        if process.replicas.contains_key(&partition) {
            return true;
        }
        let dir = process.dir.clone();
        match self.open(shared, &dir, partition, Offset::ZERO) {
            Ok((replica, _)) => {
                if let Some(process) = &mut self.process {
                    process.replicas.insert(partition, replica);
                }
                true
            }
            Err(error) => {
                shared.note(format_args!("b{} p{partition} does not open: {error}", self.me));
                self.die(shared, Fault::Kill);
                false
            }
        }
    }
}

/// Those that have it can do without any other.
fn is_whole_without(state: &Partition) -> bool {
    state.leader.is_some() && state.isr.len() >= usize::from(state.min_insync).max(2)
}

/// What a partition's leader is told.
fn leadership(image: &Image, state: &Partition) -> Leadership {
    let eligible = state.replicas.iter().filter_map(|id| {
        let broker = image.broker(id).filter(|broker| broker.is_active())?;
        Some((id, broker.epoch))
    });
    Leadership {
        record: leader_record(state),
        eligible: eligible.collect(),
    }
}

/// A partition's record as its leader needs it.
pub(super) fn leader_record(state: &Partition) -> LeaderRecord {
    LeaderRecord {
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.replicas.iter().collect(),
        growing: !state.adding().is_empty(),
        isr: state.isr.iter().collect(),
        min_insync: u32::from(state.min_insync),
    }
}
