//! One broker: a disk that outlives it, and the process that runs on it while it runs. It does what a real broker does
//! around the driver and decides nothing: queues, flush rounds, ticks, answers.

mod boot;
mod process;
mod requests;

pub(crate) use boot::FinalLog;

use crate::alone::message::{Address, BrokerEvent, Event, Request};
use crate::alone::shared::Shared;
use crate::report::Fault;
use process::Process;
use quipu_record::BrokerId;
use quipu_storage::test_util::{FakeDisk, Faults};
use std::time::Duration;

/// One broker of the world.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) id: BrokerId,
    disk: FakeDisk,
    /// Counts its processes: an event of an earlier one is void.
    life: u64,
    process: Option<Process>,
    /// What the disk does wrong now.
    pub(crate) faults: Faults,
    /// Syncs take long.
    pub(crate) slow: bool,
    /// There is hardly room.
    pub(crate) full: bool,
}

impl Broker {
    pub(crate) fn new(id: BrokerId, shared: &mut Shared) -> Self {
        let broker = Self {
            id,
            disk: FakeDisk::new(shared.chance.seed()),
            life: 0,
            process: None,
            faults: Faults::default(),
            slow: false,
            full: false,
        };
        broker.plan(shared, Duration::ZERO, BrokerEvent::Boot);
        broker
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Plans something for this life of the broker.
    fn plan(&self, shared: &mut Shared, wait: Duration, what: BrokerEvent) {
        let (broker, life) = (self.id, self.life);
        shared.schedule.after(wait, Event::Broker { broker, life, what });
    }

    /// A request arrives. A broker that is down answers nothing.
    pub(crate) fn deliver(&mut self, shared: &mut Shared, request: Request) {
        if self.process.is_some() {
            self.request(shared, request);
        }
    }

    /// Something planned comes about.
    pub(crate) fn event(&mut self, shared: &mut Shared, life: u64, what: BrokerEvent) {
        if life != self.life {
            return;
        }
        match what {
            BrokerEvent::Boot => self.boot(shared),
            BrokerEvent::Drain => self.drain(shared),
            BrokerEvent::RoundEnds => self.round_ends(shared),
            BrokerEvent::Tick(partition) => self.tick(shared, partition),
            BrokerEvent::Retain => self.retain(shared),
        }
    }

    /// Hands the disk its faults.
    pub(crate) fn apply_faults(&self) {
        self.disk.set_faults(self.faults);
        self.disk.set_room(self.full.then_some(2_000));
    }

    /// The process is gone, one way or another; another one starts in a while.
    pub(crate) fn die(&mut self, shared: &mut Shared, how: Fault) {
        if how == Fault::PowerCut {
            self.disk.crash(shared.chance.seed());
        } else {
            self.disk.kill();
        }
        // After that it can write nothing any more.
        self.process = None;
        self.life += 1;
        shared.note(format_args!("broker {} is down: {how:?}", self.id));
        let wait = shared.chance.millis(200);
        self.plan(shared, wait, BrokerEvent::Boot);
    }

    /// It runs, nobody waits for it, and everything it holds is committed.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            process.replicas.iter().all(|replica| {
                let view = replica.driver.view();
                view.high_watermark == view.log_end
                    && replica.driver.waiting() == 0
                    && replica.queue.is_empty()
            })
        })
    }

    pub(crate) fn address(&self) -> Address {
        Address::Broker(self.id)
    }
}
