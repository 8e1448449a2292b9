//! Who uses the brokers: each client tells the history what it does and sees, and nothing that it cannot know.

mod admin;
mod consumer;
mod deleter;
mod flight;
mod producer;
mod routes;

pub(crate) use admin::Admin;
pub(crate) use consumer::Consumer;
pub(crate) use deleter::Deleter;
pub(crate) use producer::{Producer, Style};

use super::message::{
    Address, Answer, Ask, ClientEvent, ClientIndex, Event, Message, PartitionIndex, Reply, Request, RequestId,
};
use super::shared::Shared;
use routes::Routes;
use std::time::Duration;

/// One client of the world.
#[derive(Debug)]
pub(crate) struct Client {
    me: ClientIndex,
    routes: Routes,
    work: Work,
}

/// What it does.
#[derive(Debug)]
enum Work {
    Producer(Producer),
    Consumer(Consumer),
    Deleter(Deleter),
    Admin(Admin),
}

/// A client's part of a call: who it is, and whom it knows.
pub(crate) struct Caller<'a> {
    me: ClientIndex,
    routes: &'a mut Routes,
}

impl Client {
    fn new(me: ClientIndex, partitions: usize, work: Work) -> Self {
        Self {
            me,
            routes: Routes::new(partitions),
            work,
        }
    }

    pub(crate) fn producer(me: ClientIndex, partitions: usize, style: Style) -> Self {
        Self::new(me, partitions, Work::Producer(Producer::new(me, style)))
    }

    pub(crate) fn consumer(me: ClientIndex, partitions: usize) -> Self {
        Self::new(me, partitions, Work::Consumer(Consumer::new(partitions)))
    }

    pub(crate) fn deleter(me: ClientIndex, partitions: usize) -> Self {
        Self::new(me, partitions, Work::Deleter(Deleter::default()))
    }

    pub(crate) fn admin(me: ClientIndex, partitions: usize) -> Self {
        Self::new(me, partitions, Work::Admin(Admin::default()))
    }

    pub(crate) fn event(&mut self, shared: &mut Shared, what: ClientEvent) {
        let mut caller = Caller {
            me: self.me,
            routes: &mut self.routes,
        };
        match (&mut self.work, what) {
            (Work::Producer(producer), ClientEvent::Act) => producer.act(shared, &mut caller),
            (Work::Producer(producer), ClientEvent::Timeout { request, attempt }) => {
                producer.timeout(shared, &mut caller, request, attempt);
            }
            (Work::Producer(producer), ClientEvent::Again { request }) => {
                producer.again(shared, &mut caller, request);
            }
            (Work::Consumer(consumer), ClientEvent::Act) => consumer.act(shared, &mut caller),
            (Work::Consumer(consumer), ClientEvent::Timeout { request, .. }) => {
                consumer.timeout(shared, &mut caller, request);
            }
            (Work::Deleter(deleter), ClientEvent::Act) => deleter.act(shared, &mut caller),
            (Work::Deleter(deleter), ClientEvent::Timeout { request, .. }) => {
                deleter.timeout(shared, &mut caller, request);
            }
            (Work::Admin(admin), ClientEvent::Act) => admin.act(shared, &caller),
            (Work::Admin(admin), ClientEvent::Timeout { request, .. }) => {
                admin.timeout(shared, &caller, request);
            }
            (Work::Consumer(_) | Work::Deleter(_) | Work::Admin(_), ClientEvent::Again { .. }) => {}
        }
    }

    pub(crate) fn deliver(&mut self, shared: &mut Shared, message: Message) {
        let mut caller = Caller {
            me: self.me,
            routes: &mut self.routes,
        };
        match (&mut self.work, message) {
            (Work::Admin(admin), Message::Decided { id, .. }) => admin.decided(shared, &caller, id),
            (work, Message::Reply(reply)) => answered(work, shared, &mut caller, reply),
            _ => {}
        }
    }

    /// Whether nothing of this client is under way.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.work {
            Work::Producer(producer) => producer.is_idle(),
            Work::Consumer(consumer) => consumer.is_idle(),
            Work::Deleter(deleter) => deleter.is_idle(),
            Work::Admin(_) => true,
        }
    }

    /// A fault: an idempotent producer's process is replaced. Says whether this is one.
    pub(crate) fn replace(&mut self, shared: &mut Shared) -> bool {
        match &mut self.work {
            Work::Producer(producer) if producer.is_idempotent() => {
                producer.replace(shared, self.me);
                true
            }
            _ => false,
        }
    }

    /// Whether an administrator has something under way.
    pub(crate) fn wants_anything(&self) -> bool {
        matches!(&self.work, Work::Admin(admin) if admin.wants_anything())
    }

    /// Somebody with authority wants something decided.
    pub(crate) fn administer(&mut self, shared: &mut Shared, command: quipu_metadata::Command) {
        let caller = Caller {
            me: self.me,
            routes: &mut self.routes,
        };
        if let Work::Admin(admin) = &mut self.work {
            admin.want(shared, &caller, command);
        }
    }
}

fn answered(work: &mut Work, shared: &mut Shared, caller: &mut Caller<'_>, reply: Reply) {
    let (id, partition) = (reply.id, reply.partition);
    match (work, reply.answer) {
        (_, Answer::Metadata(Some(who))) => caller.routes.told(shared, partition, who),
        (Work::Producer(producer), Answer::Produced(result)) => {
            producer.answered(shared, caller, id, result);
        }
        (Work::Consumer(consumer), Answer::Fetched(result)) => {
            consumer.answered(shared, caller, id, partition, result);
        }
        (Work::Consumer(consumer), Answer::Latest(latest)) => {
            consumer.latest(shared, caller, id, partition, latest);
        }
        (Work::Deleter(deleter), Answer::Deleted(result)) => deleter.answered(shared, caller, id, &result),
        _ => {}
    }
}

impl Caller<'_> {
    /// Plans an event of the client's own.
    fn plan(&self, shared: &mut Shared, wait: Duration, what: ClientEvent) {
        let client = self.me;
        shared.schedule.after(wait, Event::Client { client, what });
    }

    /// Asks the partition's leader. Says how many copies are on their way; `None`: it is not known who leads.
    fn ask(&self, shared: &mut Shared, id: RequestId, partition: PartitionIndex, ask: Ask) -> Option<u32> {
        let leader = self.routes.leader(shared, self.me, partition)?;
        let request = Request {
            id,
            client: self.me,
            partition,
            ask,
        };
        let to = Address::Broker(leader);
        Some(shared.send(Address::Client(self.me), to, Message::Request(request)))
    }
}
