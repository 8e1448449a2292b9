//! Who has topics created and settings changed: asks until it is answered, one thing at a time.

use super::Caller;
use crate::cluster::message::{Address, ClientEvent, Message, RequestId};
use crate::cluster::shared::Shared;
use quipu_metadata::{Command, Request as _};
use std::collections::VecDeque;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(400);

/// One administrator.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    asked: Option<RequestId>,
    /// What it wants, the first being asked for now.
    wants: VecDeque<Command>,
    created: usize,
}

impl Admin {
    /// Looks whether a topic is due.
    pub(crate) fn act(&mut self, shared: &mut Shared, caller: &Caller<'_>) {
        let since = shared.schedule.now().since(quipu_replication::Tick::default());
        while let Some(topic) = shared.plan.topics.get(self.created)
            && topic.at <= since
        {
            let creation = topic.creation();
            // Not before all its replicas can be placed.
            let ready = shared.truth.brokers().filter(|broker| broker.is_active()).count();
            if ready < topic.replicas {
                break;
            }
            self.created += 1;
            self.want(shared, caller, creation.into_command());
        }
        if self.created < shared.plan.topics.len() {
            caller.plan(shared, Duration::from_millis(20), ClientEvent::Act);
        }
    }

    pub(crate) fn wants_anything(&self) -> bool {
        !self.wants.is_empty()
    }

    pub(crate) fn want(&mut self, shared: &mut Shared, caller: &Caller<'_>, command: Command) {
        self.wants.push_back(command);
        if self.wants.len() == 1 {
            self.ask(shared, caller);
        }
    }

    fn ask(&mut self, shared: &mut Shared, caller: &Caller<'_>) {
        let Some(command) = self.wants.front().cloned() else {
            return;
        };
        let id = shared.new_request();
        self.asked = Some(id);
        let propose = Message::Propose { id, command };
        shared.send(Address::Client(caller.me), Address::Controller, propose);
        let timeout = ClientEvent::Timeout {
            request: id,
            attempt: 1,
        };
        caller.plan(shared, PATIENCE, timeout);
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, caller: &Caller<'_>, id: RequestId) {
        if self.asked == Some(id) {
            self.ask(shared, caller);
        }
    }

    pub(crate) fn decided(&mut self, shared: &mut Shared, caller: &Caller<'_>, id: RequestId) {
        if self.asked == Some(id) {
            self.asked = None;
            self.wants.pop_front();
            self.ask(shared, caller);
        }
    }
}
