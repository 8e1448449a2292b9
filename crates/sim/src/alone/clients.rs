//! Who uses the brokers: each client tells the history what it does and sees, and nothing that it cannot know.

mod admin;
mod consumer;
mod flight;
mod producer;

pub(crate) use admin::Admin;
pub(crate) use consumer::Consumer;
pub(crate) use producer::{Producer, Style};

use crate::alone::message::{
    Address, Answer, Ask, ClientEvent, ClientIndex, Event, Message, PartitionIndex, Reply,
};
use crate::alone::message::{Request, RequestId};
use crate::alone::shared::Shared;
use std::time::Duration;

/// One client of the world.
#[derive(Debug)]
pub(crate) enum Client {
    Producer(Producer),
    Consumer(Consumer),
    Admin(Admin),
}

impl Client {
    pub(crate) fn event(&mut self, shared: &mut Shared, what: ClientEvent) {
        match (self, what) {
            (Self::Producer(producer), ClientEvent::Act) => producer.act(shared),
            (Self::Producer(producer), ClientEvent::Timeout { request, attempt }) => {
                producer.timeout(shared, request, attempt);
            }
            (Self::Producer(producer), ClientEvent::Again { request }) => producer.again(shared, request),
            (Self::Consumer(consumer), ClientEvent::Act) => consumer.act(shared),
            (Self::Consumer(consumer), ClientEvent::Timeout { request, .. }) => {
                consumer.timeout(shared, request);
            }
            (Self::Admin(admin), ClientEvent::Act) => admin.act(shared),
            (Self::Admin(admin), ClientEvent::Timeout { request, .. }) => admin.timeout(shared, request),
            (Self::Consumer(_) | Self::Admin(_), ClientEvent::Again { .. }) => {}
        }
    }

    pub(crate) fn reply(&mut self, shared: &mut Shared, reply: Reply) {
        match (self, reply.answer) {
            (Self::Producer(producer), Answer::Produced(result)) => {
                producer.answered(shared, reply.id, result);
            }
            (Self::Consumer(consumer), Answer::Fetched(result)) => {
                consumer.answered(shared, reply.id, reply.partition, result);
            }
            (Self::Admin(admin), Answer::Deleted(result)) => admin.answered(shared, reply.id, &result),
            _ => {}
        }
    }

    /// Whether nothing of this client is under way.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Producer(producer) => producer.is_idle(),
            Self::Consumer(consumer) => consumer.is_idle(),
            Self::Admin(admin) => admin.is_idle(),
        }
    }
}

/// Plans an event of a client's own.
fn plan(shared: &mut Shared, client: ClientIndex, wait: Duration, what: ClientEvent) {
    shared.schedule.after(wait, Event::Client { client, what });
}

/// Asks the partition's leader. Says how many copies are on their way.
fn ask(shared: &mut Shared, client: ClientIndex, id: RequestId, partition: PartitionIndex, ask: Ask) -> u32 {
    // One broker leads everything; the cluster will look it up.
    let leader = Address::Broker(shared.plan.brokers[0]);
    let request = Request {
        id,
        client,
        partition,
        ask,
    };
    shared.send(Address::Client(client), leader, &Message::Request(request))
}
